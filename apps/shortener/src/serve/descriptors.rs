//! What the system is asked for on behalf of connections: descriptors for them, and their end when
//! nobody is at the other one.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt::set_tcp_user_timeout;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Descriptors that are not for clients: files, and connections to databases and caches.
const OTHERS: u64 = 256;

/// Takes as many descriptors as the system lets this process have, and says how many clients these
/// are for, at most so many. Whoever comes when there are none left for the database is in the way of
/// all who are there.
pub(super) fn for_clients(most: usize) -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).ok();
    let clients = match getrlimit(Resource::Nofile).current {
        None => most,
        Some(all) => usize::try_from(all.saturating_sub(OTHERS).max(all / 2)).unwrap_or(most),
    };
    if clients < most {
        warn!(clients, "the system has descriptors for so many connections only (`ulimit -n`)");
    }
    clients.clamp(1, most)
}

/// Has the system end connections of this listener whose clients acknowledge or take nothing for so
/// long (`TCP_USER_TIMEOUT`, RFC 5482), which connections inherit.
pub(super) fn end_stalled(listener: impl AsFd, after: Duration) {
    let millis = u32::try_from(after.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = set_tcp_user_timeout(listener, millis) {
        warn!(%error, "clients that take nothing keep their connections");
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use rustix::net::sockopt::tcp_user_timeout;

    use super::*;

    #[test]
    fn clients_have_what_others_leave() {
        let clients = for_clients(50_000);
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert!(limit.current.is_none_or(|all| (clients as u64) < all), "{clients} of {limit:?}");
        assert_eq!(for_clients(1), 1);
    }

    #[test]
    fn connections_inherit_that_they_end() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        end_stalled(&listener, Duration::from_secs(7));
        let address = listener.local_addr().expect("an address");
        let _client = TcpStream::connect(address).expect("it listens");
        let (accepted, _) = listener.accept().expect("somebody came");
        assert_eq!(tcp_user_timeout(&accepted), Ok(7_000));
    }
}
