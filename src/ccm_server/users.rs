//! Accounts, users, their keys and tokens, as the state keeps them.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, pbkdf2};
use sqlx::{Row, SqliteConnection};

use crate::ccm_server::auth::Caller;
use crate::ccm_server::db::DbError;
use crate::ccm_server::server::Shared;
use crate::ccm_server::text;
use crate::ccm_server::vault::{Vault, VaultError};
use crate::model::{Seconds, Timestamp};
use crate::pki::Secret;

/// Why a user could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum UserError {
    /// The state.
    #[error(transparent)]
    Db(#[from] DbError),
    /// A sealed key.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl From<sqlx::Error> for UserError {
    fn from(error: sqlx::Error) -> Self {
        Self::Db(error.into())
    }
}

/// The user of an access key, and its secret key.
pub(super) async fn by_access_key(
    shared: &Shared,
    access_key: &str,
) -> Result<Option<(Caller, Secret)>, UserError> {
    let row = sqlx::query(
        "SELECT u.account, u.actions, k.secret FROM access_key k JOIN user u ON u.id = k.user \
         WHERE k.access_key = $1",
    )
    .bind(access_key)
    .fetch_optional(shared.db.read())
    .await?;
    let Some(row) = row else { return Ok(None) };
    let sealed: Vec<u8> = row.get(2);
    let secret = shared.vault.open(&secret_label(access_key), &sealed)?;
    Ok(Some((caller(&row), secret)))
}

/// The user of a token that has not expired.
pub(super) async fn by_token(
    shared: &Shared,
    token: &str,
    now: Timestamp,
) -> Result<Option<Caller>, UserError> {
    let row = sqlx::query(
        "SELECT u.account, u.actions FROM token t JOIN user u ON u.id = t.user \
         WHERE t.digest = $1 AND t.expires > $2",
    )
    .bind(token_digest(token))
    .bind(now.0)
    .fetch_optional(shared.db.read())
    .await?;
    Ok(row.as_ref().map(caller))
}

/// Whether the account has the project.
pub(super) async fn owns_project(
    shared: &Shared,
    account: &str,
    project: &str,
) -> Result<bool, UserError> {
    let row = sqlx::query("SELECT 1 FROM project WHERE id = $1 AND account = $2")
        .bind(project)
        .bind(account)
        .fetch_optional(shared.db.read())
        .await?;
    Ok(row.is_some())
}

/// Makes a token and forgets those that have expired.
pub(super) async fn new_token(
    connection: &mut SqliteConnection,
    user: &str,
    project: Option<&str>,
    now: Timestamp,
    lifetime: Seconds,
) -> Result<String, sqlx::Error> {
    sqlx::query("DELETE FROM token WHERE expires <= $1")
        .bind(now.0)
        .execute(&mut *connection)
        .await?;
    let token = format!("MII{}", text::random_hex::<64>());
    sqlx::query("INSERT INTO token (digest, user, project, expires) VALUES ($1, $2, $3, $4)")
        .bind(token_digest(&token))
        .bind(user)
        .bind(project)
        .bind((now + lifetime).0)
        .execute(&mut *connection)
        .await?;
    Ok(token)
}

/// The id of the account with this name, made with a project for each region if there is none.
pub(super) async fn account(
    connection: &mut SqliteConnection,
    name: &str,
    now: Timestamp,
) -> Result<String, sqlx::Error> {
    let row = sqlx::query("SELECT id FROM account WHERE name = $1")
        .bind(name)
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(row) = row {
        return Ok(row.get(0));
    }
    let id = text::random_hex::<16>();
    sqlx::query("INSERT INTO account (id, name, created) VALUES ($1, $2, $3)")
        .bind(&id)
        .bind(name)
        .bind(now.0)
        .execute(&mut *connection)
        .await?;
    for region in REGIONS {
        sqlx::query("INSERT INTO project (id, account, name) VALUES ($1, $2, $3)")
            .bind(text::random_hex::<16>())
            .bind(&id)
            .bind(region)
            .execute(&mut *connection)
            .await?;
    }
    Ok(id)
}

/// What a new user logs in with.
pub(super) struct NewUser {
    /// The user's name.
    pub(super) name: String,
    /// Patterns of actions, separated by blanks.
    pub(super) actions: String,
    /// The slow hash of the password.
    pub(super) password: String,
    /// 20 capital letters and digits.
    pub(super) access_key: String,
    /// The secret key, sealed.
    pub(super) secret: Vec<u8>,
}

/// Adds a user with one access key.
pub(super) async fn add(
    connection: &mut SqliteConnection,
    account: &str,
    user: &NewUser,
    now: Timestamp,
) -> Result<String, sqlx::Error> {
    let id = text::random_hex::<16>();
    sqlx::query(
        "INSERT INTO user (id, account, name, password, actions, created) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(&id)
    .bind(account)
    .bind(&user.name)
    .bind(&user.password)
    .bind(&user.actions)
    .bind(now.0)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT INTO access_key (access_key, user, secret, created) VALUES ($1, $2, $3, $4)",
    )
    .bind(&user.access_key)
    .bind(&id)
    .bind(&user.secret)
    .bind(now.0)
    .execute(&mut *connection)
    .await?;
    Ok(id)
}

/// A new access key and its secret key, and the latter sealed.
pub(super) fn new_access_key(vault: &Vault) -> Result<(String, Secret, Vec<u8>), VaultError> {
    let access_key = random_of(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", 20);
    let secret = random_of(
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
        40,
    );
    let sealed = vault.seal(&secret_label(&access_key), secret.as_bytes())?;
    Ok((access_key, Secret::from(secret), sealed))
}

/// The slow hash of a password: scheme, rounds, salt and hash. Takes a tenth of a second; not for async code.
pub(super) fn hash_password(password: &[u8]) -> String {
    let salt = text::random::<16>();
    let mut hash = [0; 32];
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        ROUNDS,
        &salt,
        password,
        &mut hash,
    );
    format!(
        "pbkdf2-sha256:{ROUNDS}:{}:{}",
        text::hex(&salt),
        text::hex(&hash)
    )
}

/// Whether the password is the one that was hashed; as slow as hashing.
pub(super) fn password_fits(password: &[u8], stored: &str) -> bool {
    let parts: Vec<&str> = stored.split(':').collect();
    let ["pbkdf2-sha256", rounds, salt, hash] = parts.as_slice() else {
        return false;
    };
    let (Ok(rounds), Some(salt), Some(hash)) = (
        rounds.parse::<NonZeroU32>(),
        text::unhex(salt),
        text::unhex(hash),
    ) else {
        return false;
    };
    pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password, &hash).is_ok()
}

fn caller(row: &sqlx::sqlite::SqliteRow) -> Caller {
    Caller {
        account: row.get(0),
        actions: row.get(1),
    }
}

fn token_digest(token: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, token.as_bytes())
        .as_ref()
        .to_vec()
}

fn secret_label(access_key: &str) -> String {
    format!("access_key.secret/{access_key}")
}

fn random_of(alphabet: &[u8], count: usize) -> String {
    // Whole multiples of the alphabet only, so that every letter is equally likely.
    let most = 256 / alphabet.len() * alphabet.len();
    let mut text = String::with_capacity(count);
    while text.len() < count {
        let byte = usize::from(text::random::<1>()[0]);
        if byte < most {
            text.push(char::from(alphabet[byte % alphabet.len()]));
        }
    }
    text
}

/// The regions of SCM and PCA (CCM API table 1-1 and the SDK); every account has a project in each.
pub(super) const REGIONS: [&str; 7] = [
    "ap-southeast-3",
    "ap-southeast-1",
    "cn-north-4",
    "eu-west-101",
    "my-kualalumpur-1",
    "ru-moscow-1",
    "sa-brazil-1",
];
/// About a tenth of a second on the machines of 2026.
const ROUNDS: NonZeroU32 = NonZeroU32::new(200_000).expect("not zero");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_fits_its_own_hash_only() {
        let hash = hash_password(b"right");
        assert!(!hash.contains("right"));
        assert!(password_fits(b"right", &hash));
        assert!(!password_fits(b"wrong", &hash));
        assert_ne!(hash, hash_password(b"right"), "salted");
        for damaged in [
            "",
            "pbkdf2-sha256:0:00:00",
            "pbkdf2-sha256:1:zz:00",
            "md5:1:00:00",
        ] {
            assert!(!password_fits(b"right", damaged), "{damaged}");
        }
    }
}
