//! The life of the process: start, signals, reloads, drain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Context;
use seawall_admin::Admin;
use seawall_cache::freshness::Unstorable;
use seawall_config::Loaded;
use seawall_http::door::cache::CacheHandle;
use seawall_http::{Door, door};
use seawall_telemetry::{AccessLog, Metrics};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::lists::{self, Lists};
use crate::reload::{Reloader, destination};
use crate::source::Source;
use crate::watch::Watch;
use crate::{change, limits};

/// How often what changes with time alone is looked after.
const TICK: Duration = Duration::from_millis(500);

/// Runs until a signal says stop and the exchanges in flight have ended.
pub(crate) fn run(source: &Source) -> anyhow::Result<()> {
    // Looked at first, so that no change after it is missed.
    let watched = source.watched();
    let Loaded { plan, warnings } = source.load()?;
    if !warnings.is_empty() {
        eprintln!("{}", warnings.render(false).trim_end());
    }
    if let Some(files) = limits::raise_open_files().filter(|files| *files < 10_000) {
        tracing::warn!(
            files,
            "few open files are allowed, and each connection is one; raise `ulimit -n`"
        );
    }
    let workers = plan.server.workers.map_or_else(
        || std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        std::num::NonZero::get,
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let unstorable = Unstorable::ALL.iter().map(|reason| reason.code()).collect();
        let metrics = Metrics::new(workers, door::refusal_codes()).with_unstorable(unstorable);
        let metrics = Arc::new(metrics);
        let access_log = destination(&plan.server.access_log)
            .map(|destination| {
                let begun = AccessLog::start(&destination);
                begun.with_context(|| format!("the access log cannot be opened at {destination}"))
            })
            .transpose()?;
        let server = plan.server.clone();
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut stop = Stop::new()?;
        let ready = Arc::new(AtomicBool::new(false));
        let (to_ask, mut asks) = mpsc::channel(16);
        metrics.log_to(access_log.clone());
        let page = {
            let metrics = metrics.clone();
            Arc::new(move || metrics.expose())
        };
        let cache = CacheHandle::default();
        let told = cache.clone();
        metrics.count_cache(move || told.usage());
        let admin = Admin {
            metrics: page,
            ready: ready.clone(),
            token: server.admin_token.clone(),
            cache: Some(crate::cache::api(&cache, &metrics)),
            asks: to_ask,
        };
        let admin = open_admin(server.admin, admin).await?;
        let read = lists::read(&plan);
        for (read, trouble) in read.iter().filter_map(|r| Some((r, r.servers.as_ref().err()?))) {
            change::warn(&read.upstream, &read.path.display().to_string(), trouble);
        }
        let files = lists::good(&read);
        let (log, counted) = (access_log.as_ref(), metrics.clone());
        let door = Door::open(plan, &files, counted, log, cache).await?;
        for (name, address) in door.addresses() {
            tracing::info!(%name, %address, "listening");
        }
        ready.store(true, Relaxed);
        tracing::info!(workers, version = env!("CARGO_PKG_VERSION"), "ready");
        let mut lists = Lists::default();
        let loaded = watched.as_ref().and_then(|file| file.content.clone().ok());
        let watch = Watch::start();
        watch.follow(watched.into_iter().chain(lists.replace(read, &metrics)).collect());
        let source = source.clone();
        let mut reloader =
            Reloader { source, door, metrics, server, access_log, lists, watch, loaded };
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = hang_up.recv() => {
                    reloader.reload().await;
                }
                Some(ask) = asks.recv() => reloader.answer(ask).await,
                change = reloader.watch.change() => reloader.file_changed(change).await,
                _ = ticks.tick() => reloader.door.tidy(),
                () = stop.recv() => break,
            }
        }
        ready.store(false, Relaxed);
        // Who asks from now on is told at once that nobody answers.
        drop(asks);
        let patience = reloader.server.drain;
        tracing::info!(?patience, "draining; another signal ends it at once");
        tokio::select! {
            () = reloader.door.close(patience) => {}
            () = stop.recv() => {
                tracing::warn!("ended at once");
                std::process::exit(1);
            }
        }
        if let Some(log) = &reloader.access_log {
            log.flush(Duration::from_secs(2));
        }
        drop(admin);
        tracing::info!("ended");
        Ok(())
    })
}

/// Opens the admin API, if it is wanted. It ends with the value given back.
async fn open_admin(
    address: Option<std::net::SocketAddr>,
    admin: Admin,
) -> anyhow::Result<Option<AbortOnDrop>> {
    let Some(address) = address else { return Ok(None) };
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("the admin API cannot listen on {address}"))?;
    tracing::info!(name = %"admin", address = %listener.local_addr()?, "listening");
    let task = tokio::spawn(async move {
        if let Err(error) = seawall_admin::serve(listener, admin).await {
            tracing::error!(%error, "the admin API has ended");
        }
    });
    Ok(Some(AbortOnDrop(task.abort_handle())))
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The signals that end the process: SIGTERM, or Ctrl-C.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> std::io::Result<Stop> {
        // A limit on the size of files is to be an error of whoever writes, and not the end.
        drop(signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?);
        let terminate = signal(SignalKind::terminate())?;
        Ok(Stop { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn recv(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
