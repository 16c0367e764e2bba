//! The cache over the admin API: what is asked arrives as it is meant, and what is wrong does not.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use seawall_admin::cache::{Cache, Entrance, Explain, Fleet, Push, Target, warm::Warming};
use seawall_admin::{Admin, Ask, Refused, view};
use seawall_telemetry::Metrics;
use seawall_telemetry::metrics::{CacheOutcome, CacheUsage, TierUsage};
use seawall_testkit::{Origin, PATIENCE, RawClient, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

#[test]
fn a_purge_arrives_whole() -> io::Result<()> {
    let api = Api::start(None)?;
    let body = json!({"urls": ["http://A/x?y"], "tags": ["a", "b"], "hard": true});
    let response = api.send("POST", "/api/cache/purge", "", &body.to_string())?;
    assert_eq!(response.status, 200, "{}", response.text());
    let mut purged: Value = serde_json::from_slice(&response.body)?;
    let took = purged.as_object_mut().and_then(|all| all.remove("took_ms"));
    assert!(took.is_some_and(|took| took.is_number()));
    let expect = json!({"mode": "hard", "urls": 1, "tags": 2, "prefixes": 0, "hosts": 0, "everything": false, "fleet": "told"});
    assert_eq!(purged, expect);
    let done = api.done();
    assert_eq!(done, ["purge hard http://a/x?y #a #b"]);
    Ok(())
}

#[test]
fn what_is_wrong_changes_nothing() -> io::Result<()> {
    let api = Api::start(None)?;
    let long = "x".repeat((4 << 20) + 1);
    for (method, target, fields, body, status, part) in [
        ("POST", "/api/cache/purge", "", "{}", 422, "nothing is to be purged"),
        ("POST", "/api/cache/purge", "", "{\"url\": \"x\"}", 422, "unknown field"),
        ("POST", "/api/cache/purge", "", &long, 413, "4194304"),
        (
            "POST",
            "/api/cache/purge",
            "origin: http://evil.test\r\n",
            "{\"everything\": true}",
            403,
            "Origin",
        ),
        ("GET", "/api/cache/purge", "", "", 405, ""),
        ("GET", "/api/cache/explain", "", "", 422, "url is missing"),
        ("GET", "/api/cache/explain?url=/x", "", "", 422, "url does not begin with http"),
        (
            "GET",
            "/api/cache/explain?url=http://a/&url=http://b/",
            "",
            "",
            422,
            "url is there more than once",
        ),
        ("GET", "/api/cache/explain?url=http://a/&method=POST", "", "", 422, "method is not GET"),
        ("GET", "/api/cache/explain?url=http://a/&header=x", "", "", 422, "header has no `:`"),
        ("GET", "/api/cache/explain?url=http://a/&heder=x:y", "", "", 422, "`heder` is not known"),
        ("GET", "/api/cache/top?count=0", "", "", 422, "count is not a number"),
        ("PUT", "/api/cache/objects?url=http://a/", "set-cookie: a=b\r\n", "x", 422, "Set-Cookie"),
        ("PUT", "/api/cache/objects?url=http://a/&status=304", "", "x", 422, "status is not"),
        (
            "PUT",
            "/api/cache/objects?url=http://a/",
            "origin: http://evil.test\r\n",
            "x",
            403,
            "Origin",
        ),
        ("POST", "/api/cache/warm", "", "{}", 422, "names nothing"),
        ("POST", "/api/cache/warm", "", "{\"urls\": [\"x\"]}", 422, "urls[0]"),
        ("POST", "/api/cache/warm", "", "{\"urls\": [\"http://a/\"], \"rate\": 0}", 422, "rate"),
        (
            "POST",
            "/api/cache/warm",
            "",
            "{\"urls\": [\"http://a/\"], \"concurrency\": 65}",
            422,
            "concurrency",
        ),
        (
            "POST",
            "/api/cache/warm",
            "",
            "{\"urls\": [\"http://a/\"], \"headers\": {\"host\": \"b\"}}",
            422,
            "headers",
        ),
        ("POST", "/api/cache/warm", "", "{\"urls\": [\"http://a/\"]}", 409, "no listener"),
        ("DELETE", "/api/cache/warm", "origin: http://evil.test\r\n", "", 403, "Origin"),
    ] {
        let response = api.send(method, target, fields, body)?;
        assert_eq!(response.status, status, "{method} {target} {}", response.text());
        assert!(response.text().contains(part), "{method} {target}: {}", response.text());
    }
    assert_eq!(api.done(), [""; 0]);
    Ok(())
}

#[test]
fn without_a_cache_there_is_nothing_to_ask() -> io::Result<()> {
    let api = Api::without_cache()?;
    for (method, target) in [
        ("GET", "/api/cache"),
        ("GET", "/api/cache/top"),
        ("GET", "/api/cache/warm"),
        ("GET", "/api/cache/explain?url=http://a/"),
        ("POST", "/api/cache/purge"),
        ("PUT", "/api/cache/objects?url=http://a/"),
    ] {
        let response = api.send(method, target, "", "{}")?;
        assert_eq!(response.status, 409, "{method} {target}");
        assert!(response.text().contains("add `cache` to a route"), "{}", response.text());
    }
    Ok(())
}

#[test]
fn what_is_held_is_told() -> io::Result<()> {
    let api = Api::start(None)?;
    let state: Value = serde_json::from_slice(&api.send("GET", "/api/cache", "", "")?.body)?;
    assert_eq!(state["store"]["memory"]["bytes"], 5);
    assert_eq!(state["store"]["disk"], Value::Null);
    let route = &state["routes"][0];
    assert_eq!((&route["route"], &route["requests"]), (&json!("app"), &json!(4)));
    assert_eq!(route["hit_ratio"], 0.75);
    assert_eq!((&route["outcomes"]["hit"], &route["outcomes"]["miss"]), (&json!(2), &json!(1)));
    let top: Value =
        serde_json::from_slice(&api.send("GET", "/api/cache/top?count=7", "", "")?.body)?;
    assert_eq!(top["keys"][0]["uses"], 7);
    Ok(())
}

#[test]
fn an_explanation_is_of_one_request() -> io::Result<()> {
    let api = Api::start(None)?;
    let target = "/api/cache/explain?url=https://a/%3Fq%3D1&method=HEAD&header=Accept-Language:de&header=x:y";
    let response = api.send("GET", target, "", "")?;
    let explained: Value = serde_json::from_slice(&response.body)?;
    assert_eq!(explained["outcome"], "miss");
    assert_eq!(api.done(), ["explain true https://a/?q=1 accept-language=de x=y"]);
    Ok(())
}

#[test]
fn an_answer_is_pushed_with_its_own_fields() -> io::Result<()> {
    let api = Api::start(None)?;
    let target = "/api/cache/objects?url=http://a/x&status=404&header=accept-language:de";
    let fields = "content-type: text/html\r\ncache-control: max-age=60\r\naccept: */*\r\n";
    let response = api.send("PUT", target, fields, "gone")?;
    assert_eq!(response.status, 200, "{}", response.text());
    let expect = "push 404 http://a/x accept-language=de content-type=text/html cache-control=max-age=60 gone";
    assert_eq!(api.done(), [expect]);
    Ok(())
}

#[test]
fn a_list_is_warmed_over_the_listener() -> io::Result<()> {
    let origin = Origin::responding(|request| match request.target.as_str() {
        "/broken" => Response::new(500, "no"),
        "/there" => Response::new(200, "x").with("cache-status", "far; hit, Seawall; hit; ttl=5"),
        _ => Response::new(200, "x".repeat(200_000))
            .with("cache-status", "Seawall; fwd=miss; stored"),
    })?;
    let api = Api::start(Some(Entrance {
        address: origin.address(),
        believed: false,
        proxy_header: false,
        sign: "0123",
    }))?;
    assert_eq!(api.send("GET", "/api/cache/warm", "", "")?.text(), "null\n");
    let urls = [
        "http://Shop.test/a",
        "http://shop.test:8080/b?c",
        "http://shop.test/there",
        "http://shop.test/broken",
    ];
    let body = json!({"urls": urls, "rate": 10_000, "concurrency": 1, "headers": {"Accept-Language": "de"}});
    let begun = api.send("POST", "/api/cache/warm", "", &body.to_string())?;
    assert_eq!(begun.status, 202, "{}", begun.text());
    let ended = api.warmed()?;
    let numbers = ["total", "done", "failed", "hits", "stored"].map(|key| ended[key].as_u64());
    assert_eq!(numbers, [4, 4, 1, 1, 2].map(Some), "{ended}");
    assert_eq!(ended["outcome"], "done");
    assert_eq!(
        ended["failures"],
        json!([{"url": "http://shop.test/broken", "why": "was answered 500"}])
    );
    assert_eq!(origin.connections(), 1, "the connection is kept");
    let received = origin.received(0);
    for part in [
        "GET /b?c HTTP/1.1\r\nhost: shop.test:8080\r\n",
        "accept-language: de\r\n",
        "user-agent: seawall-warm/",
        "seawall-reported: 0123\r\n",
    ] {
        assert!(received.contains(part), "{received}");
    }
    assert!(!received.contains("x-forwarded-proto"), "{received}");
    Ok(())
}

#[test]
fn https_needs_trust() -> io::Result<()> {
    for believed in [false, true] {
        let origin = Origin::always("x")?;
        let entrance =
            Entrance { address: origin.address(), believed, proxy_header: believed, sign: "" };
        let api = Api::start(Some(entrance))?;
        let body = json!({"urls": ["https://shop.test/"]}).to_string();
        let response = api.send("POST", "/api/cache/warm", "", &body)?;
        if !believed {
            assert_eq!(response.status, 409, "{}", response.text());
            assert!(response.text().contains("trust = [\\\"127.0.0.1\\\"]"), "{}", response.text());
            continue;
        }
        assert_eq!(response.status, 202, "{}", response.text());
        api.warmed()?;
        let received = origin.received(0);
        assert!(received.starts_with("PROXY UNKNOWN\r\nGET / "), "{received}");
    }
    Ok(())
}

#[test]
fn a_sitemap_is_asked_for_in_the_same_way() -> io::Result<()> {
    let origin = Origin::responding(|request| match request.target.as_str() {
        "/sitemap.xml" => Response::new(
            200,
            "<sitemapindex><sitemap><loc>http://a/1.xml</loc></sitemap><sitemap><loc>http://a/2.txt</loc></sitemap></sitemapindex>",
        ),
        "/1.xml" => Response::new(
            200,
            "<urlset><url><loc>http://a/x?a&amp;b</loc></url><url><loc>nonsense</loc></url></urlset>",
        ),
        "/2.txt" => Response::new(200, "http://a/y\nhttps://a/z\n"),
        "/gone.xml" => Response::new(404, ""),
        _ => Response::new(200, "page"),
    })?;
    let entrance =
        Entrance { address: origin.address(), believed: false, proxy_header: false, sign: "" };
    let api = Api::start(Some(entrance))?;
    let body = json!({"sitemap": "http://a/sitemap.xml", "rate": 1000}).to_string();
    assert_eq!(api.send("POST", "/api/cache/warm", "", &body)?.status, 202);
    let ended = api.warmed()?;
    let numbers = ["total", "done", "failed"].map(|key| ended[key].as_u64());
    assert_eq!(numbers, [3, 3, 1].map(Some), "{ended}");
    assert_eq!(ended["failures"][0]["url"], "https://a/z");
    let seen: String = (0..origin.connections()).map(|at| origin.received(at)).collect();
    for target in ["GET /x?a&b ", "GET /y "] {
        assert!(seen.contains(target), "{seen}");
    }
    let body = json!({"sitemap": "http://a/gone.xml"}).to_string();
    assert_eq!(api.send("POST", "/api/cache/warm", "", &body)?.status, 202);
    let ended = api.warmed()?;
    assert_eq!(ended["outcome"], "failed");
    assert_eq!(ended["problem"], "the sitemap http://a/gone.xml was answered 404");
    Ok(())
}

#[test]
fn warming_is_stopped_and_one_at_a_time() -> io::Result<()> {
    let origin = Origin::silent()?;
    let entrance =
        Entrance { address: origin.address(), believed: false, proxy_header: false, sign: "" };
    let api = Api::start(Some(entrance))?;
    let body =
        json!({"urls": ["http://a/1", "http://a/2", "http://a/3"], "concurrency": 2, "rate": 1000})
            .to_string();
    assert_eq!(api.send("POST", "/api/cache/warm", "", &body)?.status, 202);
    origin.wait_for_connections(2)?;
    let again = api.send("POST", "/api/cache/warm", "", &body)?;
    assert_eq!(again.status, 409, "{}", again.text());
    let stopped = api.send("DELETE", "/api/cache/warm", "", "")?;
    let stopped: Value = serde_json::from_slice(&stopped.body)?;
    assert_eq!((&stopped["outcome"], &stopped["done"]), (&json!("stopped"), &json!(0)));
    origin.wait_until_idle()?;
    assert_eq!(api.send("POST", "/api/cache/warm", "", &body)?.status, 202);
    Ok(())
}

/// An admin API whose cache writes down what it was asked to do.
struct Api {
    address: SocketAddr,
    done: Arc<Mutex<Vec<String>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Api {
    fn start(entrance: Option<Entrance>) -> io::Result<Api> {
        let done: Arc<Mutex<Vec<String>>> = Arc::default();
        Api::serve(Some(cache(&done)), entrance, done)
    }

    fn without_cache() -> io::Result<Api> {
        Api::serve(None, None, Arc::default())
    }

    fn serve(
        cache: Option<Cache>,
        entrance: Option<Entrance>,
        done: Arc<Mutex<Vec<String>>>,
    ) -> io::Result<Api> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let (asks, mut asked) = mpsc::channel(1);
        let admin = Admin {
            metrics: Arc::new(String::new),
            ready: Arc::new(AtomicBool::new(true)),
            token: None,
            cache,
            asks,
        };
        runtime.spawn(seawall_admin::serve(listener, admin));
        runtime.spawn(async move {
            while let Some(ask) = asked.recv().await {
                if let Ask::Entrance(answer) = ask {
                    let _ = answer.send(entrance);
                }
            }
        });
        Ok(Api { address, done, _runtime: runtime })
    }

    fn send(&self, method: &str, target: &str, fields: &str, body: &str) -> io::Result<Response> {
        let mut client = RawClient::connect(self.address)?;
        client.exchange(format!(
            "{method} {target} HTTP/1.1\r\nhost: admin\r\ncontent-length: {}\r\n{fields}\r\n{body}",
            body.len()
        ))
    }

    fn done(&self) -> Vec<String> {
        self.done.lock().expect("no panic").clone()
    }

    /// How warming has ended.
    fn warmed(&self) -> io::Result<Value> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let state: Value =
                serde_json::from_slice(&self.send("GET", "/api/cache/warm", "", "")?.body)?;
            if state["running"] == false {
                return Ok(state);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

fn cache(done: &Arc<Mutex<Vec<String>>>) -> Cache {
    let metrics = Arc::new(Metrics::new(1, vec![]));
    let cells = metrics.cache(&"app".into());
    for outcome in [CacheOutcome::Hit, CacheOutcome::Hit, CacheOutcome::Stale, CacheOutcome::Miss] {
        cells.of(0).count(outcome);
    }
    metrics.count_cache(|| {
        Some(CacheUsage {
            memory: TierUsage { bytes: 5, ..TierUsage::default() },
            ..CacheUsage::default()
        })
    });
    let note = |text: String, done: &Arc<Mutex<Vec<String>>>| {
        done.lock().expect("no panic").push(text);
    };
    let pairs = |pairs: Vec<(String, String)>| {
        pairs.into_iter().map(|(name, value)| format!(" {name}={value}")).collect::<String>()
    };
    Cache {
        metrics,
        purge: Arc::new({
            let done = done.clone();
            move |purge| {
                let mut text = format!("purge {}", if purge.hard { "hard" } else { "soft" });
                for target in purge.targets {
                    text += &match target {
                        Target::Url(url) => format!(" {url}"),
                        Target::Tag(tag) => format!(" #{tag}"),
                        other => format!(" {other:?}"),
                    };
                }
                note(text, &done);
                Box::pin(async { Ok(Fleet::Told) })
            }
        }),
        top: Arc::new(|count| {
            Box::pin(async move {
                let key = view::CacheKey { key: "k".into(), uses: count as u64, bytes: 1 };
                Ok(view::CacheTop { keys: vec![key], tags: vec![] })
            })
        }),
        explain: Arc::new({
            let done = done.clone();
            move |Explain { head, url, fields }| {
                note(format!("explain {head} {url}{}", pairs(fields)), &done);
                Box::pin(async move {
                    Ok(view::Explained {
                        url: url.to_string(),
                        route: None,
                        key: None,
                        outcome: "miss",
                        steps: vec![],
                    })
                })
            }
        }),
        push: Arc::new({
            let done = done.clone();
            move |Push { url, request, status, fields, body }| {
                let fields = fields
                    .into_iter()
                    .map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()));
                let (request, fields) = (pairs(request), pairs(fields.collect()));
                let body = String::from_utf8_lossy(&body).into_owned();
                note(format!("push {status} {url}{request}{fields} {body}"), &done);
                Box::pin(async {
                    Ok::<_, Refused>(view::Pushed {
                        stored: true,
                        key: None,
                        fresh_seconds: Some(60.0),
                        reason: None,
                    })
                })
            }
        }),
        warming: Warming::default(),
    }
}
