//! Accounts, users and their passwords, as the state keeps them.

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use sqlx::{Row, SqliteConnection};

use crate::ccm_server::db::DbError;
use crate::ccm_server::server::Shared;
use crate::ccm_server::text;
use crate::ccm_server::vault::VaultError;
use crate::model::Timestamp;

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

/// A user as `user list` shows it.
pub(super) struct Listed {
    /// The user's name.
    pub(super) name: String,
    /// The account's.
    pub(super) account: String,
    /// Patterns of actions, separated by blanks.
    pub(super) actions: String,
    /// Its access keys, separated by blanks; temporary ones are not among them.
    pub(super) access_keys: String,
    /// When it was made.
    pub(super) created: Timestamp,
}

/// All users, by account and name.
pub(super) async fn all(connection: &mut SqliteConnection) -> Result<Vec<Listed>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT u.name, a.name, u.actions, coalesce(group_concat(k.access_key, ' '), ''), u.created FROM user u \
         JOIN account a ON a.id = u.account LEFT JOIN access_key k ON k.user = u.id GROUP BY u.id ORDER BY a.name, u.name",
    )
    .fetch_all(connection)
    .await?;
    let listed = rows.iter().map(|row| Listed {
        name: row.get(0),
        account: row.get(1),
        actions: row.get(2),
        access_keys: row.get(3),
        created: Timestamp(row.get(4)),
    });
    Ok(listed.collect())
}

/// Changes what a user may do, from its next request on; false when there is no such user.
pub(super) async fn set_actions(
    connection: &mut SqliteConnection,
    account: &str,
    name: &str,
    actions: &str,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "UPDATE user SET actions = $1 WHERE name = $2 AND account = (SELECT id FROM account WHERE name = $3)",
    )
    .bind(actions)
    .bind(name)
    .bind(account)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Removes a user with all its keys and tokens; false when there is no such user. What it made stays, since it belongs
/// to the account.
pub(super) async fn remove(
    connection: &mut SqliteConnection,
    account: &str,
    name: &str,
) -> Result<bool, sqlx::Error> {
    let id: Option<String> = sqlx::query_scalar(
        "SELECT u.id FROM user u JOIN account a ON a.id = u.account WHERE u.name = $1 AND a.name = $2",
    )
    .bind(name)
    .bind(account)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(id) = id else { return Ok(false) };
    for statement in [
        "DELETE FROM token WHERE user = $1",
        "DELETE FROM temporary_key WHERE user = $1",
        "DELETE FROM access_key WHERE user = $1",
        "DELETE FROM user WHERE id = $1",
    ] {
        sqlx::query(statement)
            .bind(&id)
            .execute(&mut *connection)
            .await?;
    }
    Ok(true)
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
