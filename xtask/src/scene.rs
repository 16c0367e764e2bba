//! What the shows have in common (`demo`, `tiers`): instances of the small application behind them,
//! being told to stop, and numbers as people read them.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use seawall_testkit::Process;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Starts an instance of the small application, and says where it listens.
///
/// # Errors
/// When it does not start.
pub(crate) fn hello(
    binary: &Path,
    name: &str,
    listen: SocketAddr,
) -> anyhow::Result<(Process, SocketAddr)> {
    let mut command = Command::new(binary);
    command.args(["--listen", &listen.to_string(), "--name", name]);
    let process = Process::spawn_apart(command)?;
    let address =
        process.wait_for_line(|line| line.text.strip_prefix("listening on ")?.parse().ok())?;
    Ok((process, address))
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The show was asked to end.
#[derive(Debug)]
pub(crate) struct Stopped;

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("stopped")
    }
}

impl std::error::Error for Stopped {}

/// Whether a signal asked the show to end.
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From here on Ctrl-C reaches only this process, which then ends those that it started.
    pub(crate) fn watch() -> anyhow::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, flag.clone())
                .context("cannot watch for signals")?;
        }
        Ok(Self(flag))
    }

    /// Whether it was.
    pub(crate) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Passes the time, and fails with [`Stopped`] when it is cut short.
    pub(crate) fn sleep(&self, time: Duration) -> anyhow::Result<()> {
        let start = Instant::now();
        while start.elapsed() < time {
            if self.is_asked() {
                bail!(Stopped);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, expect) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")]
        {
            assert_eq!(grouped(number), expect);
        }
    }
}
