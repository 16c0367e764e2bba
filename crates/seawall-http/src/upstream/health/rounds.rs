//! The checks of one server, one after another: when the next is due, what it means, and who is
//! told. What counts up to a verdict is in `seawall_core::health`; how a server is asked is in
//! `probe.rs`.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use seawall_config::plan::HealthCheck;
use seawall_core::health::{self, Health, Settings, Verdict};
use seawall_core::random::Random;
use seawall_telemetry::metrics::CheckOutcome;
use tokio::time::{Instant, sleep_until};

use super::probe::{self, Finding, Question};
use super::report::{CheckReport, LastCheck};
use super::{Post, Setting};

/// Checks the server as the plan in place wants it. Ends when the checks of the upstream do.
pub(super) async fn run(post: &Post) {
    let mut settings = post.setting.clone();
    let mut rounds: Option<Rounds<'_>> = None;
    loop {
        let setting = settings.borrow_and_update().clone();
        match (setting.check.clone(), &rounds) {
            (None, _) => {
                rounds = None;
                forget(post);
            }
            (Some(check), Some(rounds)) if *check == *rounds.check => {}
            (Some(check), _) => {
                drop(rounds.take());
                rounds = Some(Rounds::begin(post, check));
            }
        }
        let changed = match &mut rounds {
            None => settings.changed().await,
            Some(rounds) => tokio::select! {
                changed = settings.changed() => changed,
                () = rounds.go_on(&setting) => return,
            },
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Nobody asks any more, so nothing is known.
fn forget(post: &Post) {
    let Post { server, upstream, control, .. } = post;
    server.notes.set_report(None);
    if server.failing.swap(false, Relaxed) {
        server.since.store(control.millis(), Relaxed);
        post.standing_changed();
        tracing::info!(
            upstream = %upstream.name,
            server = server.label,
            "server is no longer checked, so it is used again"
        );
    }
}

/// One check of one server, again and again.
struct Rounds<'a> {
    post: &'a Post,
    check: Arc<HealthCheck>,
    health: Health,
    /// Checks in a row that ended as the last did.
    streak: u32,
    last_was_good: bool,
    random: Random,
}

impl Drop for Rounds<'_> {
    /// The server is gone, or is not checked any more.
    fn drop(&mut self) {
        self.post.server.notes.cells.of(0).unchecked();
    }
}

impl<'a> Rounds<'a> {
    /// What is held against the server by a check before this one, or was when the server was last
    /// here, is so until this check has decided.
    fn begin(post: &'a Post, check: Arc<HealthCheck>) -> Rounds<'a> {
        let up = !post.server.failing.load(Relaxed);
        let health = Health::taken_over(settings(&check), up);
        post.server.notes.cells.of(0).checked(health.is_up());
        Rounds { post, check, health, streak: 0, last_was_good: true, random: post.random() }
    }

    /// Checks for as long as it is polled.
    async fn go_on(&mut self, setting: &Setting) {
        loop {
            self.wait().await;
            let notes = &self.post.server.notes;
            // What is noticed from here on is not in the answer for sure, and asks for another.
            notes.suspect.store(false, Relaxed);
            notes.regained.store(false, Relaxed);
            let Ok(_open) = self.post.control.gate.acquire().await else { return };
            let question = Question {
                server: self.post.server.address,
                check: self.check.clone(),
                limits: setting.limits(),
                proxy_protocol: setting.proxy_protocol,
            };
            let (at, begun) = (SystemTime::now(), Instant::now());
            let finding = (self.post.control.ask)(question).await;
            self.take(finding, at, begun);
        }
    }

    /// Until the next check is due, or there is a reason to have it at once.
    async fn wait(&mut self) {
        let notes = &self.post.server.notes;
        let mut due = Instant::now() + self.health.next_delay(&mut self.random);
        loop {
            if notes.suspect.load(Relaxed) && self.health.suspect() {
                due = due.min(Instant::now() + self.health.next_delay(&mut self.random));
            }
            if notes.regained.load(Relaxed) && !self.health.is_up() {
                return;
            }
            tokio::select! {
                () = sleep_until(due) => return,
                () = notes.alarm.notified() => {}
            }
        }
    }

    fn take(&mut self, finding: Finding, at: SystemTime, begun: Instant) {
        let Post { server, .. } = self.post;
        let cells = server.notes.cells.of(0);
        cells.count(finding.outcome);
        let good = match finding.outcome {
            CheckOutcome::Good => true,
            CheckOutcome::Connect | CheckOutcome::Timeout | CheckOutcome::Answer => false,
            // The server was not asked, so nothing is known that was not before.
            CheckOutcome::Skipped => return,
        };
        if probe::target(server.address, &self.check) == server.address {
            self.post.note_connection(match finding.connected {
                true => Ok(()),
                false => Err(&finding.reason),
            });
            // That was this check itself, which need not be asked again.
            server.notes.regained.store(false, Relaxed);
        }
        self.streak = if good == self.last_was_good { self.streak.saturating_add(1) } else { 1 };
        self.last_was_good = good;
        let verdict = self.health.checked(good);
        cells.checked(self.health.is_up());
        if let Some(verdict) = verdict {
            self.tell(verdict, &finding.reason);
        }
        server.notes.set_report(Some(CheckReport {
            good: self.health.is_up(),
            decided: self.health.is_decided(),
            streak: self.streak,
            last: LastCheck {
                at,
                took: begun.elapsed(),
                good,
                reason: finding.reason,
                parts: finding.parts,
            },
        }));
    }

    fn tell(&self, verdict: Verdict, reason: &str) {
        let Post { server, upstream, control, .. } = self.post;
        match verdict {
            Verdict::Down(checks) => {
                server.failing.store(true, Relaxed);
                tracing::warn!(
                    upstream = %upstream.name,
                    server = server.label,
                    checks,
                    reason,
                    "server fails its checks and is not used"
                );
            }
            Verdict::Up(checks) => {
                server.since.store(control.millis(), Relaxed);
                server.recovered.store(true, Relaxed);
                server.failing.store(false, Relaxed);
                tracing::info!(
                    upstream = %upstream.name,
                    server = server.label,
                    checks,
                    reason,
                    "server passes its checks again and is used"
                );
            }
        }
        self.post.standing_changed();
    }
}

fn settings(check: &HealthCheck) -> Settings {
    Settings {
        every: check.every,
        fast: health::fast(check.every),
        rise: check.rise,
        fall: check.fall,
    }
}
