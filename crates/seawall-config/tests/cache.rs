//! What the keys of the cache and of the shared state mean in the plan.

use std::time::Duration;

use seawall_config::load;
use seawall_config::plan::*;

#[test]
fn an_empty_table_does_what_the_origin_says() {
    assert_eq!(cache("cache = {}"), defaults());
}

#[test]
fn text_alone_is_the_lifetime() {
    let expect = Cache { ttl: Some(seconds(60)), ..defaults() };
    assert_eq!(cache("cache = \"60s\""), expect);
    assert_eq!(cache("cache.ttl = \"1m\""), expect);
}

#[test]
fn every_key_finds_its_way() {
    let keys = r#"
        timeout = "4s"
        [route.cache]
        ttl = "1m30s"
        negative-ttl = "0s"
        browser-ttl = "1s"
        stale-while-revalidate = "10s"
        stale-if-error = "1h"
        jitter = "0%"
        early = false
        key = { host = true, query = ["b", "a"], sort-query = true, headers = ["X-Tenant"], cookies = ["Currency"], device = true }
        vary = ["Accept-Language"]
        bypass = { headers = ["Authorization"], cookies = ["session*"], query = ["preview"] }
        methods = ["GET"]
        statuses = [200, 404]
        max-object = "3MiB"
        ignore-origin = ["vary", "set-cookie"]
        client-control = false
        purge = ["10.0.0.0/8", "::1"]
        tags = "X-Tags"
        version = "${VERSION}"
        coalesce = { waiters = 3 }
        parent = "other"
        tier = "regional"
    "#;
    let expect = Cache {
        ttl: Some(seconds(90)),
        force: None,
        negative_ttl: Some(Duration::ZERO),
        browser_ttl: Some(seconds(1)),
        stale_while_revalidate: seconds(10),
        stale_if_error: seconds(3600),
        jitter: 0,
        early: false,
        key: CacheKey {
            host: true,
            query: CacheQuery::Only(names(&["b", "a"])),
            sort: true,
            headers: names(&["x-tenant"]),
            cookies: names(&["Currency"]),
            device: true,
        },
        vary: names(&["accept-language"]),
        bypass: CacheBypass {
            headers: names(&["authorization"]),
            cookies: names(&["session*"]),
            query: names(&["preview"]),
        },
        head: false,
        statuses: vec![200, 404],
        max_object: 3 << 20,
        ignore_origin: IgnoreOrigin { vary: true, set_cookie: true, ..IgnoreOrigin::default() },
        client_control: false,
        purge: ["10.0.0.0/8", "::1/128"].map(|net| net.parse().expect("written here")).to_vec(),
        tags: Some("x-tags".into()),
        version: CacheVersion::Text("7".into()),
        coalesce: Coalesce { wait: seconds(4), waiters: 3 },
        parent: Some(1),
        tier: Tier::Regional,
    };
    assert_eq!(cache(keys), expect);
}

#[test]
fn queries() {
    for (value, expect) in [
        ("true", CacheQuery::All),
        ("false", CacheQuery::Only(Vec::new())),
        ("\"${NO}\"", CacheQuery::Only(Vec::new())),
        ("[]", CacheQuery::Only(Vec::new())),
        ("[\"page\"]", CacheQuery::Only(names(&["page"]))),
        ("[\"page_*\"]", CacheQuery::Only(names(&["page_*"]))),
        ("{ except = [\"utm_*\", \"fbclid\"] }", CacheQuery::Except(names(&["utm_*", "fbclid"]))),
    ] {
        assert_eq!(cache(&format!("cache.key.query = {value}")).key.query, expect, "{value}");
    }
}

#[test]
fn what_the_origin_says_can_be_ignored() {
    let none = IgnoreOrigin::default();
    let both = IgnoreOrigin { cache_control: true, expires: true, ..none };
    for (value, expect) in [
        ("true", both),
        ("false", none),
        ("[]", none),
        ("\"${NO}\"", none),
        ("[\"expires\", \"cache-control\"]", both),
        ("[\"cache-control\"]", IgnoreOrigin { cache_control: true, ..none }),
        ("[\"set-cookie\"]", IgnoreOrigin { set_cookie: true, ..none }),
    ] {
        let keys = format!("cache = {{ force = \"1h\", ignore-origin = {value} }}");
        let found = cache(&keys);
        assert_eq!(found.ignore_origin, expect, "{value}");
        assert_eq!((found.ttl, found.force), (None, Some(seconds(3600))), "{value}");
    }
}

#[test]
fn tiers_have_lifetimes_of_their_own() {
    for (keys, ttl, jitter, parent) in [
        ("tier = \"edge\", parent = \"other\"", Some(60), 500, Some(1)),
        ("tier = \"regional\", parent = \"other\"", Some(900), 666, Some(1)),
        ("tier = \"shield\"", Some(4 * 3600), 100, None),
        ("tier = \"edge\", parent = \"other\", ttl = \"5s\"", Some(5), 500, Some(1)),
        ("tier = \"edge\", parent = \"other\", jitter = \"5%\"", Some(60), 50, Some(1)),
        ("tier = \"shield\", force = \"1h\"", None, 100, None),
        ("tier = \"shield\", ignore-origin = true", Some(4 * 3600), 100, None),
        ("parent = \"other\"", None, 100, Some(1)),
    ] {
        let found = cache(&format!("cache = {{ {keys} }}"));
        assert_eq!(found.ttl, ttl.map(seconds), "{keys}");
        assert_eq!((found.jitter, found.parent), (jitter, parent), "{keys}");
    }
}

#[test]
fn waiting_for_a_fill() {
    for (keys, wait, waiters) in [
        ("cache = {}", 10, 20_000),
        ("cache.coalesce = true", 10, 20_000),
        ("cache.coalesce = {}", 10, 20_000),
        ("cache.coalesce = false", 0, 0),
        ("cache.coalesce = { wait = \"1s\" }", 1, 20_000),
        ("timeout = \"4s\"\ncache = {}", 4, 20_000),
        ("timeout = \"20s\"\ncache = {}", 10, 20_000),
        ("timeout = \"4s\"\ncache.coalesce = { wait = \"3s\", waiters = 1 }", 3, 1),
    ] {
        assert_eq!(cache(keys).coalesce, Coalesce { wait: seconds(wait), waiters }, "{keys}");
    }
}

#[test]
fn versions() {
    for (value, expect) in [
        ("\"7\"", CacheVersion::Text("7".into())),
        ("{ text = \"7\" }", CacheVersion::Text("7".into())),
        ("{ header = \"X-Version\" }", CacheVersion::Header("x-version".into())),
        ("{ state = \"App-Version\" }", CacheVersion::State("App-Version".into())),
    ] {
        let head =
            "[server]\ntrust = [\"10.0.0.1\"]\n[state]\nredis = \"redis://:${PASSWORD}@127.0.0.1\"";
        let plan = plan(head, &format!("cache.version = {value}"));
        assert_eq!(of(plan).version, expect, "{value}");
    }
}

#[test]
fn the_store_and_the_state_have_defaults() {
    let plan = plan("", "cache = {}");
    let expect = CacheStore {
        memory: 256 << 20,
        disk: None,
        variants: 64,
        without_state: WithoutState::Serve,
    };
    assert_eq!(plan.cache, expect);
    assert_eq!(plan.cache, CacheStore::default());
    assert_eq!(plan.state, State { redis: None, prefix: "seawall".into() });
    assert_eq!(plan.state, State::default());
}

#[test]
fn every_key_of_the_store_and_the_state() {
    let head = r#"
        [state]
        redis = "redis://:${PASSWORD}@redis.internal:6380/2"
        prefix = "shop"
        [cache]
        memory = "1MiB"
        disk = { path = "./cache", size = "800MiB" }
        variants = 1
        without-state = "validate"
    "#;
    let plan = plan(head, "cache = {}");
    let url = "redis://:hunter2@redis.internal:6380/2";
    assert_eq!(plan.state, State { redis: Some(Secret::new(url)), prefix: "shop".into() });
    assert!(!format!("{plan:?}").contains("hunter2"));
    let expect = CacheStore {
        memory: 1 << 20,
        disk: Some(CacheDisk { path: "./cache".into(), size: 800 << 20 }),
        variants: 1,
        without_state: WithoutState::Validate,
    };
    assert_eq!(plan.cache, expect);
    assert_eq!(of(plan).max_object, 100 << 20);
}

#[test]
fn purging_is_a_method_of_the_route() {
    for (keys, expect) in [
        ("cache.purge = [\"::1\"]", &[][..]),
        ("methods = [\"GET\"]\ncache = {}", &["GET", "HEAD"]),
        ("methods = [\"GET\"]\ncache.purge = [\"::1\"]", &["GET", "HEAD", "PURGE"]),
        ("methods = [\"PURGE\", \"GET\"]\ncache.purge = [\"::1\"]", &["PURGE", "GET", "HEAD"]),
    ] {
        let plan = plan("", keys);
        assert_eq!(plan.routes[0].when.methods, names(expect), "{keys}");
    }
}

#[test]
fn one_host_needs_no_place_in_the_key() {
    assert!(!cache("host = \"example.com\"\ncache.key.host = false").key.host);
}

fn defaults() -> Cache {
    Cache {
        ttl: None,
        force: None,
        negative_ttl: None,
        browser_ttl: None,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
        jitter: 100,
        early: true,
        key: CacheKey {
            host: true,
            query: CacheQuery::All,
            sort: false,
            headers: Vec::new(),
            cookies: Vec::new(),
            device: false,
        },
        vary: Vec::new(),
        bypass: CacheBypass::default(),
        head: true,
        statuses: Vec::new(),
        max_object: 32 << 20,
        ignore_origin: IgnoreOrigin::default(),
        client_control: true,
        purge: Vec::new(),
        tags: None,
        version: CacheVersion::None,
        coalesce: Coalesce { wait: seconds(10), waiters: 20_000 },
        parent: None,
        tier: Tier::None,
    }
}

/// The cache of a route with these keys.
fn cache(keys: &str) -> Cache {
    of(plan("", keys))
}

fn of(plan: Plan) -> Cache {
    match plan.routes.into_iter().next().map(|route| route.action) {
        Some(Action::Forward(Forward { cache: Some(cache), .. })) => *cache,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_said_of_times_and_rules_that_go_together() {
    for keys in [
        "cache = { ttl = \"1h\", negative-ttl = \"1m\" }",
        "cache = { stale-while-revalidate = \"1h\", stale-if-error = \"1h\" }",
        "cache = { stale-while-revalidate = \"1h\", stale-if-error = \"0s\" }",
        "cache = { negative-ttl = \"1h\" }",
        "cache = { force = \"1m\", ignore-origin = true }",
    ] {
        cache(keys);
    }
    // On all paths, but with a way past the cache.
    let text = "[listen.web]\naddress = ':0'\n[upstream.app]\nservers = ['127.0.0.1:1']\n\
                [[route]]\npath = '/*'\nto = 'app'\n\
                cache = { force = '1m', ignore-origin = true, bypass = { cookies = ['session'] } }\n";
    let loaded = load(text, "f", &|_: &str| None).expect("it is right");
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
}

/// What `head` and a route with these keys mean.
fn plan(head: &str, keys: &str) -> Plan {
    let text = format!(
        "{head}\n[listen.web]\naddress = ':0'\n[upstream.app]\nservers = ['127.0.0.1:1']\n\
         [upstream.other]\nservers = ['127.0.0.1:2']\n[[route]]\npath = '/x'\nto = 'app'\n{keys}\n\
         [[route]]\nto = 'other'\n"
    );
    let variable = |name: &str| match name {
        "VERSION" => Some("7".to_owned()),
        "NO" => Some("false".to_owned()),
        "PASSWORD" => Some("hunter2".to_owned()),
        _ => None,
    };
    match load(&text, "f", &variable) {
        Ok(loaded) => {
            assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
            loaded.plan
        }
        Err(problems) => panic!("{problems}"),
    }
}

fn names(names: &[&str]) -> Vec<Box<str>> {
    names.iter().map(|name| Box::from(*name)).collect()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
