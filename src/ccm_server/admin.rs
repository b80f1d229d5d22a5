//! What can be done beside the API: users, the first CAs, and what tests arrange and count.
//!
//! Works on the state directory alone, so also beside a running server, which sees every change at once.

mod accounts;
mod resources;
mod zones;

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use sqlx::Row as _;

use crate::ccm_server::db::DbError;
use crate::ccm_server::failure::Failure;
use crate::ccm_server::faults::Faults;
use crate::ccm_server::keys;
use crate::ccm_server::operation::Service;
use crate::ccm_server::pca::{self, Blueprint, Certification};
use crate::ccm_server::scm;
use crate::ccm_server::server::{ServerError, Shared};
use crate::ccm_server::text;
use crate::ccm_server::users::{self, NewUser};
use crate::ccm_server::vault::MasterKey;
use crate::ccm_server::x509::{Hash, KeyKind, Period, Subject, Unit};
use crate::pki::Secret;
use crate::sys::clock::{Clock, SystemClock};

pub use resources::{NewResource, Served};

/// Administers one state.
pub struct Admin(Arc<Shared>);

/// What a new user logs in with. Secret and password are shown once and kept only sealed and hashed.
pub struct UserKeys {
    /// The user's name, for tokens.
    pub name: String,
    /// Its account (IAM: domain name).
    pub account: String,
    /// The account's id (IAM: domain id).
    pub domain_id: String,
    /// A region of the account (IAM: project name).
    pub project: String,
    /// That region's project id.
    pub project_id: String,
    /// AK.
    pub access_key: String,
    /// SK.
    pub secret_key: Secret,
    /// For tokens.
    pub password: Secret,
}

/// The two CAs of a fresh state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorities {
    /// The root's id.
    pub root: String,
    /// The root's common name.
    pub root_name: String,
    /// The id of the CA that issues.
    pub issuing: String,
    /// The common name of the CA that issues.
    pub issuing_name: String,
}

/// A certificate that is put into SCM as if it had been bought or imported there.
pub struct ScmImport {
    /// Its name in SCM.
    pub name: String,
    /// `ISSUED` (as if bought) or `UPLOAD` (as if imported).
    pub status: String,
    /// PEM.
    pub certificate: String,
    /// PEM, issuer first; may be empty.
    pub chain: String,
    /// PEM.
    pub private_key: Secret,
}

impl Admin {
    pub(super) const fn of(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Opens a state directory, with or without a server on it.
    ///
    /// # Errors
    /// [`ServerError`].
    pub async fn open(state: &Path, master_key: Option<MasterKey>) -> Result<Self, ServerError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let shared = Shared::open(state, master_key, clock, Faults::none()).await?;
        Ok(Self(Arc::new(shared)))
    }

    /// Closes the state.
    pub async fn close(self) {
        self.0.db.close().await;
    }

    /// Adds a user of the default account who may do everything.
    ///
    /// # Errors
    /// [`ServerError::UserExists`], [`ServerError::Invalid`] and those of the state.
    pub async fn add_user(&self, name: &str) -> Result<UserKeys, ServerError> {
        self.add_user_with(name, DEFAULT_ACCOUNT, "*").await
    }

    /// Adds a bucket of `account`, which is made if it is missing.
    ///
    /// # Errors
    /// [`ServerError::Invalid`] also when another account has it, and those of the state.
    pub async fn add_bucket(&self, name: &str, account: &str) -> Result<(), ServerError> {
        if !pca::is_bucket(name) {
            return Err(ServerError::Invalid(format!(
                "{name:?} is no name of a bucket; it must have 3 to 63 small letters, digits, `-` and `.`"
            )));
        }
        let (own, account, now) = (name.to_owned(), account.to_owned(), self.0.clock.now());
        let write = self.0.db.write::<_, sqlx::Error>(|connection| {
            Box::pin(async move {
                let id = users::account(connection, &account, now).await?;
                sqlx::query(
                    "INSERT OR IGNORE INTO bucket (name, account, created) VALUES ($1, $2, $3)",
                )
                .bind(&own)
                .bind(&id)
                .bind(now.0)
                .execute(&mut *connection)
                .await?;
                let owner = "SELECT account FROM bucket WHERE name = $1";
                let owner: String = sqlx::query_scalar(owner)
                    .bind(&own)
                    .fetch_one(connection)
                    .await?;
                Ok(owner == id)
            })
        });
        if write.await? {
            return Ok(());
        }
        let taken = format!("another account has a bucket {name}; choose another name");
        Err(ServerError::Invalid(taken))
    }

    /// Adds a user of `account`, which is made if it is missing, who may do what the patterns of actions say, such as
    /// `pca:*:get pca:*:list`.
    ///
    /// # Errors
    /// [`ServerError::UserExists`], [`ServerError::Invalid`] and those of the state.
    pub async fn add_user_with(
        &self,
        name: &str,
        account: &str,
        actions: &str,
    ) -> Result<UserKeys, ServerError> {
        for (what, text) in [("user", name), ("account", account)] {
            let sound = |c: char| c.is_ascii_alphanumeric() || "_-.@".contains(c);
            if !(1..=64).contains(&text.len()) || !text.chars().all(sound) {
                return Err(ServerError::Invalid(format!(
                    "the {what} name {text:?} is not usable; it must have 1 to 64 letters, digits, `_`, `-`, `.` and `@`"
                )));
            }
        }
        let (access_key, secret_key, secret) = keys::new_access_key(&self.0.vault)?;
        let password = text::random_hex::<16>();
        let hashed = password.clone();
        let hash = self
            .0
            .heavy(move || users::hash_password(hashed.as_bytes()))
            .await;
        let user = NewUser {
            name: name.to_owned(),
            actions: actions.to_owned(),
            password: hash,
            access_key: access_key.clone(),
            secret,
        };
        let (own_account, now) = (account.to_owned(), self.0.clock.now());
        let write = self.0.db.write::<_, sqlx::Error>(|connection| {
            Box::pin(async move {
                let id = users::account(connection, &own_account, now).await?;
                users::add(connection, &id, &user, now).await?;
                let row = sqlx::query("SELECT id FROM project WHERE account = $1 AND name = $2")
                    .bind(&id)
                    .bind(users::REGIONS[0])
                    .fetch_one(connection)
                    .await?;
                Ok((id, row.get::<String, _>(0)))
            })
        });
        let taken = |error: &sqlx::Error| {
            error
                .as_database_error()
                .is_some_and(|error| error.is_unique_violation())
        };
        let (domain_id, project_id) = match write.await {
            Ok(ids) => ids,
            Err(error) if taken(&error) => {
                return Err(ServerError::UserExists {
                    name: name.to_owned(),
                    account: account.to_owned(),
                });
            }
            Err(error) => return Err(error.into()),
        };
        Ok(UserKeys {
            name: name.to_owned(),
            account: account.to_owned(),
            domain_id,
            project: users::REGIONS[0].to_owned(),
            project_id,
            access_key,
            secret_key,
            password: Secret::from(password),
        })
    }

    /// The root and the issuing CA of the default account: those that were made before, or new ones.
    ///
    /// # Errors
    /// [`ServerError`].
    pub async fn init_ca(&self) -> Result<Authorities, ServerError> {
        let _alone = self.0.alone().await?;
        match self.known_cas().await? {
            Some(known) => Ok(known),
            None => self.new_cas().await,
        }
    }

    /// Makes a root and an issuing CA only when the state has no CA at all.
    pub(super) async fn init_ca_if_empty(&self) -> Result<(), ServerError> {
        let _alone = self.0.alone().await?;
        let row = sqlx::query("SELECT count(*) FROM authority")
            .fetch_one(self.0.db.read())
            .await?;
        if row.get::<i64, _>(0) == 0 {
            self.new_cas().await?;
        }
        Ok(())
    }

    /// How many private certificates with this common name were ever issued and not deleted.
    ///
    /// # Errors
    /// [`ServerError`].
    pub async fn issued(&self, common_name: &str) -> Result<usize, ServerError> {
        let row = sqlx::query("SELECT count(*) FROM certificate WHERE common_name = $1")
            .bind(common_name.to_owned())
            .fetch_one(self.0.db.read())
            .await?;
        Ok(usize::try_from(row.get::<i64, _>(0)).unwrap_or(0))
    }

    /// The root's certificate as PEM: what clients of the issued certificates trust.
    ///
    /// # Errors
    /// [`ServerError`].
    pub async fn ca_certificate(&self, id: &str) -> Result<String, ServerError> {
        let row = sqlx::query("SELECT certificate FROM authority WHERE id = $1")
            .bind(id.to_owned())
            .fetch_optional(self.0.db.read())
            .await?;
        let der = row.and_then(|row| row.get::<Option<Vec<u8>>, _>(0));
        let der = der.ok_or_else(|| {
            ServerError::Invalid(format!("there is no CA {id}, or it has no certificate yet"))
        })?;
        Ok(crate::ccm_server::x509::encode_all(
            [der.as_slice()],
            crate::ccm_server::x509::LineEnd::Lf,
        ))
    }

    /// The root of the SSL certificates that SCM issues, as PEM; made now, if none was issued yet.
    ///
    /// # Errors
    /// [`ServerError`].
    pub async fn scm_root(&self) -> Result<String, ServerError> {
        let root = scm::root_certificate(&self.0, self.0.clock.now());
        let root = root.await.map_err(invalid)?;
        Ok(crate::ccm_server::x509::encode_all(
            [root.as_slice()],
            crate::ccm_server::x509::LineEnd::Lf,
        ))
    }

    /// Looks at every application that is due, and at orders whose next certificate is; returns when that is done.
    ///
    /// # Errors
    /// [`ServerError`].
    pub async fn look_at_applications(&self) -> Result<(), ServerError> {
        scm::look_at_applications(&self.0).await.map_err(invalid)
    }

    /// Puts a certificate into SCM for the default account, expired or not; answers its id.
    ///
    /// # Errors
    /// [`ServerError::Invalid`] when certificate, chain and key do not belong together.
    pub async fn import_scm(&self, import: ScmImport) -> Result<String, ServerError> {
        let upload = scm::check_upload(&import.certificate, &import.chain, &import.private_key)
            .map_err(invalid)?;
        let now = self.0.clock.now();
        let account = self.default_account().await?;
        let id = text::scm_id();
        let kept = scm::seal_upload(
            &self.0.vault,
            &id,
            &account,
            &import.name,
            &import.status,
            &upload,
        )?;
        let write = self.0.db.write::<_, sqlx::Error>(|connection| {
            Box::pin(async move { scm::insert_upload(connection, kept, now).await })
        });
        write.await?;
        Ok(id)
    }

    async fn default_account(&self) -> Result<String, DbError> {
        let now = self.0.clock.now();
        let account = self.0.db.write::<_, sqlx::Error>(|connection| {
            Box::pin(async move { users::account(connection, DEFAULT_ACCOUNT, now).await })
        });
        Ok(account.await?)
    }

    async fn known_cas(&self) -> Result<Option<Authorities>, ServerError> {
        let row = sqlx::query(
            "SELECT r.id, r.common_name, i.id, i.common_name FROM authority i JOIN authority r ON r.id = i.issuer \
             JOIN account a ON a.id = i.account WHERE a.name = $1 AND i.kind = 'SUBORDINATE' AND r.kind = 'ROOT' \
             AND i.status = 'ACTIVED' ORDER BY i.seq LIMIT 1",
        )
        .bind(DEFAULT_ACCOUNT)
        .fetch_optional(self.0.db.read())
        .await?;
        Ok(row.map(|row| Authorities {
            root: row.get(0),
            root_name: row.get(1),
            issuing: row.get(2),
            issuing_name: row.get(3),
        }))
    }

    async fn new_cas(&self) -> Result<Authorities, ServerError> {
        let account = self.default_account().await?;
        let root = self.new_ca(&account, ROOT_NAME, None).await?;
        let issuing = self
            .new_ca(&account, ISSUING_NAME, Some(root.clone()))
            .await?;
        Ok(Authorities {
            root,
            root_name: ROOT_NAME.to_owned(),
            issuing,
            issuing_name: ISSUING_NAME.to_owned(),
        })
    }

    async fn new_ca(
        &self,
        account: &str,
        name: &str,
        issuer: Option<String>,
    ) -> Result<String, ServerError> {
        let root = issuer.is_none();
        let certificate = Certification {
            hash: if root { Hash::Sha384 } else { Hash::Sha256 },
            period: Period {
                unit: Unit::Year,
                value: if root { ROOT_YEARS } else { ISSUING_YEARS },
                start_from: None,
            },
            path_length: 0,
            issuer,
        };
        let blueprint = Blueprint {
            id: text::uuid(),
            subject: Subject {
                common_name: name.to_owned(),
                organization: Some("renewd-ccm".to_owned()),
                ..Subject::default()
            },
            key: if root { KeyKind::Ec384 } else { KeyKind::Ec256 },
            root,
            certificate: Some(certificate),
            usages: Vec::new(),
            crl: pca::no_crl(),
        };
        let now = self.0.clock.now();
        pca::create(&self.0, account, blueprint, now)
            .await
            .map_err(invalid)
    }
}

impl UserKeys {
    /// As `user add --json` prints it.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "name": self.name,
            "account": self.account,
            "domain_id": self.domain_id,
            "project": self.project,
            "project_id": self.project_id,
            "access_key": self.access_key,
            "secret_key": self.secret_key.expose_str(),
            "password": self.password.expose_str(),
        })
    }
}

impl Authorities {
    /// As `ca init --json` prints it.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "root_ca_id": self.root,
            "root_common_name": self.root_name,
            "issuing_ca_id": self.issuing,
            "issuing_common_name": self.issuing_name,
        })
    }
}

fn invalid(failure: Failure) -> ServerError {
    let code = failure.code(Service::Pca);
    let detail = failure.detail().unwrap_or(code.message);
    ServerError::Invalid(format!("{}: {detail}", code.name))
}

/// The account of users and CAs that were made without naming one.
const DEFAULT_ACCOUNT: &str = "default";
const ROOT_NAME: &str = "renewd-ccm Root CA";
const ISSUING_NAME: &str = "renewd-ccm Issuing CA";
const ROOT_YEARS: i64 = 20;
/// Half of the root's, so that a successor can be made in time.
const ISSUING_YEARS: i64 = 10;
