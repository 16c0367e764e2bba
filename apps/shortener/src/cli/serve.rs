//! `snip serve`: puts the parts together, and takes them apart at the end.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tracing::info;

use crate::api::Api;
use crate::auth::Keys;
use crate::caches::Caches;
use crate::clicks::Clicks;
use crate::clicks::writer::Writer;
use crate::config::Config;
use crate::edge::{Edge, Purger};
use crate::health::Health;
use crate::links::Links;
use crate::metrics::Metrics;
use crate::redirect::tries::Tries;
use crate::resolve::{Resolver, follow};
use crate::serve::{App, Ending, end_on_signals, listen, serve};
use crate::store::{DatabaseConfig, Store};
use crate::target::Rules;

/// How long caches in front are told of changes at the end.
const LAST_PURGES: Duration = Duration::from_secs(2);

/// How long the last clicks may take to be written at the end.
const LAST_CLICKS: Duration = Duration::from_secs(10);

/// Serve short links, the API and the pages.
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// Configuration file [default: snip.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen, in place of what the file says; port 0 is any free one
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// `sqlite:FILE` or `postgres://…`, in place of what the file says; others on this machine can
    /// see a password in it
    #[arg(long, value_name = "URL")]
    database: Option<String>,
}

impl Serve {
    /// Serves until a signal ends it.
    ///
    /// # Errors
    /// When it cannot start.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        tracing_subscriber::fmt()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .init();
        let mut config = super::config(self.config.as_deref())?;
        config.listen = self.listen.unwrap_or(config.listen);
        config.database = self.database.unwrap_or(config.database);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("no threads can be had")?;
        runtime.block_on(run(config))?;
        // What still runs on threads for blocking work is of requests that were given up.
        runtime.shutdown_timeout(Duration::from_millis(100));
        Ok(ExitCode::SUCCESS)
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    let Ending { leaving, drain } =
        end_on_signals(config.drain_delay).context("signals cannot be had")?;
    let database = DatabaseConfig {
        replicas: config.replicas.clone(),
        pool: config.pool as usize,
        ..DatabaseConfig::new(&config.database)
    };
    let store = Store::open(&database).await.context("the database cannot be opened")?;
    let listener = listen(&config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    let address = listener.local_addr().context("the listener has no address")?;
    let url = config.url.clone().unwrap_or_else(|| format!("http://{address}"));

    let resolver = Resolver::new(store.clone(), &config.cache, config.redis.as_deref()).await?;
    let caches =
        Caches { resolver: Arc::new(resolver), purger: Arc::new(Purger::new(&config, &url)) };
    let following = follow(caches.clone(), config.edge.s_maxage, drain.clone()).await?;
    let following = tokio::spawn(following);

    let clicks = Clicks::open(&config, store.clone(), drain.clone()).await?;
    let writer = Writer::start(clicks.clone());

    let rules = Rules::load(&config, &url)?;
    let keys = Arc::new(Keys::new(store.clone()));
    let links = Links::new(store.clone(), caches.clone());
    let shared = (store.clone(), links, keys.clone(), clicks.clone());
    let api = Api::new(&config, &url, rules, shared).await?;

    let app = Arc::new(App {
        edge: Edge::new(&config),
        url,
        store,
        caches,
        health: Health::default(),
        clicks,
        tries: Tries::default(),
        metrics: Metrics::default(),
        leaving,
        drain,
        config,
    });
    if let Some(key) = keys.create_first().await? {
        println!("admin key: {key}");
        println!("it is shown this once; `snip key` and the API make others");
    }
    // For whoever started it; the log is on the other stream.
    println!("listening on {address}");
    info!(%address, url = app.url, name = app.config.name, "ready");

    serve(app.clone(), Arc::new(api), listener).await;
    // No more clicks come.
    writer.finish(LAST_CLICKS).await;
    following.await.ok();
    app.caches.purger.finish(LAST_PURGES).await;
    info!("ended");
    Ok(())
}
