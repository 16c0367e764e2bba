//! Reports of Seawall: the clicks that it answered from its cache, or let through and counts itself.
//!
//! A report is a batch of events, a JSON object a line, under a number that is the same when it is
//! sent again. It is counted in one transaction with the number before it is answered; with NATS,
//! the stream has it by then.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde::Deserialize;

use super::event::{Click, Origin, near_or};
use super::jetstream::{Stream, messages};
use super::tally::{Part, Tally};
use super::{Clicks, REMEMBERED};
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
    path: Cow<'a, str>,
    status: u16,
    #[serde(default, borrow)]
    referrer: Cow<'a, str>,
    #[serde(default, borrow)]
    agent: Cow<'a, str>,
    #[serde(default)]
    dnt: bool,
}

impl Clicks {
    /// Counts the clicks of a report, or sends them to the stream. `batch` is its number.
    ///
    /// # Errors
    /// As the store; trying again with the same number is safe.
    pub async fn report(&self, batch: &str, body: &[u8]) -> Result<(), StoreError> {
        let (now, mut clicks, mut unreadable) = (system_clock(), Vec::new(), 0);
        for line in body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            match serde_json::from_slice::<Event<'_>>(line) {
                Ok(event) => clicks.extend(self.reported(&event, now)),
                Err(_) => unreadable += 1,
            }
        }
        let (id, count) = (format!("report:{batch}"), clicks.len() as u64);
        let is_new = match self.stream() {
            Some(stream) => self.pass_on(stream, &id, clicks).await?,
            None => self.count_now(&id, clicks).await?,
        };
        if is_new {
            self.counts.reported.fetch_add(count, Relaxed);
            self.counts.unreadable.fetch_add(unreadable, Relaxed);
        } else {
            self.counts.repeated.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    /// True: it had not been brought before.
    async fn count_now(&self, id: &str, clicks: Vec<Click>) -> Result<bool, StoreError> {
        let mut tally = Tally::default();
        clicks.iter().cloned().for_each(|click| tally.add(click));
        let until = system_clock().saturating_add(REMEMBERED);
        let part = Part { id: id.into(), until, settled: None, tally };
        let new = self.store.count(Arc::new([part]), self.keep).await?;
        let is_new = new.contains(&true);
        if is_new {
            self.counts.stored.fetch_add(clicks.len() as u64, Relaxed);
            clicks.iter().for_each(|click| self.live.tell(click));
        }
        Ok(is_new)
    }

    /// To the stream; what it does not take is counted without it. The messages are the same when
    /// the report is brought again, and so are their numbers. True: some were new.
    async fn pass_on(
        &self,
        stream: &Stream,
        id: &str,
        clicks: Vec<Click>,
    ) -> Result<bool, StoreError> {
        let mut is_new = clicks.is_empty();
        for message in messages(id, clicks) {
            is_new |= match stream.send(&message).await {
                Ok(is_new) => is_new,
                Err(_) => self.count_message(&message).await?,
            };
        }
        Ok(is_new)
    }

    /// The click that an event is, if it is one.
    fn reported(&self, event: &Event<'_>, now: Millis) -> Option<Click> {
        // A password is posted, and answered with 303.
        let is_click = match event.method {
            "GET" => matches!(event.status, 301 | 302 | 303 | 307 | 308),
            "POST" => event.status == 303,
            _ => false,
        };
        let path = event.path.split('?').next().unwrap_or_default();
        let code = Code::new(serve::code(path).filter(|_| is_click)?).ok()?;
        let at = near_or(event.time, now);
        // Without an address, it is a click all the same, of somebody who is not known.
        let client: Option<IpAddr> = event.client.parse().ok();
        let origin = Origin {
            referrer: event.referrer.as_bytes(),
            agent: event.agent.as_bytes(),
            is_private: event.dnt || client.is_none(),
        };
        let client = client.unwrap_or(IpAddr::from([0, 0, 0, 0]));
        Some(self.click(code, at, client, origin))
    }
}
