//! What good files mean: every key finds its way into the plan.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use seawall_config::plan::*;
use seawall_config::{Surroundings, load, load_bytes_with};

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
        state: State::default(),
        cache: CacheStore::default(),
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
            report: None,
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
        report: None,
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
fn every_key_of_tcp_listeners() {
    let plan = plan(
        r#"
        [server]
        trust = ["10.0.0.0/8"]
        zone = "${ZONE:-eu-1a}"
        [listen.db]
        address = ":5432"
        tcp = "${NAME:-db}"
        proxy-protocol = true
        timeouts = { tunnel = "5m" }
        limits = { connections = 50, connections-per-client = 5 }
        [upstream.db]
        servers = ["127.0.0.1:5433"]
        balance = "hash"
        hash = "ip"
        proxy-protocol = "v2"
        "#,
    );
    assert_eq!(plan.server.zone.as_deref(), Some("eu-1a"));
    let listener = &plan.listeners[0];
    assert_eq!(listener.protocol, Protocol::Tcp(0));
    assert!(listener.proxy_protocol);
    assert_eq!(listener.timeouts.tunnel, Duration::from_secs(300));
    let limits = listener.limits;
    assert_eq!((limits.connections, limits.connections_per_client), (50, Some(5)));
    assert_eq!(plan.upstreams[0].proxy_protocol, Some(ProxyProtocol::V2));
    // Nothing asks for a route.
    assert_eq!(plan.routes, []);
}

#[test]
fn the_proxy_protocol_is_for_requests_too() {
    let plan = plan(
        r#"
        [server]
        trust = ["10.0.0.0/8"]
        [listen.web]
        address = ":80"
        proxy-protocol = "${PROXY:-true}"
        [listen.db]
        address = ":5432"
        tcp = "db"
        proxy-protocol = false
        [upstream.db]
        servers = ["127.0.0.1:5433"]
        proxy-protocol = "v1"
        [[route]]
        respond = "x"
        "#,
    );
    assert_eq!(plan.listeners[0].protocol, Protocol::Http);
    let proxied: Vec<bool> = plan.listeners.iter().map(|l| l.proxy_protocol).collect();
    assert_eq!(proxied, [true, false]);
    assert_eq!(plan.upstreams[0].proxy_protocol, Some(ProxyProtocol::V1));
}

#[test]
fn servers_have_zones_priorities_and_files() {
    let plan = plan(
        r#"
        [server]
        zone = "a"
        [upstream.app]
        servers = [
            { address = "127.0.0.1:3000", zone = "a", priority = 15, weight = 3 },
            "srv:_http._tcp.App.internal.",
            { address = "srv:app.service.consul", zone = "${ZONE:-b}" },
        ]
        servers-file = "more.toml"
        [upstream.file]
        servers-file = "/etc/servers.json"
        [upstream.files]
        servers = []
        servers-file = "./${NAME:-files}.toml"
        [listen.a]
        address = ":0"
        tcp = "app"
        [listen.b]
        address = ":0"
        tcp = "file"
        [listen.c]
        address = ":0"
        tcp = "files"
        "#,
    );
    let service = |name: &str| ServerSpec::new(ServerAddress::Service(name.into()));
    let expect = [
        ServerSpec { zone: Some("a".into()), priority: 15, ..server("127.0.0.1:3000", 3) },
        service("_http._tcp.app.internal"),
        ServerSpec { zone: Some("b".into()), ..service("app.service.consul") },
    ];
    assert_eq!(plan.upstreams[0].servers, expect);
    let file = |upstream: &Upstream| upstream.servers_file.clone().expect("there is a file");
    let files: Vec<PathBuf> = plan.upstreams.iter().map(file).collect();
    let expect = ["etc/more.toml", "/etc/servers.json", "etc/./files.toml"];
    assert_eq!(files, expect.map(PathBuf::from));
    assert_eq!(plan.upstreams[1].servers, []);
    assert_eq!(plan.upstreams[2].servers, []);
}

#[test]
fn every_word_of_balance() {
    let hash = |key, bound| HashBy { key, bound };
    for (text, expect) in [
        ("balance = 'round-robin'", Balance::RoundRobin),
        ("balance = 'random'", Balance::Random),
        ("balance = 'least-connections'", Balance::LeastConnections),
        ("balance = 'two-choices'", Balance::TwoChoices),
        ("balance = 'least-latency'", Balance::LeastLatency),
        ("balance = 'ip-hash'", Balance::IpHash),
        ("balance = 'hash'\nhash = 'path'", Balance::Hash(hash(HashKey::Path, 1250))),
        ("balance = 'hash'\nhash = 'ip'", Balance::Hash(hash(HashKey::ClientIp, 1250))),
        (
            "balance = 'hash'\nhash = { by = 'query:a b', load = '101%' }",
            Balance::Hash(hash(HashKey::Query("a b".into()), 1010)),
        ),
        (
            "balance = 'hash'\nhash = { by = 'header:X-Tenant', load = '187.5%' }",
            Balance::Hash(hash(HashKey::Header("x-tenant".into()), 1875)),
        ),
        (
            "balance = 'maglev'\nhash = 'cookie:Session'",
            Balance::Maglev(hash(HashKey::Cookie("Session".into()), 1250)),
        ),
        (
            "balance = 'maglev'\nhash.by = 'jwt:sub'",
            Balance::Maglev(hash(HashKey::JwtClaim("sub".into()), 1250)),
        ),
    ] {
        let found = upstream(text).balance;
        assert_eq!(found, expect, "{text}");
        assert!(text.contains(&format!("'{}'", found.word())), "{text}");
    }
}

#[test]
fn sticky_cookies() {
    let sticky = |cookie: &str, secret: Option<&str>, seconds: Option<u64>| {
        Some(Sticky {
            cookie: cookie.into(),
            secret: secret.map(Secret::new),
            max_age: seconds.map(Duration::from_secs),
        })
    };
    for (text, expect) in [
        ("", None),
        ("sticky = 'Seawall'", sticky("Seawall", None, None)),
        (
            "sticky = { cookie = '__Host-s', secret = '${TOKEN}', max-age = '1h' }",
            sticky("__Host-s", Some("0123456789abcdef"), Some(3600)),
        ),
        (
            "sticky = { cookie = 's', secret = 'ein ganz geheimer Satz' }",
            sticky("s", Some("ein ganz geheimer Satz"), None),
        ),
    ] {
        let found = upstream(text).sticky;
        assert_eq!(found, expect, "{text}");
        assert!(!format!("{found:?}").contains("0123456789"), "secrets are not shown");
    }
}

#[test]
fn health_checks() {
    let http = |path: &str| Probe::Http {
        path: path.into(),
        method: "GET".into(),
        host: None,
        status: vec![(200, 399)],
        body: None,
    };
    let check = |probe| HealthCheck {
        probe,
        every: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        rise: 2,
        fall: 3,
        port: None,
    };
    for (text, expect) in [
        ("health = '/healthz'", check(http("/healthz"))),
        ("health = { path = '/a?b=c' }", check(http("/a?b=c"))),
        ("health = { tcp = true }", check(Probe::Tcp)),
        ("health = { path = '/', tcp = false }", check(http("/"))),
        ("health = { grpc = '' }", check(Probe::Grpc { service: "".into() })),
        (
            "health = { grpc = 'shop.v1.Cart', every = '10ms', timeout = '10ms', rise = 1, fall = 100, port = 65535 }",
            HealthCheck {
                every: Duration::from_millis(10),
                timeout: Duration::from_millis(10),
                rise: 1,
                fall: 100,
                port: Some(65535),
                ..check(Probe::Grpc { service: "shop.v1.Cart".into() })
            },
        ),
        (
            "health = { path = '/', method = 'POST', host = 'App.internal:81', status = ['200', '3xx', '404-410'], body = 'ok' }",
            check(Probe::Http {
                path: "/".into(),
                method: "POST".into(),
                host: Some("app.internal:81".into()),
                status: vec![(200, 200), (300, 399), (404, 410)],
                body: Some("ok".into()),
            }),
        ),
        (
            "health = { path = '/', method = 'HEAD', status = '204' }",
            check(Probe::Http {
                path: "/".into(),
                method: "HEAD".into(),
                host: None,
                status: vec![(204, 204)],
                body: None,
            }),
        ),
        // Patience is never longer than the time between two checks.
        (
            "health = { path = '/', every = '500ms' }",
            HealthCheck {
                every: Duration::from_millis(500),
                timeout: Duration::from_millis(500),
                ..check(http("/"))
            },
        ),
    ] {
        assert_eq!(upstream(text).health, Some(expect), "{text}");
    }
}

#[test]
fn ejection_and_breaker() {
    let eject = Eject {
        errors: 5,
        outliers: true,
        base: Duration::from_secs(10),
        longest: Duration::from_secs(300),
        at_most: 500,
    };
    for (text, expect) in [
        ("", None),
        ("eject = false", None),
        ("eject = true", Some(eject)),
        ("eject = '${ON:-true}'", Some(eject)),
        ("eject = {}", Some(eject)),
        (
            "eject = { errors = 1, outliers = false, for = '1s', longest = '2s', at-most = '100%' }",
            Some(Eject {
                errors: 1,
                outliers: false,
                base: Duration::from_secs(1),
                longest: Duration::from_secs(2),
                at_most: 1000,
            }),
        ),
        // The longest time is not shorter than the first.
        (
            "eject = { for = '10m' }",
            Some(Eject {
                base: Duration::from_secs(600),
                longest: Duration::from_secs(600),
                ..eject
            }),
        ),
    ] {
        let servers = "servers = ['127.0.0.1:1', '127.0.0.1:2']\n";
        assert_eq!(upstream(&format!("{servers}{text}")).eject, expect, "{text}");
    }

    let breaker = Breaker {
        window: Duration::from_secs(10),
        minimum: 20,
        failures: 500,
        slow: 1000,
        slow_after: None,
        open: Duration::from_secs(5),
        longest: Duration::from_secs(60),
        probes: 3,
        probe_timeout: Duration::from_secs(10),
        step: Duration::from_secs(2),
    };
    for (text, expect) in [
        ("", None),
        ("breaker = false", None),
        ("breaker = true", Some(breaker)),
        ("breaker = {}", Some(breaker)),
        (
            "breaker = { slow-after = '1s' }",
            Some(Breaker { slow_after: Some(Duration::from_secs(1)), ..breaker }),
        ),
        (
            "breaker = { open = '2m' }",
            Some(Breaker {
                open: Duration::from_secs(120),
                longest: Duration::from_secs(120),
                ..breaker
            }),
        ),
        (
            "breaker = { window = '1m', minimum = 1, failures = '25%', slow = '80%', slow-after = '300ms', open = '1s', longest = '10s', probes = 1, probe-timeout = '1s', step = '100ms' }",
            Some(Breaker {
                window: Duration::from_secs(60),
                minimum: 1,
                failures: 250,
                slow: 800,
                slow_after: Some(Duration::from_millis(300)),
                open: Duration::from_secs(1),
                longest: Duration::from_secs(10),
                probes: 1,
                probe_timeout: Duration::from_secs(1),
                step: Duration::from_millis(100),
            }),
        ),
    ] {
        assert_eq!(upstream(text).breaker, expect, "{text}");
    }
}

#[test]
fn requests_in_flight_and_in_line() {
    let wait = Duration::from_secs(5);
    let nobody = Queue { size: 0, wait };
    let hundred = Queue { size: 100, wait };
    for (text, server, total, queue) in [
        ("", None, None, nobody),
        ("max-in-flight = 10", Some(10), None, hundred),
        ("max-in-flight = '${N:-10}'", Some(10), None, hundred),
        ("max-in-flight = { total = 20 }", None, Some(20), hundred),
        ("max-in-flight = { server = 2, total = 3 }", Some(2), Some(3), hundred),
        ("max-in-flight = 10\nqueue = 0", Some(10), None, nobody),
        ("max-in-flight = 10\nqueue = 1000", Some(10), None, Queue { size: 1000, wait }),
        (
            "max-in-flight = 10\nqueue = { size = 7, wait = '1s' }",
            Some(10),
            None,
            Queue { size: 7, wait: Duration::from_secs(1) },
        ),
        (
            "max-in-flight = 10\nqueue = { wait = '1s' }",
            Some(10),
            None,
            Queue { size: 100, wait: Duration::from_secs(1) },
        ),
    ] {
        let found = upstream(text);
        assert_eq!(found.max_in_flight, MaxInFlight { server, total }, "{text}");
        assert_eq!(found.queue, queue, "{text}");
    }
}

#[test]
fn panic_and_slow_start() {
    let found = upstream("panic = '0%'\nslow-start = '30s'");
    assert_eq!((found.panic, found.slow_start), (0, Some(Duration::from_secs(30))));
    assert_eq!(upstream("panic = '12.5%'").panic, 125);
}

#[test]
fn retries() {
    let given = Retry {
        attempts: 2,
        unanswered: true,
        statuses: vec![502, 503, 504],
        budget: 100,
        floor: 1000,
        backoff: Duration::from_millis(25),
        body: 64 << 10,
        attempt_timeout: None,
    };
    for (text, expect) in [
        ("", Retry::default()),
        ("retry = {}", given.clone()),
        ("retry = 3", Retry { attempts: 3, ..given.clone() }),
        ("retry = { attempts = 1 }", Retry { attempts: 1, ..given.clone() }),
        ("retry = { on = [] }", Retry { unanswered: false, statuses: Vec::new(), ..given.clone() }),
        (
            "retry = { on = ['429', '503'] }",
            Retry { unanswered: false, statuses: vec![429, 503], ..given.clone() },
        ),
        (
            "retry = { attempts = 10, on = ['unanswered'], budget = '20%', floor = '30/m', backoff = '0s', body = '0B', attempt-timeout = '59s' }",
            Retry {
                attempts: 10,
                unanswered: true,
                statuses: Vec::new(),
                budget: 200,
                floor: 500,
                backoff: Duration::ZERO,
                body: 0,
                attempt_timeout: Some(Duration::from_secs(59)),
            },
        ),
    ] {
        assert_eq!(to_app(text).retry, expect, "{text}");
    }
}

#[test]
fn reports() {
    let report = |keys: &str| {
        let file = format!(
            "[listen.web]\naddress = \"[::1]:0\"\n[upstream.other]\nservers = [\"127.0.0.1:1\"]\n\
             [upstream.app]\nservers = [\"127.0.0.1:2\"]\n[[route]]\npath = \"/o\"\nto = \"other\"\n\
             [[route]]\n{keys}\n"
        );
        plan(&file).routes[1].report.clone().expect("there is one")
    };
    let least = Reporting {
        upstream: 1,
        path: "/r".into(),
        host: None,
        authorization: None,
        every: Duration::from_secs(1),
        timeout: Duration::from_secs(10),
        buffer: 8 << 20,
    };
    assert_eq!(report("to = 'app'\nreport = { path = '/r' }"), least);
    assert_eq!(report("to = 'app'\n[route.report]\npath = '/r'"), least);
    let to = "report = { to = 'app', path = '/r' }";
    assert_eq!(report(&format!("redirect = '/x'\n{to}")), least);
    assert_eq!(report(&format!("respond = 'x'\n{to}")), least);
    let all = "to = 'app'\nreport = { to = 'other', path = '/r?a=b', host = 'a.test:1', \
               authorization = 'Bearer ${TOKEN}', every = '100ms', timeout = '2s', buffer = '256KiB' }";
    let expect = Reporting {
        upstream: 0,
        path: "/r?a=b".into(),
        host: Some("a.test:1".into()),
        authorization: Some(Secret::new(format!("Bearer {}", environment("TOKEN").expect("set")))),
        every: Duration::from_millis(100),
        timeout: Duration::from_secs(2),
        buffer: 256 << 10,
    };
    assert_eq!(report(all), expect);
    assert!(!format!("{expect:?}").contains("Bearer"), "it is a secret");
}

#[test]
fn hedges() {
    let hedge = |after: Option<u64>, least| {
        let after = after.map(Duration::from_millis);
        Some(Hedge { after, least: Duration::from_millis(least) })
    };
    for (text, expect) in [
        ("", None),
        ("hedge = false", None),
        ("hedge = true", hedge(None, 5)),
        ("hedge = {}", hedge(None, 5)),
        ("hedge = { after = 'p95', least = '20ms' }", hedge(None, 20)),
        ("hedge = { after = '30ms' }", hedge(Some(30), 5)),
        ("hedge = { after = '30ms', least = '30ms' }", hedge(Some(30), 30)),
        // What holds without the key is no contradiction.
        ("hedge = { after = '2ms' }", hedge(Some(2), 2)),
    ] {
        assert_eq!(to_app(text).hedge, expect, "{text}");
    }
}

#[test]
fn fallbacks() {
    let page = |status, body: &str, kind: &str| {
        let body = body.as_bytes().into();
        Give::Page(Respond { status, body, content_type: Some(kind.into()) })
    };
    let plain = "text/plain; charset=utf-8";
    let fallback = |on: &[ErrorMatch], give| Fallback { on: on.to_vec(), give };
    let class = ErrorMatch::Class;
    for (text, expect) in [
        ("", vec![]),
        (
            "fallback = { respond = 'Sorry' }",
            vec![fallback(&[class(5)], page(503, "Sorry", plain))],
        ),
        (
            "fallback = [{ on = '503', to = 'other' }, { respond = { status = 200, body = '[]', type = 'application/json' } }]",
            vec![
                fallback(&[ErrorMatch::Status(503)], Give::Upstream(1)),
                fallback(&[class(5)], page(200, "[]", "application/json")),
            ],
        ),
        (
            "fallback = [{ on = ['4xx', '502', 'connect-failed'], file = 'Sorry.HTML' }, { file = 'sorry', type = 'image/png', status = 500 }]",
            vec![
                fallback(
                    &[class(4), ErrorMatch::Status(502), ErrorMatch::Code("connect-failed".into())],
                    page(503, "etc/Sorry.HTML", "text/html; charset=utf-8"),
                ),
                fallback(&[class(5)], page(500, "etc/sorry", "image/png")),
            ],
        ),
        (
            "fallback = { file = '/srv/sorry.json' }",
            vec![fallback(&[class(5)], page(503, "/srv/sorry.json", "application/json"))],
        ),
    ] {
        assert_eq!(to_app(text).fallback, expect, "{text}");
    }
    // A respond without a body is an answer without one.
    let empty = to_app("fallback = { respond = {} }").fallback;
    let respond = Respond { status: 503, body: [].into(), content_type: None };
    assert_eq!(empty, [fallback(&[class(5)], Give::Page(respond))]);
}

#[test]
fn a_file_is_read_once_from_its_folder() {
    let reads = RefCell::new(Vec::new());
    let read = |path: &Path, most: usize| {
        reads.borrow_mut().push((path.to_owned(), most));
        Ok(b"Sorry".to_vec())
    };
    let around = Surroundings {
        folder: Path::new("/etc/seawall"),
        read: Some(&read),
        ..Surroundings::variables(&environment)
    };
    let entry = "fallback = { file = 'a.txt' }\n";
    let file = format!(
        "[listen.web]\naddress = ':0'\n[upstream.app]\nservers-file = 'servers.toml'\n\
         [[route]]\npath = '/a'\nto = 'app'\n{entry}[[route]]\nto = 'app'\n{entry}"
    );
    let plan = load_bytes_with(file.as_bytes(), "f", &around).expect("all is well").plan;
    let most = (1 << 20) + 1;
    assert_eq!(*reads.borrow(), [(PathBuf::from("/etc/seawall/a.txt"), most)]);
    let file = plan.upstreams[0].servers_file.as_deref();
    assert_eq!(file, Some(Path::new("/etc/seawall/servers.toml")));
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

/// The upstream with these keys, and one server if it says nothing else.
fn upstream(keys: &str) -> Upstream {
    let servers = match keys.contains("servers") {
        true => "",
        false => "servers = ['127.0.0.1:3000']\n",
    };
    let rest = "[listen.web]\naddress = ':0'\n[[route]]\nto = 'app'\n";
    let plan = plan(&format!("[upstream.app]\n{servers}{keys}\n{rest}"));
    plan.upstreams.into_iter().next().expect("there is one")
}

/// What a route with these keys does that forwards to the first of two upstreams.
fn to_app(keys: &str) -> Forward {
    let rest = "[listen.web]\naddress = ':0'\n[upstream.app]\nservers = ['127.0.0.1:1', '127.0.0.1:3']\n\
                [upstream.other]\nservers = ['127.0.0.1:2']\n[[route]]\nname = 'last'\nto = 'other'\n";
    let plan = plan(&format!("[[route]]\npath = '/x'\nto = 'app'\n{keys}\n{rest}"));
    match plan.routes.into_iter().next().map(|route| route.action) {
        Some(Action::Forward(forward)) => forward,
        other => panic!("{other:?}"),
    }
}

fn plan(file: &str) -> Plan {
    let around = Surroundings {
        folder: Path::new("etc"),
        // Every file has its path in it.
        read: Some(&|path, _| Ok(path.display().to_string().into_bytes())),
        ..Surroundings::variables(&environment)
    };
    match load_bytes_with(file.as_bytes(), "f", &around) {
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
        cache: None,
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
