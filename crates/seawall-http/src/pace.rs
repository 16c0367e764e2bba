//! Minimum progress of a body, against clients that send or take a byte now and then to hold a
//! place.

use std::time::Duration;

use tokio::time::Instant;

/// Watches one direction of one exchange, while it is the client's turn.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    window: Option<Window>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    since: Instant,
    moved: u64,
}

/// The client moved fewer bytes than it must.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooSlow;

impl Pace {
    /// Given the bytes moved so far, says until when it may wait for more.
    pub(crate) fn check(
        &mut self,
        now: Instant,
        moved: u64,
        least: u64,
        within: Duration,
    ) -> Result<Instant, TooSlow> {
        let fresh = Window { since: now, moved };
        let window = self.window.get_or_insert(fresh);
        if now >= window.since + within {
            if moved - window.moved < least {
                return Err(TooSlow);
            }
            *window = fresh;
        }
        Ok(window.since + within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_window_needs_its_bytes() {
        let start = Instant::now();
        let within = Duration::from_secs(30);
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::default();
        assert_eq!(pace.check(at(0), 0, 1000, within), Ok(at(30)));
        assert_eq!(pace.check(at(29), 10, 1000, within), Ok(at(30)));
        assert_eq!(pace.check(at(31), 1000, 1000, within), Ok(at(61)));
        assert_eq!(pace.check(at(61), 1999, 1000, within), Err(TooSlow));
    }
}
