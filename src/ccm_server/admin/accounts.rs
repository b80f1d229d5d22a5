//! Users that are there already: shown, allowed something else, removed.

use serde_json::{Value, json};

use crate::ccm_server::admin::Admin;
use crate::ccm_server::server::ServerError;
use crate::ccm_server::users;

impl Admin {
    /// All users with account, actions and access keys, as `user list --json` prints them; no secret is among it.
    ///
    /// # Errors
    /// Those of the state.
    pub async fn users(&self) -> Result<Value, ServerError> {
        let mut connection = self.0.db.read().acquire().await?;
        let users = users::all(&mut connection).await?;
        let users: Vec<Value> = users
            .iter()
            .map(|user| {
                json!({
                    "name": user.name,
                    "account": user.account,
                    "actions": user.actions.split_ascii_whitespace().collect::<Vec<_>>(),
                    "access_keys": user.access_keys.split_ascii_whitespace().collect::<Vec<_>>(),
                    "created": user.created.to_string(),
                })
            })
            .collect();
        Ok(json!({"users": users}))
    }

    /// Changes what a user may do, from its next request on: its tokens and temporary keys have no rights of their own.
    ///
    /// # Errors
    /// [`ServerError::NoUser`] and those of the state.
    pub async fn allow(&self, name: &str, account: &str, actions: &str) -> Result<(), ServerError> {
        let (user, of, actions) = (name.to_owned(), account.to_owned(), actions.to_owned());
        let write = self.0.db.write::<_, sqlx::Error>(|connection| {
            Box::pin(async move { users::set_actions(connection, &of, &user, &actions).await })
        });
        Self::found(write.await?, name, account)
    }

    /// Removes a user with its keys and tokens. What it made stays: it belongs to the account.
    ///
    /// # Errors
    /// [`ServerError::NoUser`] and those of the state.
    pub async fn remove_user(&self, name: &str, account: &str) -> Result<(), ServerError> {
        let (user, of) = (name.to_owned(), account.to_owned());
        let write = self.0.db.write::<_, sqlx::Error>(|connection| {
            Box::pin(async move { users::remove(connection, &of, &user).await })
        });
        Self::found(write.await?, name, account)
    }

    fn found(found: bool, name: &str, account: &str) -> Result<(), ServerError> {
        if found {
            return Ok(());
        }
        Err(ServerError::NoUser {
            name: name.to_owned(),
            account: account.to_owned(),
        })
    }
}
