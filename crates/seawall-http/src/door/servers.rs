//! What can be told to the door about the servers of its upstreams while it runs: other servers,
//! from a watched file or an operator, and which of them are to be used.
//!
//! No connection is touched: requests in flight end where they are. Each change is one event in
//! the log. Called by the binary, for the admin API and for files that change.

use std::net::SocketAddr;
use std::sync::Arc;

use seawall_config::plan::ServerSpec;
use thiserror::Error;

use super::Door;
use super::status::{Change, Order, ServerStatus, Standing};
use crate::upstream::Upstream;
use crate::upstream::sources::Question;

/// Why servers cannot be changed. Nothing has changed then.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ChangeError {
    /// There is no such upstream.
    #[error("there is no upstream `{name}`")]
    UnknownUpstream {
        /// What was asked for.
        name: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// The upstream has no such server.
    #[error("the upstream `{upstream}` has no server `{server}`")]
    UnknownServer {
        /// The upstream.
        upstream: String,
        /// What was asked for.
        server: String,
        /// Those it has.
        known: Vec<String>,
    },
    /// There are no servers but those of the admin API.
    #[error(
        "the upstream `{0}` has no servers but these: neither the configuration nor a file names any"
    )]
    NothingElse(String),
    /// Names cannot be resolved at all.
    #[error("{0}")]
    Resolver(String),
    /// Orders for more servers than they are kept for.
    #[error(
        "too many servers of the upstream `{0}` are drained or disabled; take some back into use"
    )]
    TooManyOrders(String),
}

/// What an order has come to.
#[derive(Debug, Clone, PartialEq)]
pub struct Ordered {
    /// The server; `None` when it has gone, and the order that was kept for it is taken back.
    pub server: Option<ServerStatus>,
    /// Servers of the upstream that are well and in use, this one included.
    pub ready: usize,
    /// Servers that no order keeps out, whatever is known against them.
    pub usable: usize,
}

impl Door {
    /// Puts servers in place of those of the configuration and of the watched file, until
    /// [`Door::reset_servers`] or the end of the process. Names among them are looked up first, for
    /// at most two seconds.
    ///
    /// # Errors
    ///
    /// When there is no such upstream, or names cannot be resolved at all.
    pub async fn replace_servers(
        &mut self,
        name: &str,
        servers: &[ServerSpec],
    ) -> Result<Change, ChangeError> {
        let upstream = self.find(name)?;
        self.look_up(&upstream, servers).await?;
        let change = upstream.set_replaced(Some(servers), self.clock(), &self.metrics);
        self.done(&upstream, &change, "api").await;
        Ok(change)
    }

    /// Puts the servers of the configuration and of the watched file in place again.
    ///
    /// # Errors
    ///
    /// When there is no such upstream, or there are no such servers.
    pub async fn reset_servers(&mut self, name: &str) -> Result<Change, ChangeError> {
        let upstream = self.find(name)?;
        let own = upstream.own();
        if own.is_empty() {
            return Err(ChangeError::NothingElse(name.to_owned()));
        }
        self.look_up(&upstream, &own).await?;
        let change = upstream.set_replaced(None, self.clock(), &self.metrics);
        self.done(&upstream, &change, "api").await;
        Ok(change)
    }

    /// Takes over the servers of an upstream's file, which has changed. They come on top of those
    /// of the configuration, and are not used while the admin API has put others in place.
    ///
    /// # Errors
    ///
    /// When there is no such upstream, or names cannot be resolved at all.
    pub async fn set_file_servers(
        &mut self,
        name: &str,
        servers: &[ServerSpec],
    ) -> Result<Change, ChangeError> {
        let upstream = self.find(name)?;
        if !upstream.is_replaced() {
            self.look_up(&upstream, servers).await?;
        }
        let change = upstream.set_file(servers, self.clock(), &self.metrics);
        self.done(&upstream, &change, "file").await;
        Ok(change)
    }

    /// Says whether a server is to be used. Kept through reloads, and for a server that goes and
    /// returns.
    ///
    /// # Errors
    ///
    /// When there is no such upstream or server, or there are too many orders.
    pub fn order(
        &mut self,
        name: &str,
        server: &str,
        order: Order,
    ) -> Result<Ordered, ChangeError> {
        let upstream = self.find(name)?;
        let given = server.parse::<SocketAddr>().ok();
        match given.and_then(|address| upstream.order(address, order, self.clock())) {
            Some(true) => {}
            Some(false) => return Err(ChangeError::TooManyOrders(name.to_owned())),
            None => {
                let endpoints = upstream.endpoints();
                let known = endpoints.iter().map(|endpoint| endpoint.server.label.clone());
                return Err(ChangeError::UnknownServer {
                    upstream: name.to_owned(),
                    server: server.to_owned(),
                    known: known.collect(),
                });
            }
        }
        tracing::info!(upstream = name, server, order = order.word(), "an operator gave an order");
        let servers = self.upstream(name).map(|status| status.servers).unwrap_or_default();
        let count =
            |usable: fn(&ServerStatus) -> bool| servers.iter().filter(|s| usable(s)).count();
        Ok(Ordered {
            ready: count(|server| server.standing == Standing::Ready),
            usable: count(|server| server.order == Order::Use),
            server: servers.into_iter().find(|status| given == Some(status.address)),
        })
    }

    /// Whether there is an upstream of this name.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn knows(&self, name: &str) -> Result<(), ChangeError> {
        self.find(name).map(|_| ())
    }

    fn find(&self, name: &str) -> Result<Arc<Upstream>, ChangeError> {
        self.upstreams.get(name).cloned().ok_or_else(|| ChangeError::UnknownUpstream {
            name: name.to_owned(),
            known: self.plan.upstreams.iter().map(|config| config.name.to_string()).collect(),
        })
    }

    /// Looks up what `upstream` needs for these servers too, before they are put in place.
    async fn look_up(
        &mut self,
        upstream: &Arc<Upstream>,
        servers: &[ServerSpec],
    ) -> Result<(), ChangeError> {
        let more: Vec<_> = servers.iter().filter_map(|spec| Question::of(&spec.address)).collect();
        if more.is_empty() {
            return Ok(());
        }
        if !self.names.can_ask() {
            self.names.ask(self.plan.server.resolver).map_err(ChangeError::Resolver)?;
        }
        let mut needs = self.needs();
        needs.push((upstream.clone(), more));
        self.names.follow(needs, false).await;
        Ok(())
    }

    /// Ends the look-ups that nobody needs after a change, and tells the log.
    async fn done(&mut self, upstream: &Upstream, change: &Change, because: &str) {
        let needs = self.needs();
        self.names.follow(needs, false).await;
        change.log(&upstream.name, because);
    }

    fn needs(&self) -> Vec<(Arc<Upstream>, Vec<Question>)> {
        let need = |upstream: &Arc<Upstream>| (upstream.clone(), upstream.questions());
        self.upstreams.values().map(need).collect()
    }
}
