//! What good files mean: every key finds its way into the plan.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use seawall_config::load;
use seawall_config::plan::*;

#[test]
fn the_smallest_file_has_all_defaults() {
    let plan = plan(
        "[listen.web]\naddress = \"0.0.0.0:8080\"\n\
         [upstream.app]\nservers = [\"127.0.0.1:3000\"]\n\
         [[route]]\nto = \"app\"\n",
    );
    let expect = Plan {
        server: Server {
            workers: None,
            admin: None,
            admin_token: None,
            drain: Duration::from_secs(30),
            access_log: AccessLog::Off,
            trust: Vec::new(),
            resolver: None,
            zone: None,
        },
        listeners: vec![Listener {
            name: "web".into(),
            address: socket("0.0.0.0:8080"),
            protocol: Protocol::Http,
            proxy_protocol: false,
            timeouts: ListenerTimeouts {
                head: Duration::from_secs(10),
                idle: Duration::from_secs(75),
                body: Duration::from_secs(30),
                tunnel: Duration::from_secs(3600),
            },
            limits: ListenerLimits {
                head: 32 << 10,
                headers: 100,
                body: 1 << 30,
                connections: 100_000,
                connections_per_client: None,
                progress: 1 << 10,
            },
        }],
        upstreams: vec![Upstream {
            name: "app".into(),
            servers: vec![server("127.0.0.1:3000", 1)],
            balance: Balance::TwoChoices,
            servers_file: None,
            sticky: None,
            panic: 500,
            slow_start: None,
            health: None,
            eject: None,
            breaker: None,
            max_in_flight: MaxInFlight::default(),
            queue: Queue::default(),
            proxy_protocol: None,
            keepalive: Keepalive { idle: 64, timeout: Duration::from_secs(60) },
            connect_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(300),
            limits: UpstreamLimits { connections: 10_000, head: 64 << 10, headers: 200 },
        }],
        routes: vec![Route {
            name: "route-1".into(),
            when: any(),
            action: forward(0, 60, None, None),
            request_headers: HeaderEdits::default(),
            response_headers: HeaderEdits::default(),
            errors: Vec::new(),
        }],
    };
    assert_eq!(plan, expect);
}

#[test]
fn every_key_of_server_listen_and_upstream() {
    let plan = plan(
        r#"
        [server]
        workers = "${WORKERS}"
        admin = "127.0.0.1:9900"
        admin-token = "${TOKEN}"
        drain = "1m30s"
        access-log = "./access.log"
        trust = ["10.0.0.0/8", "::1", "::ffff:192.0.2.0/120", "10.0.0.0/8"]
        resolver = "10.0.0.2"

        [listen.web]
        address = ":80"
        timeouts = { head = "1ms", idle = "2h", body = "3m", tunnel = "30d" }
        limits = { head = "1MiB", headers = 1_000, body = "16TiB", connections = 9, connections-per-client = 8, progress = "1B" }

        # In the order of the file, not of the alphabet.
        [listen.a]
        address = "127.0.0.1:0"

        [upstream.app]
        servers = [
            "App.Internal.:80",
            { address = "[::1]:3000", weight = 1000 },
            { address = "${HOST}:${PORT:-3001}" },
        ]
        balance = "round-robin"
        connect-timeout = "10m"
        idle-timeout = "1h"

        [upstream.app.keepalive]
        idle = 0
        timeout = "1s"

        [upstream.app.limits]
        connections = 1
        head = "1KiB"
        headers = 1

        [[route]]
        to = "${UPSTREAM:-app}"
        "#,
    );
    let server_expect = Server {
        workers: NonZeroUsize::new(7),
        admin: Some(socket("127.0.0.1:9900")),
        admin_token: Some(Secret::new("0123456789abcdef")),
        drain: Duration::from_secs(90),
        access_log: AccessLog::File(PathBuf::from("./access.log")),
        trust: ["10.0.0.0/8", "::1/128", "192.0.2.0/24"]
            .iter()
            .map(|net| net.parse().expect("written here"))
            .collect(),
        resolver: Some(socket("10.0.0.2:53")),
        zone: None,
    };
    assert_eq!(plan.server, server_expect);
    assert!(!format!("{plan:?}").contains("0123456789abcdef"), "secrets are not shown");
    for (peer, trusted) in [
        ("10.1.2.3", true),
        ("::ffff:10.1.2.3", true),
        ("192.0.2.1", true),
        ("::1", true),
        ("11.0.0.1", false),
        ("::2", false),
    ] {
        let peer: IpAddr = peer.parse().expect("written here");
        assert_eq!(plan.server.trusts(peer), trusted, "{peer}");
    }

    let names: Vec<&str> = plan.listeners.iter().map(|listener| &*listener.name).collect();
    assert_eq!(names, ["web", "a"]);
    assert_eq!(plan.listeners[0].address, socket("[::]:80"));
    let timeouts = ListenerTimeouts {
        head: Duration::from_millis(1),
        idle: Duration::from_secs(2 * 3600),
        body: Duration::from_secs(180),
        tunnel: Duration::from_secs(30 * 86_400),
    };
    assert_eq!(plan.listeners[0].timeouts, timeouts);
    let limits = ListenerLimits {
        head: 1 << 20,
        headers: 1_000,
        body: 16 << 40,
        connections: 9,
        connections_per_client: Some(8),
        progress: 1,
    };
    assert_eq!(plan.listeners[0].limits, limits);

    let upstream = Upstream {
        name: "app".into(),
        servers: vec![
            ServerSpec::new(ServerAddress::Name { host: "app.internal".into(), port: 80 }),
            server("[::1]:3000", 1000),
            server("192.0.2.9:3001", 1),
        ],
        balance: Balance::RoundRobin,
        servers_file: None,
        sticky: None,
        panic: 500,
        slow_start: None,
        health: None,
        eject: None,
        breaker: None,
        max_in_flight: MaxInFlight::default(),
        queue: Queue::default(),
        proxy_protocol: None,
        keepalive: Keepalive { idle: 0, timeout: Duration::from_secs(1) },
        connect_timeout: Duration::from_secs(600),
        idle_timeout: Duration::from_secs(3600),
        limits: UpstreamLimits { connections: 1, head: 1 << 10, headers: 1 },
    };
    assert_eq!(plan.upstreams, [upstream]);
}

#[test]
fn every_key_of_routes() {
    let plan = plan(
        r#"
        [listen.web]
        address = "[::1]:0"
        [upstream.other]
        servers = ["127.0.0.1:1"]
        [upstream.app]
        servers = ["127.0.0.1:2"]

        [[route]]
        name = "api"
        host = "*.Example.com"
        path = "/api/*"
        methods = ["GET", "PURGE"]
        match-headers = { X-Beta = "*", x-v = "2" }
        match-query = { "a b" = "*", q = "ü" }
        to = "app"
        strip-prefix = "/api"
        add-prefix = "/v 1"
        timeout = "2s"
        headers.request = { set = { Host = "{route}.internal" }, add = { X-Ip = "{client-ip}" }, remove = ["Cookie"] }
        headers.response = { set = { a = "" }, add = { b = "{{{method}}}" }, remove = ["Server", "via"] }
        errors = { 5xx = "<p>", connect-failed = { body = "down" }, "404" = { body = "<svg/>", type = "image/svg+xml" } }

        [[route]]
        host = "EXAMPLE.com"
        path = "/old/"
        methods = ["HEAD", "GET"]
        redirect = "{scheme}://{host}/new{query}"

        [[route]]
        host = "::1"
        redirect = { to = "{path}", status = 301 }

        [[route]]
        path = "/*"
        match-query = { x = "" }
        respond = "Hi"

        [[route]]
        path = "/gone"
        respond = { status = 410 }

        [[route]]
        path = "/page"
        respond = { status = 200, body = "<p>", type = "text/html" }

        [[route]]
        to = "other"
        "#,
    );
    let name = |route: &Route| route.name.to_string();
    let names: Vec<String> = plan.routes.iter().map(name).collect();
    let expect = ["api", "route-2", "route-3", "route-4", "route-5", "route-6", "route-7"];
    assert_eq!(names, expect);

    let api = Route {
        name: "api".into(),
        when: When {
            host: HostPattern::Below("example.com".into()),
            path: PathPattern::Prefix("/api".into()),
            methods: vec!["GET".into(), "PURGE".into(), "HEAD".into()],
            headers: vec![
                ("x-beta".into(), ValuePattern::Present),
                ("x-v".into(), ValuePattern::Exact("2".into())),
            ],
            query: vec![
                ("a b".into(), ValuePattern::Present),
                ("q".into(), ValuePattern::Exact("ü".into())),
            ],
        },
        action: forward(1, 2, Some("/api"), Some("/v%201")),
        request_headers: HeaderEdits {
            remove: vec!["cookie".into()],
            set: vec![(
                "host".into(),
                template(vec![Part::Variable(Variable::Route), text(".internal")]),
            )],
            add: vec![("x-ip".into(), template(vec![Part::Variable(Variable::ClientIp)]))],
        },
        response_headers: HeaderEdits {
            remove: vec!["server".into(), "via".into()],
            set: vec![("a".into(), template(Vec::new()))],
            add: vec![(
                "b".into(),
                template(vec![text("{"), Part::Variable(Variable::Method), text("}")]),
            )],
        },
        errors: vec![
            page(ErrorMatch::Class(5), "<p>", "text/html; charset=utf-8"),
            page(ErrorMatch::Code("connect-failed".into()), "down", "text/plain; charset=utf-8"),
            page(ErrorMatch::Status(404), "<svg/>", "image/svg+xml"),
        ],
    };
    assert_eq!(plan.routes[0], api);

    let when = When {
        host: HostPattern::Exact("example.com".into()),
        path: PathPattern::Exact("/old/".into()),
        methods: vec!["HEAD".into(), "GET".into()],
        ..any()
    };
    assert_eq!(plan.routes[1].when, when);
    let to = template(vec![
        Part::Variable(Variable::Scheme),
        text("://"),
        Part::Variable(Variable::Host),
        text("/new"),
        Part::Variable(Variable::Query),
    ]);
    assert_eq!(plan.routes[1].action, Action::Redirect(Redirect { to, status: 308 }));

    assert_eq!(plan.routes[2].when.host, HostPattern::Exact("[::1]".into()));
    let to = template(vec![Part::Variable(Variable::Path)]);
    assert_eq!(plan.routes[2].action, Action::Redirect(Redirect { to, status: 301 }));

    assert_eq!(plan.routes[3].when.path, PathPattern::Prefix("".into()));
    assert_eq!(plan.routes[3].when.query, [("x".into(), ValuePattern::Exact("".into()))]);
    assert_eq!(plan.routes[3].action, respond(200, "Hi", Some("text/plain; charset=utf-8")));
    assert_eq!(plan.routes[4].action, respond(410, "", None));
    assert_eq!(plan.routes[5].action, respond(200, "<p>", Some("text/html")));
    assert_eq!(plan.routes[6].action, forward(0, 60, None, None));
}

#[test]
fn ten_thousand_routes_load() {
    let mut file = String::from(
        "[listen.web]\naddress = \":0\"\n[upstream.app]\nservers = [\"127.0.0.1:1\"]\n",
    );
    for n in 0..10_000 {
        let (host, tenant) = (n % 100, n / 100);
        file.push_str(&format!(
            "[[route]]\nname = \"r{n}\"\nhost = \"h{host}.example.com\"\npath = \"/t/{tenant}/*\"\n\
             match-headers = {{ x-a = \"1\", x-b = \"{n}\" }}\nto = \"app\"\n"
        ));
    }
    file.push_str("[[route]]\nname = \"never\"\nhost = \"h7.example.com\"\npath = \"/t/7/x\"\n");
    file.push_str("match-headers = { x-b = \"707\", x-a = \"1\", x-c = \"2\" }\nto = \"app\"\n");
    let loaded = load(&file, "f", &environment).expect("all is well");
    assert_eq!(loaded.plan.routes.len(), 10_001);
    let messages: Vec<&str> = loaded.warnings.iter().map(|problem| problem.message()).collect();
    let expect = "the route `never` can never match: `r707` on line 4247 comes first and takes all its requests";
    assert_eq!(messages, [expect]);
}

fn page(when: ErrorMatch, body: &str, content_type: &str) -> ErrorPage {
    ErrorPage { when, body: body.as_bytes().into(), content_type: content_type.into() }
}

fn plan(file: &str) -> Plan {
    match load(file, "f", &environment) {
        Ok(loaded) => {
            assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
            loaded.plan
        }
        Err(problems) => panic!("{problems}"),
    }
}

fn environment(name: &str) -> Option<String> {
    match name {
        "WORKERS" => Some("7".to_owned()),
        "TOKEN" => Some("0123456789abcdef".to_owned()),
        "HOST" => Some("192.0.2.9".to_owned()),
        _ => None,
    }
}

fn socket(text: &str) -> SocketAddr {
    text.parse().expect("written here")
}

fn server(address: &str, weight: u32) -> ServerSpec {
    ServerSpec { weight, ..ServerSpec::new(ServerAddress::Socket(socket(address))) }
}

fn any() -> When {
    When {
        host: HostPattern::Any,
        path: PathPattern::Any,
        methods: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
    }
}

fn forward(upstream: usize, seconds: u64, strip: Option<&str>, add: Option<&str>) -> Action {
    Action::Forward(Forward {
        upstream,
        timeout: Duration::from_secs(seconds),
        retry: Retry::default(),
        hedge: None,
        fallback: Vec::new(),
        strip_prefix: strip.map(Box::from),
        add_prefix: add.map(Box::from),
    })
}

fn respond(status: u16, body: &str, content_type: Option<&str>) -> Action {
    Action::Respond(Respond {
        status,
        body: Arc::from(body.as_bytes()),
        content_type: content_type.map(Box::from),
    })
}

fn text(text: &str) -> Part {
    Part::Text(text.into())
}

fn template(parts: Vec<Part>) -> Template {
    Template { parts }
}
