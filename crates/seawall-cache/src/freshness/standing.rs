//! Whether a stored answer may be served.

use super::{age_ms, expiry};
use crate::Millis;
use crate::directives::Demand;
use crate::object::Meta;

/// How a stored answer stands to a request (RFC 9111 §4, §4.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may be served.
    Fresh {
        /// Milliseconds until it is stale.
        left: u64,
    },
    /// It may be served under these conditions, else it must be validated first.
    Stale {
        /// Milliseconds since it became stale.
        by: u64,
        /// It may be served while it is validated in the background.
        while_revalidate: bool,
        /// It may be served when the origin fails.
        if_error: bool,
        /// The client takes it as it is (`max-stale`).
        client_accepts: bool,
    },
    /// It must be validated first.
    Validate {
        /// Why.
        reason: Reason,
        /// It may be served all the same when the origin fails.
        if_error: bool,
    },
}

/// Why a stored answer is validated though it may be fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The answer says `no-cache`.
    NoCache,
    /// The request says `no-cache`.
    Demanded,
    /// It is older than the `max-age` of the request.
    MaxAge,
    /// It stays fresh for less than the `min-fresh` of the request.
    MinFresh,
}

impl Reason {
    /// A stable name for `Cache-Status` and explanations.
    pub fn code(self) -> &'static str {
        match self {
            Reason::NoCache => "no-cache",
            Reason::Demanded => "request-no-cache",
            Reason::MaxAge => "request-max-age",
            Reason::MinFresh => "request-min-fresh",
        }
    }
}

/// Milliseconds in which what was purged softly may be served while it is fetched anew, if the
/// answer itself does not allow for more.
const PURGED: u64 = 10 * 60 * 1000;

/// How a stored answer stands to a request. `purged` is the moment of a soft purge that holds for it,
/// from which on it is stale. It may then be served while it is fetched anew for as long as it
/// allows for itself, and for 10 minutes at least.
#[inline]
pub fn standing(meta: &Meta, demand: &Demand, purged: Option<Millis>, now: Millis) -> Standing {
    let expiry = expiry(meta);
    let is_cut = purged.is_some_and(|moment| moment < expiry);
    let ends = purged.map_or(expiry, |moment| moment.min(expiry));
    let is_fresh = now < ends;
    let by = now.saturating_sub(ends);

    let may_be_stale = !(meta.flags.must_revalidate || meta.flags.no_cache);
    let within = |seconds: u32| {
        let least = if is_cut { PURGED } else { 0 };
        may_be_stale && by < (u64::from(seconds) * 1000).max(least)
    };
    // What the client asks for is its wish (§5.2.1): an origin that fails cannot fulfil it.
    let leave = meta.stale_if_error.max(demand.stale_if_error.unwrap_or(0));
    let if_error = is_fresh || within(leave);
    let validate = |reason| Standing::Validate { reason, if_error };

    if meta.flags.no_cache {
        return Standing::Validate { reason: Reason::NoCache, if_error: false };
    }
    if demand.no_cache {
        return validate(Reason::Demanded);
    }
    if let Some(seconds) = demand.min_fresh
        && now.saturating_add(u64::from(seconds) * 1000) > ends
    {
        return validate(Reason::MinFresh);
    }
    // Who reloads a page gets what cannot have changed, unless they insist with `no-cache`
    // (RFC 8246 §2).
    if let Some(seconds) = demand.max_age
        && (seconds == 0 || age_ms(meta, now) > u64::from(seconds) * 1000)
        && !(meta.flags.immutable && is_fresh)
    {
        return validate(Reason::MaxAge);
    }
    if is_fresh {
        return Standing::Fresh { left: ends - now };
    }
    // A client that limits the age wants nothing stale unless it says so (§5.2.1.1).
    let while_revalidate = within(meta.stale_while_revalidate)
        && (demand.max_age.is_none() || demand.max_stale.is_some());
    let client_accepts = may_be_stale
        && demand.max_stale.is_some_and(|most| most == u32::MAX || by <= u64::from(most) * 1000);
    Standing::Stale { by, while_revalidate, if_error, client_accepts }
}

/// Whether a fresh answer is to be fetched anew already, so that it never ends while many ask for
/// it: the sooner, the longer a fetch takes, and at random, so that one request does it (XFetch
/// with β = 1; Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede Prevention,
/// VLDB 2015, figure 3). `random` is evenly distributed.
#[inline]
pub fn early(meta: &Meta, now: Millis, random: u64) -> bool {
    let left = expiry(meta).saturating_sub(now);
    let cost = u64::from(meta.cost);
    // -ln of the least random number is 44.4.
    if left > cost.saturating_mul(45) {
        return false;
    }
    let share = (random as f64 + 1.0) / (u64::MAX as f64 + 1.0);
    cost as f64 * -share.ln() >= left as f64
}
