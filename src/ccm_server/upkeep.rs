//! What a server does by itself from time to time.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::ccm_server::pca;
use crate::ccm_server::server::Shared;

/// Makes lists of revoked certificates in time, whether or not anybody asks.
pub(super) async fn lists(shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        pca::publish_due(&shared, shared.clock.now()).await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(BETWEEN_LISTS) => {}
        }
    }
}

/// Lets go what searches found that nobody goes on with, and keys that are erased. Once after the last request it gives back what the
/// state keeps in memory. Apart from the lists, which may wait for a disk.
pub(super) async fn house(shared: Arc<Shared>, stop: CancellationToken) {
    let (mut seen, mut rested) = (0, true);
    loop {
        shared.searches.forget_unused();
        pca::forget_buried(&shared).await;
        if seen != shared.log.all() {
            (seen, rested) = (shared.log.all(), false);
        } else if !rested {
            shared.db.rest().await;
            rested = true;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(BETWEEN_LOOKS) => {}
        }
    }
}

/// How often it is looked for lists that are due; revocations publish at once.
const BETWEEN_LISTS: Duration = Duration::from_secs(60);
/// How often it is looked for what can be let go.
const BETWEEN_LOOKS: Duration = Duration::from_secs(60);
