//! Why the server cannot be used, in words for whoever runs it, and saying so once.

use std::mem::discriminant;
use std::time::{Duration, Instant};

use redis::{ErrorKind, RedisError};

/// Why the server cannot be used. Its text completes "the shared state is away: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    #[error(
        "no connection to {address}: {why}; see that Redis runs there and can be reached, or mend \
         state.redis"
    )]
    Connection { address: String, why: String },
    #[error("{address} does not answer within {limit:?}; see what it or the network is busy with")]
    Silent { address: String, limit: Duration },
    #[error("{address} refuses the user or the password of state.redis: {why}")]
    Password { address: String, why: String },
    #[error("{address} is a read-only replica; state.redis must name the primary")]
    ReadOnly { address: String },
    #[error(
        "{address} has no memory left for writes: {why}; raise its maxmemory, and let it give up \
         what has an end (maxmemory-policy volatile-lru)"
    )]
    Full { address: String, why: String },
    #[error("{address} is still loading its data")]
    Loading { address: String },
    #[error("{address} answers {why}")]
    Answer { address: String, why: String },
}

impl Trouble {
    pub(super) fn of(error: &RedisError, address: &str) -> Trouble {
        let address = address.to_owned();
        let why = match (error.code(), error.detail()) {
            (Some(code), Some(detail)) => format!("{code} {detail}"),
            _ => error.to_string(),
        };
        match error.code() {
            Some("READONLY") => return Trouble::ReadOnly { address },
            Some("OOM") => return Trouble::Full { address, why },
            Some("LOADING") => return Trouble::Loading { address },
            Some("NOAUTH" | "WRONGPASS") => return Trouble::Password { address, why },
            _ => {}
        }
        match error.kind() {
            ErrorKind::AuthenticationFailed => Trouble::Password { address, why },
            ErrorKind::Io => Trouble::Connection { address, why },
            _ => Trouble::Answer { address, why },
        }
    }

    /// Whether the two are one thing to whoever reads of them.
    fn is_like(&self, other: &Trouble) -> bool {
        match (self, other) {
            (Trouble::Answer { why, .. }, Trouble::Answer { why: other, .. }) => why == other,
            _ => discriminant(self) == discriminant(other),
        }
    }

    /// Whether the connection is of no more use.
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            Trouble::Connection { .. }
            | Trouble::Silent { .. }
            | Trouble::Password { .. }
            | Trouble::ReadOnly { .. } => true,
            Trouble::Full { .. } | Trouble::Loading { .. } | Trouble::Answer { .. } => false,
        }
    }
}

/// What was said last, so that nothing is said twice.
#[derive(Debug, Default)]
pub(super) struct Voice {
    last: Option<(Trouble, Instant)>,
    /// The last thing said is not yet said to be over.
    open: bool,
}

/// Trouble that comes and goes is told of once in so long.
const AGAIN: Duration = Duration::from_secs(30);

impl Voice {
    /// Whether this is to be said.
    pub(super) fn trouble(&mut self, trouble: &Trouble, now: Instant) -> bool {
        if let Some((said, at)) = &self.last
            && said.is_like(trouble)
            && (self.open || now.saturating_duration_since(*at) < AGAIN)
        {
            return false;
        }
        self.last = Some((trouble.clone(), now));
        self.open = true;
        true
    }

    /// All is well. Whether that is to be said.
    pub(super) fn well(&mut self) -> bool {
        std::mem::take(&mut self.open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_twice() {
        let loading = Trouble::Loading { address: "a".to_owned() };
        let connection = |why: &str| Trouble::Connection { address: "a".into(), why: why.into() };
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut voice = Voice::default();
        assert!(!voice.well(), "it never was otherwise");
        assert!(voice.trouble(&connection("reset"), at(0)));
        assert!(!voice.trouble(&connection("refused"), at(100)), "it still goes on");
        assert!(voice.trouble(&loading, at(101)), "something else");
        assert!(voice.well());
        assert!(!voice.well());
        assert!(!voice.trouble(&loading, at(130)), "it comes and goes");
        assert!(!voice.well(), "nobody was told that it was back");
        assert!(voice.trouble(&loading, at(131)));
    }
}
