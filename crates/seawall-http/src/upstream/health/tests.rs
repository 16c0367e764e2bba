use seawall_config::plan::Probe;
use seawall_testkit::PATIENCE;

use super::*;

/// A check that asks for `probe`, patiently.
pub(super) fn check(probe: Probe) -> HealthCheck {
    let every = Duration::from_secs(2);
    HealthCheck { probe, every, timeout: PATIENCE, rise: 2, fall: 3, port: None }
}

/// What one such check finds.
pub(super) async fn found(server: SocketAddr, check: HealthCheck) -> Finding {
    let limits = HeadLimits { bytes: 32 << 10, headers: 100 };
    probe::ask(Question { server, check: Arc::new(check), limits }).await
}
