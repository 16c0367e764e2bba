//! Shadowing against what it means: every request of a small world that tells all patterns apart
//! is tried on every route.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::path::is_within;

struct Request {
    host: &'static str,
    /// `*` when it has no path.
    path: &'static str,
    method: &'static str,
    x: Option<&'static str>,
    y: Option<&'static str>,
    q: Option<&'static str>,
}

/// Requests enough that two conditions of [`any_route`] hold for the same ones only when they are
/// equivalent.
fn world() -> Vec<Request> {
    let hosts = ["c", "b.c", "z.c", "a.b.c", "z.b.c", "x.a.b.c", "z.a.b.c", "d", "z"];
    let paths = ["*", "/", "/a", "/a/", "/a/b", "/a/b/", "/a/b/z", "/a/z", "/ab", "/z"];
    let methods = ["GET", "HEAD", "POST", "OPTIONS", "PUT"];
    let values = [None, Some("1"), Some("z")];
    let mut all = Vec::new();
    for host in hosts {
        for path in paths {
            for method in methods {
                if path == "*" && method != "OPTIONS" {
                    continue;
                }
                for (x, q) in values.into_iter().flat_map(|x| values.map(|q| (x, q))) {
                    for y in [None, Some("z")] {
                        all.push(Request { host, path, method, x, y, q });
                    }
                }
            }
        }
    }
    all
}

fn matches(when: &When, request: &Request) -> bool {
    let host = match &when.host {
        HostPattern::Any => true,
        HostPattern::Exact(host) => **host == *request.host,
        HostPattern::Below(name) => request.host.ends_with(&format!(".{name}")),
    };
    let path = match &when.path {
        PathPattern::Any => true,
        PathPattern::Exact(path) => **path == *request.path,
        PathPattern::Prefix(path) => request.path != "*" && is_within(request.path, path),
    };
    let method = when.methods.is_empty() || when.methods.iter().any(|m| **m == *request.method);
    let field = |name: &str| match name {
        "x" => request.x,
        "y" => request.y,
        _ => request.q,
    };
    let holds = |(name, pattern): &(Box<str>, ValuePattern)| match (pattern, field(name)) {
        (_, None) => false,
        (ValuePattern::Present, Some(_)) => true,
        (ValuePattern::Exact(value), Some(found)) => **value == *found,
    };
    host && path && method && when.headers.iter().all(holds) && when.query.iter().all(holds)
}

fn any_route() -> impl Strategy<Value = When> {
    let below = |name: &str| HostPattern::Below(name.into());
    let host = |name: &str| HostPattern::Exact(name.into());
    let prefix = |path: &str| PathPattern::Prefix(path.into());
    let path = |path: &str| PathPattern::Exact(path.into());
    let hosts = vec![
        HostPattern::Any,
        host("b.c"),
        host("a.b.c"),
        host("x.a.b.c"),
        host("d"),
        below("c"),
        below("b.c"),
        below("a.b.c"),
    ];
    let paths = vec![
        PathPattern::Any,
        prefix(""),
        prefix("/a"),
        prefix("/a/b"),
        path("/"),
        path("/a"),
        path("/a/"),
        path("/a/b"),
        path("/ab"),
    ];
    let methods: Vec<&[&str]> = vec![
        &[],
        &["GET", "HEAD"],
        &["POST"],
        &["POST", "GET", "HEAD"],
        &["OPTIONS"],
        &["PUT", "OPTIONS"],
    ];
    let x = |value: ValuePattern| ("x".into(), value);
    let y = || ("y".into(), ValuePattern::Present);
    let headers: Vec<Vec<(Box<str>, ValuePattern)>> = vec![
        vec![],
        vec![x(ValuePattern::Present)],
        vec![x(ValuePattern::Exact("1".into()))],
        vec![x(ValuePattern::Exact("1".into())), y()],
        vec![y()],
    ];
    let q = |value: ValuePattern| vec![("q".into(), value)];
    let query: Vec<Vec<(Box<str>, ValuePattern)>> =
        vec![vec![], q(ValuePattern::Present), q(ValuePattern::Exact("1".into()))];
    let parts = (select(hosts), select(paths), select(methods), select(headers), select(query));
    parts.prop_map(|(host, path, methods, headers, query)| When {
        host,
        path,
        methods: methods.iter().map(|&method| method.into()).collect(),
        headers,
        query,
    })
}

proptest! {
    #[test]
    fn a_route_is_shadowed_when_an_earlier_one_takes_all_it_could_take(
        routes in vec(any_route(), 1..14),
    ) {
        let world = world();
        let taken = |when: &When| -> Vec<bool> { world.iter().map(|request| matches(when, request)).collect() };
        let taken: Vec<Vec<bool>> = routes.iter().map(taken).collect();
        let mut expect = Vec::new();
        for later in 0..routes.len() {
            let covers = |earlier: &usize| {
                let pairs = taken[*earlier].iter().zip(&taken[later]);
                pairs.into_iter().all(|(earlier, later)| *earlier || !later)
            };
            expect.extend((0..later).find(covers).map(|earlier| (later, earlier)));
        }
        let whens: Vec<Option<&When>> = routes.iter().map(Some).collect();
        prop_assert_eq!(shadowed(&whens), expect);
    }
}

#[test]
fn routes_that_could_not_be_compiled_are_passed_over() {
    let any = When {
        host: HostPattern::Any,
        path: PathPattern::Any,
        methods: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
    };
    assert_eq!(shadowed(&[None, Some(&any), None, Some(&any)]), [(3, 1)]);
}
