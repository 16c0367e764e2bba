//! Reports of Seawall: the clicks that it answered from its cache, or let through and counts itself.
//!
//! A report is a batch of events, a JSON object a line, under a number that is the same when it is
//! sent again. It is counted in one transaction with the number, before it is answered.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde::Deserialize;

use super::event::Origin;
use super::tally::{Part, Tally};
use super::{BEFORE, BEHIND, Clicks, REMEMBERED};
use crate::link::{Code, Millis};
use crate::serve;
use crate::store::{StoreError, system_clock};

/// One answer that Seawall gave to a client. What else it says is not needed here.
#[derive(Debug, Deserialize)]
struct Event<'a> {
    time: Millis,
    client: &'a str,
    method: &'a str,
    #[serde(borrow)]
    path: std::borrow::Cow<'a, str>,
    status: u16,
    #[serde(default, borrow)]
    referrer: std::borrow::Cow<'a, str>,
    #[serde(default, borrow)]
    agent: std::borrow::Cow<'a, str>,
    #[serde(default)]
    dnt: bool,
}

/// What came of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Clicks that it has.
    pub clicks: u64,
    /// It had not been brought before.
    pub is_new: bool,
}

impl Clicks {
    /// Counts the clicks of a report. `batch` is its number.
    ///
    /// # Errors
    /// As the store; trying again with the same number is safe.
    pub async fn report(&self, batch: &str, body: &[u8]) -> Result<Taken, StoreError> {
        let (now, mut tally, mut unreadable) = (system_clock(), Tally::default(), 0);
        for line in body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            match serde_json::from_slice::<Event<'_>>(line) {
                Ok(event) => self.add(&event, now, &mut tally),
                Err(_) => unreadable += 1,
            }
        }
        let clicks = tally.clicks();
        let part = Part {
            id: format!("report:{batch}").into(),
            until: now.saturating_add(REMEMBERED),
            settled: None,
            tally,
        };
        let new = self.store.count(Arc::new([part]), self.keep).await?;
        let is_new = new.contains(&true);
        if is_new {
            self.counts.reported.fetch_add(clicks, Relaxed);
            self.counts.stored.fetch_add(clicks, Relaxed);
            self.counts.unreadable.fetch_add(unreadable, Relaxed);
        } else {
            self.counts.repeated.fetch_add(1, Relaxed);
        }
        Ok(Taken { clicks, is_new })
    }

    fn add(&self, event: &Event<'_>, now: Millis, tally: &mut Tally) {
        // A password is posted, and answered with 303.
        let is_click = match event.method {
            "GET" => matches!(event.status, 301 | 302 | 303 | 307 | 308),
            "POST" => event.status == 303,
            _ => false,
        };
        let path = event.path.split('?').next().unwrap_or_default();
        let code = serve::code(path).and_then(|code| Code::new(code).ok());
        let (Some(code), true) = (code, is_click) else { return };
        let is_near = (now - BEHIND..=now + BEFORE).contains(&event.time);
        let at = if is_near { event.time } else { now };
        // Without an address, it is a click all the same, of somebody who is not known.
        let client: Option<IpAddr> = event.client.parse().ok();
        let origin = Origin {
            referrer: event.referrer.as_bytes(),
            agent: event.agent.as_bytes(),
            is_private: event.dnt || client.is_none(),
        };
        let client = client.unwrap_or(IpAddr::from([0, 0, 0, 0]));
        tally.add(self.click(code, at, client, origin));
    }
}
