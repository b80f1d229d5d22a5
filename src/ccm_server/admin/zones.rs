//! The zones that stand for Huawei Cloud DNS: added, removed and looked at beside the API, which can do none of it.

use serde_json::Value;
use sqlx::Row as _;

use crate::ccm_server::admin::Admin;
use crate::ccm_server::scm;
use crate::ccm_server::server::ServerError;
use crate::ccm_server::users;
use crate::model::Name;

impl Admin {
    /// Adds a public zone to an account, which is made if it is missing. One that is there already stays as it is.
    ///
    /// # Errors
    /// [`ServerError::Invalid`], also for a zone of another account, and those of the state.
    pub async fn add_zone(&self, name: &str, account: &str) -> Result<(), ServerError> {
        let zone = zone(name)?;
        let (own, of, now) = (zone.clone(), account.to_owned(), self.0.clock.now());
        let write = self.0.db.write::<_, sqlx::Error>(|connection| {
            Box::pin(async move {
                let id = users::account(connection, &of, now).await?;
                scm::add_zone(connection, &id, &own, now).await
            })
        });
        if write.await? {
            return Ok(());
        }
        let taken = format!("another account has the zone {zone}");
        Err(ServerError::Invalid(taken))
    }

    /// Removes a zone of an account with the records in it. What was proven by them stays proven.
    ///
    /// # Errors
    /// [`ServerError::NoZone`], [`ServerError::Invalid`] for what is no zone, and those of the state.
    pub async fn remove_zone(&self, name: &str, account: &str) -> Result<(), ServerError> {
        let zone = zone(name)?;
        let (own, of) = (zone.clone(), account.to_owned());
        let write = self.0.db.write::<_, sqlx::Error>(|connection| {
            Box::pin(async move {
                let id = sqlx::query_scalar("SELECT id FROM account WHERE name = $1").bind(of);
                let id: Option<String> = id.fetch_optional(&mut *connection).await?;
                match id {
                    Some(id) => scm::remove_zone(connection, &id, &own).await,
                    None => Ok(false),
                }
            })
        });
        if write.await? {
            return Ok(());
        }
        Err(ServerError::NoZone {
            name: zone,
            account: account.to_owned(),
        })
    }

    /// The zones of an account, each with the records that the server wrote into it.
    ///
    /// # Errors
    /// Those of the state.
    pub async fn zones(&self, account: &str) -> Result<Vec<Value>, ServerError> {
        let mut snapshot = self.0.db.read().begin().await?;
        let row = sqlx::query("SELECT id FROM account WHERE name = $1")
            .bind(account.to_owned())
            .fetch_optional(&mut *snapshot)
            .await?;
        match row {
            Some(row) => Ok(scm::zones(&mut snapshot, row.get(0)).await?),
            None => Ok(Vec::new()),
        }
    }
}

fn zone(name: &str) -> Result<String, ServerError> {
    match Name::parse(name.trim_end_matches('.')) {
        Ok(Name::Dns(zone)) if !zone.starts_with('*') => Ok(zone),
        _ => Err(ServerError::Invalid(format!(
            "{name:?} is no zone; it must be a domain such as example.com"
        ))),
    }
}
