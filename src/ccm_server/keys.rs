//! Access keys, those of users for good and those for a while, and the tokens that stand for a user.
//!
//! Secret keys are kept sealed, tokens only as digests: who reads the state has neither.

use aws_lc_rs::{constant_time, digest};
use sqlx::{Row, SqliteConnection};

use crate::ccm_server::auth::Caller;
use crate::ccm_server::server::Shared;
use crate::ccm_server::text;
use crate::ccm_server::users::UserError;
use crate::ccm_server::vault::{Vault, VaultError};
use crate::model::{Seconds, Timestamp};
use crate::pki::Secret;

/// An access key as the state has it.
pub(super) struct AccessKey {
    /// Whose it is.
    pub(super) caller: Caller,
    /// What requests are signed with.
    pub(super) secret: Secret,
    /// What a key for a while has beside that.
    session: Option<Session>,
}

struct Session {
    /// SHA-256 of the security token.
    digest: Vec<u8>,
    expires: Timestamp,
}

/// Why a key is no good, although its secret is known to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyError {
    /// A key for a while, alone.
    #[error("the access key is a temporary one, and X-Security-Token is missing")]
    NoToken,
    /// The token belongs to another key, or to none.
    #[error("X-Security-Token does not belong to the access key")]
    OtherToken,
    /// Its time is over.
    #[error("the temporary access key has expired")]
    Expired,
}

impl AccessKey {
    /// Looks a key up, whether or not it is still good.
    pub(super) async fn find(shared: &Shared, access_key: &str) -> Result<Option<Self>, UserError> {
        let row = sqlx::query(
            "SELECT u.id, u.account, u.actions, k.secret, NULL, NULL FROM access_key k JOIN user u ON u.id = k.user \
             WHERE k.access_key = $1 \
             UNION ALL \
             SELECT u.id, u.account, u.actions, k.secret, k.session, k.expires FROM temporary_key k \
             JOIN user u ON u.id = k.user WHERE k.access_key = $1",
        )
        .bind(access_key)
        .fetch_optional(shared.db.read())
        .await?;
        let Some(row) = row else { return Ok(None) };
        let secret = shared
            .vault
            .open(&secret_label(access_key), row.get::<&[u8], _>(3))?;
        let session = row
            .get::<Option<Vec<u8>>, _>(4)
            .zip(row.get::<Option<i64>, _>(5));
        let session = session.map(|(digest, expires)| Session {
            digest,
            expires: Timestamp(expires),
        });
        Ok(Some(Self {
            caller: Caller {
                temporary: session.is_some(),
                ..caller(&row)
            },
            secret,
            session,
        }))
    }

    /// Whether the key is good with the `X-Security-Token` that came with it. To be asked only once the signature is
    /// known to be right: the answer says what kind of key it is.
    pub(super) fn good(&self, token: Option<&str>, now: Timestamp) -> Result<(), KeyError> {
        match (&self.session, token) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err(KeyError::OtherToken),
            (Some(_), None) => Err(KeyError::NoToken),
            (Some(session), Some(token)) => {
                constant_time::verify_slices_are_equal(&session.digest, &digest_of(token))
                    .map_err(|_| KeyError::OtherToken)?;
                if session.expires > now {
                    Ok(())
                } else {
                    Err(KeyError::Expired)
                }
            }
        }
    }
}

/// A new key for a while.
pub(super) struct NewTemporary {
    /// AK.
    pub(super) access_key: String,
    /// SK.
    pub(super) secret: Secret,
    /// What has to be sent along in `X-Security-Token`.
    pub(super) token: String,
    sealed: Vec<u8>,
}

impl NewTemporary {
    /// Draws one.
    pub(super) fn draw(vault: &Vault) -> Result<Self, VaultError> {
        let (access_key, secret, sealed) = new_access_key(vault)?;
        Ok(Self {
            access_key,
            secret,
            token: format!("gQpjbi1ub3J0aC00{}", text::random_hex::<64>()),
            sealed,
        })
    }

    /// The row of it.
    pub(super) fn row(&self, user: &str, expires: Timestamp) -> TemporaryRow {
        TemporaryRow {
            access_key: self.access_key.clone(),
            user: user.to_owned(),
            sealed: self.sealed.clone(),
            session: digest_of(&self.token),
            expires,
        }
    }
}

/// What the state keeps of a key for a while.
pub(super) struct TemporaryRow {
    access_key: String,
    user: String,
    sealed: Vec<u8>,
    session: Vec<u8>,
    expires: Timestamp,
}

/// Keeps a key for a while and forgets those that have expired.
pub(super) async fn add_temporary(
    connection: &mut SqliteConnection,
    row: TemporaryRow,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM temporary_key WHERE expires <= $1")
        .bind(now.0)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "INSERT INTO temporary_key (access_key, user, secret, session, expires) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(row.access_key)
    .bind(row.user)
    .bind(row.sealed)
    .bind(row.session)
    .bind(row.expires.0)
    .execute(connection)
    .await?;
    Ok(())
}

/// The user of a token that has not expired.
pub(super) async fn by_token(
    shared: &Shared,
    token: &str,
    now: Timestamp,
) -> Result<Option<Caller>, UserError> {
    let row = sqlx::query(
        "SELECT u.id, u.account, u.actions, t.project FROM token t JOIN user u ON u.id = t.user \
         WHERE t.digest = $1 AND t.expires > $2",
    )
    .bind(digest_of(token))
    .bind(now.0)
    .fetch_optional(shared.db.read())
    .await?;
    Ok(row.as_ref().map(|row| Caller {
        project: row.get(3),
        ..caller(row)
    }))
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
        .bind(digest_of(&token))
        .bind(user)
        .bind(project)
        .bind((now + lifetime).0)
        .execute(&mut *connection)
        .await?;
    Ok(token)
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

fn caller(row: &sqlx::sqlite::SqliteRow) -> Caller {
    Caller {
        user: row.get(0),
        account: row.get(1),
        actions: row.get(2),
        temporary: false,
        project: None,
    }
}

fn digest_of(token: &str) -> Vec<u8> {
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
