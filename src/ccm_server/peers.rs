//! How many connections each peer has: one that opens many must not keep out all others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// Whoever has one IPv6 address of a /64 has them all; an IPv4 address stays one in IPv6 clothes.
fn peer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
