//! What the API tells of the plan in place and of its upstreams, as JSON of its own.
//!
//! Never tells what may be a secret: tokens, the values of header fields and query parameters, the
//! edits of header fields. Made by the binary, which has the doors, and sent by [`crate::serve`].

mod cache;
mod rules;
mod upstream;

use std::net::SocketAddr;

use seawall_config::plan::{self, HostPattern, Part, PathPattern, Template, Variable};
use serde::Serialize;

pub use cache::{
    CacheDisk, CacheKey, CacheRoute, CacheState, CacheStore, CacheTag, CacheTier, CacheTop,
    Explained, Failure, Purged, Pushed, Step, Warming,
};
pub use rules::{CacheKeyRules, CacheRules, ConfiguredStore};
pub use upstream::{
    Breaker, Budget, Changed, Check, Deep, DeepCheck, Departed, File, Name, Ordered, Queue, Server,
    Upstream,
};

/// The plan in place, in short.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// How many configurations have been put in place since the start.
    pub generation: u64,
    /// Its listeners.
    pub listeners: Vec<Listener>,
    /// Its upstreams with the servers as configured.
    pub upstreams: Vec<Configured>,
    /// The store of the cache; `None` when no route has one.
    pub cache: Option<ConfiguredStore>,
    /// Its routes; the first that matches wins.
    pub routes: Vec<Route>,
}

/// A listener.
#[derive(Debug, Clone, Serialize)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// The address in the file.
    pub configured: SocketAddr,
    /// The address it has: another one only when port 0 was asked for.
    pub actual: Option<SocketAddr>,
    /// Limits on its clients.
    pub limits: Limits,
}

/// Limits on clients, as in `[listen.NAME] limits`.
#[derive(Debug, Clone, Serialize)]
pub struct Limits {
    /// Bytes of a request line and its header fields.
    pub head: usize,
    /// Header fields in a request.
    pub headers: usize,
    /// Bytes of a request body.
    pub body: u64,
    /// Open connections.
    pub connections: usize,
    /// Open connections from one client address; `None` means no limit.
    pub connections_per_client: Option<usize>,
    /// Fewest bytes of a body that must move within the timeout for it.
    pub progress: u64,
}

/// An upstream as it is configured.
#[derive(Debug, Clone, Serialize)]
pub struct Configured {
    /// Its name.
    pub name: String,
    /// How a server is chosen, as it is written in the file.
    pub balance: &'static str,
    /// Its servers.
    pub servers: Vec<ConfiguredServer>,
    /// The file with more of its servers.
    pub servers_file: Option<String>,
}

/// A server as it is configured.
#[derive(Debug, Clone, Serialize)]
pub struct ConfiguredServer {
    /// An address or a name, with the port.
    pub address: String,
    /// Its share of the requests relative to the others.
    pub weight: u32,
    /// The zone it is in.
    pub zone: Option<String>,
    /// 0 is used first.
    pub priority: u8,
}

/// A route.
#[derive(Debug, Clone, Serialize)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// The condition on the host; `None` means any.
    pub host: Option<String>,
    /// The condition on the path; `None` means any.
    pub path: Option<String>,
    /// The methods; none means any.
    pub methods: Vec<String>,
    /// Names of the header fields that it has conditions on.
    pub headers: Vec<String>,
    /// Names of the query parameters that it has conditions on.
    pub query: Vec<String>,
    /// What it does.
    pub action: Action,
    /// To whom its answers are told, if to anybody.
    pub report: Option<Report>,
}

/// To whom the answers of a route are told, as in `route.report`.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The upstream.
    pub upstream: String,
    /// Path and query of the requests.
    pub path: String,
    /// Their host.
    pub host: Option<String>,
    /// Whether they have `Authorization`.
    pub authorization: bool,
    /// Seconds between two of them.
    pub every_seconds: f64,
    /// Patience with one, in seconds.
    pub timeout_seconds: f64,
    /// Bytes of events that may wait.
    pub buffer_bytes: u64,
}

/// What a route does.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Action {
    /// Forward to an upstream.
    Forward {
        /// Its name.
        upstream: String,
        /// Seconds up to the head of the answer.
        timeout_seconds: f64,
        /// Taken off the front of the path.
        strip_prefix: Option<String>,
        /// Put before the path.
        add_prefix: Option<String>,
        /// What it does with the cache, if anything.
        cache: Option<Box<CacheRules>>,
    },
    /// Answer with a redirect.
    Redirect {
        /// The template of `Location`.
        to: String,
        /// The status.
        status: u16,
    },
    /// Answer from the plan itself.
    Respond {
        /// The status.
        status: u16,
        /// Bytes of the body.
        body_bytes: usize,
        /// Its type.
        content_type: Option<String>,
    },
}

impl Plan {
    /// A plan in short; `actual` are the addresses that listeners have, by name.
    pub fn of<'a>(
        plan: &plan::Plan,
        generation: u64,
        actual: impl Iterator<Item = (&'a str, SocketAddr)>,
    ) -> Plan {
        let actual: Vec<_> = actual.collect();
        let listener = |listener: &plan::Listener| Listener {
            name: listener.name.to_string(),
            configured: listener.address,
            actual: actual.iter().find(|(name, _)| *name == &*listener.name).map(|(_, at)| *at),
            limits: limits(&listener.limits),
        };
        let caches = |route: &plan::Route| match &route.action {
            plan::Action::Forward(to) => to.cache.is_some(),
            plan::Action::Redirect(_) | plan::Action::Respond(_) => false,
        };
        let has_cache = plan.routes.iter().any(caches);
        Plan {
            generation,
            cache: has_cache.then(|| ConfiguredStore::of(&plan.cache)),
            listeners: plan.listeners.iter().map(listener).collect(),
            upstreams: plan.upstreams.iter().map(configured).collect(),
            routes: plan.routes.iter().map(|route| self::route(route, plan)).collect(),
        }
    }
}

fn limits(limits: &plan::ListenerLimits) -> Limits {
    Limits {
        head: limits.head,
        headers: limits.headers,
        body: limits.body,
        connections: limits.connections,
        connections_per_client: limits.connections_per_client,
        progress: limits.progress,
    }
}

fn configured(upstream: &plan::Upstream) -> Configured {
    let server = |server: &plan::ServerSpec| ConfiguredServer {
        address: server.address.to_string(),
        weight: server.weight,
        zone: server.zone.as_deref().map(str::to_owned),
        priority: server.priority,
    };
    Configured {
        name: upstream.name.to_string(),
        balance: upstream.balance.word(),
        servers: upstream.servers.iter().map(server).collect(),
        servers_file: upstream.servers_file.as_ref().map(|file| file.display().to_string()),
    }
}

fn route(route: &plan::Route, plan: &plan::Plan) -> Route {
    let when = &route.when;
    Route {
        name: route.name.to_string(),
        host: match &when.host {
            HostPattern::Any => None,
            HostPattern::Exact(host) => Some(host.to_string()),
            HostPattern::Below(host) => Some(format!("*.{host}")),
        },
        path: match &when.path {
            PathPattern::Any => None,
            PathPattern::Exact(path) => Some(path.to_string()),
            PathPattern::Prefix(path) => Some(format!("{path}/*")),
        },
        methods: when.methods.iter().map(|method| method.to_string()).collect(),
        headers: when.headers.iter().map(|(name, _)| name.to_string()).collect(),
        query: when.query.iter().map(|(name, _)| name.to_string()).collect(),
        action: action(&route.action, plan),
        report: route.report.as_ref().map(|report| Report {
            upstream: name_of(report.upstream, plan),
            path: report.path.to_string(),
            host: report.host.as_deref().map(str::to_owned),
            authorization: report.authorization.is_some(),
            every_seconds: report.every.as_secs_f64(),
            timeout_seconds: report.timeout.as_secs_f64(),
            buffer_bytes: report.buffer,
        }),
    }
}

fn name_of(upstream: usize, plan: &plan::Plan) -> String {
    plan.upstreams.get(upstream).map_or_else(String::new, |upstream| upstream.name.to_string())
}

fn action(action: &plan::Action, plan: &plan::Plan) -> Action {
    let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
    match action {
        plan::Action::Forward(forward) => Action::Forward {
            upstream: name_of(forward.upstream, plan),
            timeout_seconds: forward.timeout.as_secs_f64(),
            strip_prefix: text(&forward.strip_prefix),
            add_prefix: text(&forward.add_prefix),
            cache: forward.cache.as_ref().map(|rules| Box::new(CacheRules::of(rules, plan))),
        },
        plan::Action::Redirect(redirect) => {
            Action::Redirect { to: template(&redirect.to), status: redirect.status }
        }
        plan::Action::Respond(respond) => Action::Respond {
            status: respond.status,
            body_bytes: respond.body.len(),
            content_type: text(&respond.content_type),
        },
    }
}

/// A template as it is written in the file.
fn template(template: &Template) -> String {
    let part = |part: &Part| match part {
        Part::Text(text) => text.replace('{', "{{").replace('}', "}}"),
        Part::Variable(variable) => match variable {
            Variable::Scheme => "{scheme}",
            Variable::Host => "{host}",
            Variable::Path => "{path}",
            Variable::Query => "{query}",
            Variable::Method => "{method}",
            Variable::ClientIp => "{client-ip}",
            Variable::Route => "{route}",
        }
        .to_owned(),
    };
    template.parts.iter().map(part).collect()
}
