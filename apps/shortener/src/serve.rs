//! The server: from the listener to whoever answers, and its end.
//!
//! Short links are nearly all of the requests, so they go straight to `redirect.rs`; everything
//! else goes to axum's router. HTTP/1.1 only: TLS and later versions are for what stands in front.
//! It ends on SIGTERM or SIGINT: it says so to who asks `/readyz`, for as long as `drain-delay`
//! wants while nothing else changes, then it stops accepting, lets requests that are there end, and writes
//! down what is still in memory. Called by `cli/serve.rs`.

mod content;
mod descriptors;
mod peer;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tower_service::Service;
use tracing::{debug, info, warn};

use crate::api::{self, Api};
use crate::caches::Caches;
use crate::clicks::Clicks;
use crate::config::Config;
use crate::edge::Edge;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::redirect::tries::Tries;
use crate::refusal::Refusal;
use crate::seldom::Seldom;
use crate::store::Store;
use crate::target::RESERVED;
use crate::{health, metrics, redirect, web};

pub use self::content::Content;
pub use self::peer::Peer;

/// Connections of clients at once, if there are descriptors for so many; more wait in the backlog of
/// the listener.
const MOST_CONNECTIONS: usize = 50_000;

/// Connections that wait to be accepted, if the system lets so many: a cache in front opens as many
/// at once as it has requests for a link that it may not keep.
const BACKLOG: u32 = 16_384;

/// How long a client may take nothing of an answer. The system ends its connection then.
const STALL: Duration = Duration::from_secs(60);

/// How long a connection may take for the head of a request, and how long it may be idle. Longer
/// than proxies keep idle connections, so that they end them and no request meets an end.
const HEAD: Duration = Duration::from_secs(90);

/// How long requests may take to end once the process drains.
const DRAIN: Duration = Duration::from_secs(20);

/// What answers requests.
pub struct App {
    /// The configuration.
    pub config: Config,
    /// What short links begin with, without a slash at its end.
    pub url: String,
    /// The database.
    pub store: Store,
    /// What is kept of links outside of it.
    pub caches: Caches,
    /// How long caches in front may keep answers.
    pub edge: Edge,
    /// What `/readyz` found last.
    pub health: Health,
    /// What counts clicks.
    pub clicks: Arc<Clicks>,
    /// Who tries passwords.
    pub tries: Tries,
    /// What is counted.
    pub metrics: Metrics,
    /// Becomes true when the process is asked to end.
    pub leaving: watch::Receiver<bool>,
    /// Becomes true when the process drains.
    pub drain: watch::Receiver<bool>,
}

/// Listens on an address, or on the first of those of a name that can be had.
///
/// # Errors
/// When none can be had.
pub async fn listen(address: &str) -> std::io::Result<TcpListener> {
    let mut last = None;
    for address in lookup_host(address).await? {
        let opened = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let listener = opened.and_then(|socket| {
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)
        });
        match listener {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| std::io::Error::other("the name has no address")))
}

/// Serves until the process drains and all requests have ended, or have had their time.
pub async fn serve(app: Arc<App>, api: Arc<Api>, listener: TcpListener) {
    let router = router(app.clone(), api);
    let places = Arc::new(Semaphore::new(descriptors::for_clients(MOST_CONNECTIONS)));
    descriptors::end_stalled(&listener, STALL);
    // Nothing is sent: it is over when all connections have dropped their end.
    let (open, mut all_ended) = mpsc::channel::<Infallible>(1);
    let mut drain = app.drain.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = drain.wait_for(|drain| *drain) => break,
            accepted = async {
                // The semaphore is never closed.
                let place = places.clone().acquire_owned().await.ok();
                listener.accept().await.map(|(stream, peer)| (stream, peer, place))
            } => accepted,
        };
        match accepted {
            Ok((stream, peer, place)) => {
                let (app, router, open) = (app.clone(), router.clone(), open.clone());
                tokio::spawn(async move {
                    app.metrics.connections.fetch_add(1, Relaxed);
                    connection(&app, router, stream, peer.ip()).await;
                    app.metrics.connections.fetch_sub(1, Relaxed);
                    drop((place, open));
                });
            }
            // Of one connection, or for want of descriptors, which others give back.
            Err(error) => {
                static LOG: Seldom = Seldom::new();
                match LOG.may() {
                    Some(before) => warn!(%error, before, "connections are not accepted"),
                    None => debug!(%error, "a connection was not accepted"),
                }
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
    drop((listener, open));
    if timeout(DRAIN, all_ended.recv()).await.is_err() {
        let left = app.metrics.connections.load(Relaxed);
        warn!(connections = left, "requests did not end within {DRAIN:?}");
    }
}

/// What is not a short link.
fn router(app: Arc<App>, api: Arc<Api>) -> Router {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::show))
        .fallback(async || Refusal::Missing.page())
        .with_state(app)
        .merge(api::router(api))
        .merge(web::router())
}

/// One connection, up to its end, or the end of the request that it is in when the process drains.
async fn connection(app: &Arc<App>, router: Router, stream: TcpStream, peer: IpAddr) {
    // Answers are one write; without it the last of two would wait for the client.
    stream.set_nodelay(true).ok();
    let answer = service_fn(|request| {
        let (app, router) = (app, &router);
        async move { Ok::<_, Infallible>(answer(app, router, peer, request).await) }
    });
    // Without `pipeline_flush`, by which answers gather in memory for as long as there are requests,
    // whether or not the client takes any.
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), answer);
    let mut served = pin!(served);
    let (mut drain, hint) = (app.drain.clone(), app.drain.clone());
    let mut draining = pin!(async move { drain.wait_for(|drain| *drain).await.map(drop) });
    let mut is_watched = false;
    let is_draining = poll_fn(|cx| {
        // Watched from the first poll on; after that only looked at when there is something to
        // see, since a look costs more than all else here.
        if (!is_watched || hint.has_changed().unwrap_or(true))
            && draining.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(true);
        }
        is_watched = true;
        // Clients that break off are their own concern.
        served.as_mut().poll(cx).map(|_| false)
    });
    if !is_draining.await {
        return;
    }
    served.as_mut().graceful_shutdown();
    served.await.ok();
}

/// Dropped when the client leaves: what others wait for is then done by one of them.
async fn answer(
    app: &Arc<App>,
    router: &Router,
    peer: IpAddr,
    request: Request<Incoming>,
) -> Response<Content> {
    if code(request.uri().path()).is_some() {
        return redirect::answer(app, peer, request).await;
    }
    match router.clone().call(request.map(Body::new)).await {
        Ok(response) => response.map(Content::Axum),
        Err(never) => match never {},
    }
}

/// The code of a path that is one segment and no word of the server's own. A slash behind it, which
/// people and programs add, changes nothing.
pub fn code(path: &str) -> Option<&str> {
    let code = path.strip_prefix('/')?;
    let code = code.strip_suffix('/').unwrap_or(code);
    if code.is_empty() || code.contains(['/', '.']) {
        return None;
    }
    let is_reserved = RESERVED
        .binary_search_by(|word| {
            word.bytes().cmp(code.bytes().map(|byte| byte.to_ascii_lowercase()))
        })
        .is_ok();
    (!is_reserved).then_some(code)
}

/// How a process ends.
#[derive(Debug, Clone)]
pub struct Ending {
    /// Becomes true when somebody asks it to.
    pub leaving: watch::Receiver<bool>,
    /// Becomes true when it is to take no more.
    pub drain: watch::Receiver<bool>,
}

/// Waits until somebody asks the process to end, and then for so long until it drains; a second
/// time ends it at once.
///
/// # Errors
/// When signals cannot be had.
pub fn end_on_signals(delay: Duration) -> std::io::Result<Ending> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    // A limit on the size of files is an error of whoever writes, and not the end.
    drop(signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?);
    let (leave, leaving) = watch::channel(false);
    let (drain, draining) = watch::channel(false);
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
        };
        next().await;
        leave.send_replace(true);
        let ends = async {
            if !delay.is_zero() {
                info!(?delay, "leaving");
                sleep(delay).await;
            }
            info!("draining");
            drain.send_replace(true);
            std::future::pending().await
        };
        tokio::select! {
            () = ends => {}
            () = next() => {}
        }
        warn!("ended by a second signal");
        std::process::exit(1);
    });
    Ok(Ending { leaving, drain: draining })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_from_the_servers_own_paths() {
        for (path, expect) in [
            ("/abc", Some("abc")),
            ("/a-b_C", Some("a-b_C")),
            ("/", None),
            ("", None),
            ("*", None),
            ("/api", None),
            ("/API", None),
            ("/apis", Some("apis")),
            ("/healthz", None),
            ("/robots.txt", None),
            ("/api/v1/links", None),
            ("/abc/", Some("abc")),
            ("/abc//", None),
            ("/abc/d", None),
            ("//", None),
            ("/api/", None),
            ("/%61", Some("%61")),
        ] {
            assert_eq!(code(path), expect, "{path}");
        }
    }
}
