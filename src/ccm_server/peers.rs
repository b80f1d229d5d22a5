//! How many connections each peer has, and how many of the places for large bodies: one that opens many must not keep out all
//! others.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// Peers with open connections, and how many each has.
#[derive(Default)]
pub(super) struct Peers(Mutex<HashMap<IpAddr, usize>>);

/// A connection that counts until it is dropped.
pub(super) struct Guest {
    peers: Arc<Peers>,
    peer: IpAddr,
}

impl Peers {
    /// Counts one more connection from this address, unless there are `most` already.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<Guest> {
        let peer = peer(address);
        {
            let mut all = self.lock();
            let count = all.entry(peer).or_insert(0);
            if *count >= most {
                if *count == 0 {
                    all.remove(&peer);
                }
                return None;
            }
            *count += 1;
        }
        Some(Guest {
            peers: Arc::clone(self),
            peer,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut all = self.peers.lock();
        if let Some(count) = all.get_mut(&self.peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                all.remove(&self.peer);
            }
        }
    }
}

/// Whose request it is; goes with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

/// Places for those that take much, such as large bodies: few, and of each peer fewer.
pub(super) struct Places {
    all: Semaphore,
    each: usize,
    peers: Mutex<BTreeMap<IpAddr, Weak<Semaphore>>>,
}

/// One of them, until it is dropped.
pub(super) struct Place<'a> {
    _own: Option<OwnedSemaphorePermit>,
    _place: Option<SemaphorePermit<'a>>,
}

impl Places {
    /// So many for all, and for each peer.
    pub(super) const fn new(all: usize, each: usize) -> Self {
        Self {
            all: Semaphore::const_new(all),
            each,
            peers: Mutex::new(BTreeMap::new()),
        }
    }

    /// Waits for one, first among those of the same peer.
    pub(super) async fn take(&self, peer: Option<Peer>) -> Place<'_> {
        let own = match peer {
            Some(Peer(address)) => self.of(address).acquire_owned().await.ok(),
            None => None,
        };
        Place {
            _own: own,
            _place: self.all.acquire().await.ok(),
        }
    }

    fn of(&self, address: IpAddr) -> Arc<Semaphore> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        // Who neither has a place nor waits for one is forgotten.
        peers.retain(|_, own| own.strong_count() > 0);
        let own = peers.entry(peer(address)).or_default();
        own.upgrade().unwrap_or_else(|| {
            let new = Arc::new(Semaphore::new(self.each));
            *own = Arc::downgrade(&new);
            new
        })
    }
}

/// Whoever has one IPv6 address of a /64 has them all; an IPv4 address stays one in IPv6 clothes.
fn peer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn places_are_few_and_of_each_peer_fewer() {
        let places = Places::new(3, 2);
        let peer = |address: &str| Some(Peer(address.parse().unwrap()));
        // Looked at once: it has one, or waits.
        let at_once = async |address: &str| {
            let taken = tokio::time::timeout(Duration::ZERO, places.take(peer(address)));
            taken.await.ok()
        };
        let first = at_once("192.0.2.1").await;
        let second = at_once("::ffff:192.0.2.1").await;
        assert!(first.is_some() && second.is_some());
        assert!(at_once("192.0.2.1").await.is_none());
        let other = at_once("192.0.2.2").await;
        assert!(other.is_some());
        assert!(at_once("192.0.2.3").await.is_none(), "all are taken");
        drop(first);
        assert!(at_once("192.0.2.1").await.is_some());
        drop((second, other));
        assert!(at_once("192.0.2.3").await.is_some());
        assert_eq!(
            places.peers.lock().unwrap().len(),
            1,
            "nobody is remembered"
        );
    }

    #[test]
    fn a_peer_has_as_many_connections_as_it_may_and_others_have_theirs() {
        let peers = Arc::new(Peers::default());
        let admit = |address: &str| peers.admit(address.parse().unwrap(), 2);
        let first = admit("192.0.2.1").unwrap();
        let second = admit("::ffff:192.0.2.1").unwrap();
        assert!(admit("192.0.2.1").is_none());
        let other = admit("192.0.2.2");
        assert!(other.is_some());
        drop(first);
        let third = admit("192.0.2.1");
        assert!(third.is_some());
        let six = (admit("2001:db8::1"), admit("2001:db8::ffff:2"));
        assert!(six.0.is_some() && six.1.is_some());
        assert!(admit("2001:db8::3").is_none());
        assert!(admit("2001:db8:0:1::3").is_some());
        drop((second, third, other, six));
        assert!(peers.lock().is_empty(), "nobody is remembered");
        assert!(peers.admit("192.0.2.1".parse().unwrap(), 0).is_none());
        assert!(peers.lock().is_empty());
    }
}
