//! What was seen of what is watched and not managed: one row for each table of the policy.

use crate::model::{WatchId, WatchState};
use crate::store::StoreError;
use crate::store::codec::encode;
use crate::store::rows::query;
use crate::store::sqlite::SqliteStore;

impl SqliteStore {
    pub(crate) async fn write_watch(
        &self,
        id: &WatchId,
        state: Option<&WatchState>,
    ) -> Result<(), StoreError> {
        let query_of = match state {
            Some(state) => sqlx::query("INSERT INTO watches (id, state) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET state = excluded.state")
                .bind(id.as_str())
                .bind(encode("watches.state", state)?),
            None => sqlx::query("DELETE FROM watches WHERE id = $1").bind(id.as_str()),
        };
        query_of
            .execute(&self.pool)
            .await
            .map_err(query("write what was seen of a watch"))?;
        Ok(())
    }
}
