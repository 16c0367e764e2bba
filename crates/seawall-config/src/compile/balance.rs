//! How a server is chosen: `balance`, `hash` and `sticky` of the plan.

use crate::config::{BalanceWord, StickyEntry, Upstream};
use crate::plan::{Balance, HashBy, HashKey, Sticky};
use crate::read::{At, Given};
use crate::report::Report;

pub(super) fn balance(section: &Upstream, report: &mut Report) -> Balance {
    let word = section.balance.value;
    let hashes = matches!(word, BalanceWord::Hash | BalanceWord::Maglev);
    match &section.hash {
        Given::Absent if hashes => {
            let message = "nothing says what requests are hashed by";
            let help = "add for example `hash = \"path\"` or `hash = \"header:x-tenant\"`; for the \
                        client's address write `balance = \"ip-hash\"`";
            report.missing(section.balance.span, message, Some(help.to_owned()));
        }
        Given::Value(at) if !hashes => {
            let (message, help) = match (word, section.balance.given) {
                (BalanceWord::IpHash, _) => (
                    "`balance = \"ip-hash\"` hashes by the client's address alone".to_owned(),
                    "write `balance = \"hash\"`, or take `hash` away",
                ),
                (_, true) => (
                    format!("nothing is hashed with `balance = \"{}\"`", spelled(word)),
                    "write `balance = \"hash\"` or `balance = \"maglev\"`, or take `hash` away",
                ),
                (_, false) => (
                    "nothing is hashed without `balance`".to_owned(),
                    "add `balance = \"hash\"`, or `balance = \"maglev\"`",
                ),
            };
            report.error(at.span, message, Some(help.to_owned()));
        }
        Given::Value(at) if word == BalanceWord::Maglev && at.value.load.given => {
            let help = "take `load` away, or write `balance = \"hash\"`, which bounds the load";
            let message = "`balance = \"maglev\"` does not bound the load of a server";
            report.error(at.value.load.span, message, Some(help.to_owned()));
        }
        Given::Absent | Given::Unreadable | Given::Value(_) => {}
    }
    let by = || match section.hash.value() {
        Some(at) => HashBy { key: at.value.by.value.clone(), bound: at.value.load.value },
        // That there is none has been reported.
        None => HashBy { key: HashKey::Path, bound: 1250 },
    };
    match word {
        BalanceWord::RoundRobin => Balance::RoundRobin,
        BalanceWord::Random => Balance::Random,
        BalanceWord::LeastConnections => Balance::LeastConnections,
        BalanceWord::TwoChoices => Balance::TwoChoices,
        BalanceWord::LeastLatency => Balance::LeastLatency,
        BalanceWord::IpHash => Balance::IpHash,
        BalanceWord::Hash => Balance::Hash(by()),
        BalanceWord::Maglev => Balance::Maglev(by()),
    }
}

pub(super) fn sticky(section: &Upstream, report: &mut Report) -> Option<Sticky> {
    let at: &At<StickyEntry> = section.sticky.value()?;
    let word = section.balance.value;
    if matches!(word, BalanceWord::IpHash | BalanceWord::Hash | BalanceWord::Maglev) {
        let message = format!("the cookie comes before `balance = \"{}\"`", spelled(word));
        let help = "only a client's first request is hashed, and later ones stay on that server; \
                    take one of the two away unless this is meant";
        report.warning(at.span, message, Some(help.to_owned()));
    }
    Some(Sticky {
        cookie: at.value.cookie.value.clone(),
        secret: at.value.secret.value().map(|at| at.value.clone()),
        max_age: at.value.max_age.value().map(|at| at.value),
    })
}

fn spelled(word: BalanceWord) -> &'static str {
    match word {
        BalanceWord::RoundRobin => "round-robin",
        BalanceWord::Random => "random",
        BalanceWord::LeastConnections => "least-connections",
        BalanceWord::TwoChoices => "two-choices",
        BalanceWord::LeastLatency => "least-latency",
        BalanceWord::IpHash => "ip-hash",
        BalanceWord::Hash => "hash",
        BalanceWord::Maglev => "maglev",
    }
}
