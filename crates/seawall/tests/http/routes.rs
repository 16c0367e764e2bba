//! Routes as a client meets them: which one takes a request, and what it makes of it.

use std::io;

use seawall_testkit::{Origin, RawClient, Response, Seawall};

use crate::setup::{Setup, code};

/// Sends `METHOD target` for `host` with further fields and gives the answer.
fn ask(
    seawall: &Seawall,
    method: &str,
    host: &str,
    target: &str,
    fields: &str,
) -> io::Result<Response> {
    let mut client = RawClient::connect(seawall.address("web"))?;
    client.send(format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n{fields}\r\n"))?;
    client.read_response_to(method)
}

/// Routes that each answer with their own name.
fn named(routes: &[(&str, &str)]) -> String {
    routes
        .iter()
        .map(|(name, when)| format!("[[route]]\nname = \"{name}\"\n{when}\nrespond = \"{name}\"\n"))
        .collect()
}

#[test]
fn the_first_route_whose_conditions_hold_takes_the_request() -> io::Result<()> {
    let seawall = Setup::alone()
        .with(&named(&[
            ("exact-host", "host = \"shop.test\"\npath = \"/only\""),
            ("wildcard", "host = \"*.shop.test\""),
            ("query", "path = \"/find\"\nmatch-query = { q = \"*\", lang = \"d e\" }"),
            ("header", "path = \"/api/*\"\nmatch-headers = { x-version = \"2\", accept = \"*\" }"),
            ("methods", "path = \"/api/*\"\nmethods = [\"POST\", \"DELETE\"]"),
            ("get", "path = \"/api/*\"\nmethods = [\"GET\"]"),
            ("exact", "path = \"/api\""),
            ("prefix", "path = \"/static/*\""),
            ("late", "host = \"shop.test\""),
        ]))
        .start()?;
    for (method, host, target, fields, expect) in [
        ("GET", "shop.test", "/only", "", "exact-host"),
        ("GET", "SHOP.test:8080", "/only", "", "exact-host"),
        ("GET", "shop.test.", "/only", "", "exact-host"),
        ("GET", "shop.test", "/other", "", "late"),
        ("GET", "shop.test", "/only/", "", "late"),
        ("GET", "a.shop.test", "/only", "", "wildcard"),
        ("GET", "a.b.SHOP.test", "/", "", "wildcard"),
        ("GET", "ashop.test", "/", "", ""),
        ("GET", "x", "/find?q=1&lang=d%20e", "", "query"),
        ("GET", "x", "/find?lang=d+e&q", "", "query"),
        ("GET", "x", "/find?lang=de&q=1", "", ""),
        ("GET", "x", "/find?q=1", "", ""),
        ("GET", "x", "/api/a", "x-version: 2\r\naccept: x\r\n", "header"),
        ("GET", "x", "/api/a", "x-version: 3\r\naccept: x\r\n", "get"),
        ("GET", "x", "/api/a", "x-version: 2\r\n", "get"),
        ("POST", "x", "/api/a", "", "methods"),
        ("DELETE", "x", "/api", "", "methods"),
        ("GET", "x", "/api", "", "get"),
        ("HEAD", "x", "/api/a", "", "get"),
        ("PUT", "x", "/api", "", "exact"),
        ("PUT", "x", "/api/a", "", ""),
        ("GET", "x", "/static", "", "prefix"),
        ("GET", "x", "/static/", "", "prefix"),
        ("GET", "x", "/static/a/b", "", "prefix"),
        ("GET", "x", "/statics", "", ""),
        ("GET", "x", "/", "", ""),
        ("OPTIONS", "shop.test", "*", "", "late"),
    ] {
        let response = ask(&seawall, method, host, target, fields)?;
        let found = match response.status {
            404 => String::new(),
            _ if method == "HEAD" => {
                assert_eq!(response.header("content-length"), Some("3"));
                "get".to_owned()
            }
            _ => response.text(),
        };
        assert_eq!(found, expect, "{method} {target} at {host} with {fields:?}");
    }
    Ok(())
}

#[test]
fn no_spelling_of_a_path_gets_past_a_route() -> io::Result<()> {
    let origin = Origin::responding(|request| Response::new(200, request.target.clone()))?;
    let seawall = Setup::before(&origin)
        .with("[[route]]\nname = \"no\"\npath = \"/admin/*\"\nrespond = { status = 403, body = \"no\" }")
        .start()?;
    for target in [
        "/admin",
        "/admin/x",
        "/%61dmin/x",
        "/%61%64%6d%69%6E",
        "/a/../admin/x",
        "/./admin",
        "/a/%2e%2E/admin/x",
        "/x/..;/admin/",
        "//admin/x",
        "/admin//x",
        "/admin%2Fx",
        "/%2Fadmin",
        "/admin;a=b/x",
        "/admin%3Ba/x",
        "/a/..%2fadmin",
        "/a%2f..%2fadmin",
        "\\admin",
        "/\\admin",
        "/admin\\x",
        "/admin%5Cx",
        "/admin/%00",
        "/admin%",
        "/admin#x",
    ] {
        let response = ask(&seawall, "GET", "test", target, "")?;
        assert!(
            matches!(response.status, 400 | 403),
            "{target}: {} {}",
            response.status,
            response.text()
        );
    }
    assert_eq!(origin.connections(), 0);
    for (target, expect) in [
        ("/admins", "/admins"),
        ("/a/%7Euser?x=%2e%2e/../admin", "/a/~user?x=%2e%2e/../admin"),
        ("/a/./b/../c", "/a/c"),
        ("/caf\u{e9}", "/caf%C3%A9"),
        ("/a//b", "/a//b"),
        ("/a%2fb", "/a%2Fb"),
        ("/a%2", ""),
    ] {
        let response = ask(&seawall, "GET", "test", target, "")?;
        match expect {
            "" => assert_eq!(response.status, 400, "{target}"),
            _ => assert_eq!(response.text(), expect, "{target}"),
        }
    }
    Ok(())
}

#[test]
fn a_path_with_two_readings_that_differ_is_refused() -> io::Result<()> {
    let seawall = Setup::alone()
        .with(&named(&[("inner", "path = \"/a/b/*\""), ("outer", "path = \"/*\"")]))
        .start()?;
    for (target, status) in
        [("/a%2Fb", 400), ("/a//b", 400), ("/a/b//c", 200), ("/x%2Fy", 200), ("/a;v=1/b", 400)]
    {
        let response = ask(&seawall, "GET", "test", target, "")?;
        assert_eq!(response.status, status, "{target}");
        if status == 400 {
            assert_eq!(code(&response), "ambiguous-path");
        }
    }
    Ok(())
}

#[test]
fn redirects_go_where_the_template_says_and_nowhere_else() -> io::Result<()> {
    let seawall = Setup::alone()
        .with(
            "[[route]]\nhost = \"old.test\"\nredirect = \"https://new.test{path}{query}\"\n\
             [[route]]\nhost = \"same.test\"\nredirect = { to = \"{scheme}://{host}/x{path}\", status = 302 }\n\
             [[route]]\nhost = \"path.test\"\nredirect = { to = \"{path}\", status = 307 }\n\
             [[route]]\nhost = \"secure.test\"\nredirect = { to = \"https://{host}{path}{query}\", status = 301 }\n\
             [[route]]\nredirect = { to = \"/new\", status = 303 }",
        )
        .start()?;
    for (host, target, status, location) in [
        ("old.test", "/a?b=c", 308, "https://new.test/a?b=c"),
        ("old.test", "//evil.test/a", 308, "https://new.test/evil.test/a"),
        ("same.test", "/a?b", 302, "http://same.test/x/a"),
        ("path.test", "//evil.test", 307, "/evil.test"),
        ("path.test", "///evil.test/a?b", 307, "/evil.test/a"),
        ("path.test", "/a//evil.test", 307, "/a//evil.test"),
        ("secure.test:80", "/?", 301, "https://secure.test:80/?"),
        ("x", "/whatever", 303, "/new"),
    ] {
        let response = ask(&seawall, "GET", host, target, "")?;
        assert_eq!(
            (response.status, response.header("location")),
            (status, Some(location)),
            "{host}{target}"
        );
        assert_eq!(response.header("content-length"), Some("0"));
    }
    // A `\` is a `/` to browsers.
    for target in
        ["/\\evil.test", "\\\\evil.test", "/%5Cevil.test", "/%2Fevil.test", "/%0d%0aset-cookie:a"]
    {
        let response = ask(&seawall, "GET", "path.test", target, "")?;
        let location = response.header("location").unwrap_or("/");
        let second = location.as_bytes().get(1).copied();
        assert!(!matches!(second, Some(b'/' | b'\\')), "{target}: {location}");
        assert_eq!(response.header("set-cookie"), None);
    }
    Ok(())
}

#[test]
fn prefixes_are_taken_off_and_put_on() -> io::Result<()> {
    let origin = Origin::responding(|request| Response::new(200, request.target.clone()))?;
    let seawall = Setup::before(&origin)
        .with(
            "[[route]]\npath = \"/api/*\"\nto = \"app\"\nstrip-prefix = \"/api\"\n\
             [[route]]\npath = \"/v1/*\"\nto = \"app\"\nstrip-prefix = \"/v1\"\nadd-prefix = \"/v2\"\n\
             [[route]]\npath = \"/add/*\"\nto = \"app\"\nadd-prefix = \"/more\"",
        )
        .start()?;
    for (target, expect) in [
        ("/api/a/b?c=/api", "/a/b?c=/api"),
        ("/api", "/"),
        ("/api/", "/"),
        ("/api?x", "/?x"),
        ("/v1/a", "/v2/a"),
        ("/v1", "/v2"),
        ("/v1/", "/v2/"),
        ("/add/a", "/more/add/a"),
        ("/other", "/other"),
    ] {
        assert_eq!(ask(&seawall, "GET", "test", target, "")?.text(), expect, "{target}");
    }
    // Else what is left would begin with two slashes, which is a host to some.
    assert_eq!(ask(&seawall, "GET", "test", "/api//evil.test", "")?.text(), "/evil.test");
    Ok(())
}

#[test]
fn respond_answers_without_a_server() -> io::Result<()> {
    let seawall = Setup::alone()
        .with(
            "[[route]]\npath = \"/robots.txt\"\nrespond = \"User-agent: *\\n\"\n\
             [[route]]\npath = \"/gone\"\nrespond = { status = 410 }\n\
             [[route]]\npath = \"/json\"\nrespond = { body = \"{}\", type = \"application/json\" }\n\
             [[route]]\npath = \"/edited\"\nrespond = \"x\"\nheaders.response.set = { x-a = \"{path}\" }",
        )
        .start()?;
    let mut client = seawall.connect()?;
    let robots = client.get("test", "/robots.txt")?;
    assert_eq!(robots.text(), "User-agent: *\n");
    assert_eq!(robots.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(robots.header("date").is_some());
    let gone = client.get("test", "/gone")?;
    assert_eq!(
        (gone.status, gone.header("content-length"), gone.header("content-type")),
        (410, Some("0"), None)
    );
    assert_eq!(client.get("test", "/json")?.header("content-type"), Some("application/json"));
    assert_eq!(client.get("test", "/edited")?.header("x-a"), Some("/edited"));
    assert_eq!(client.exchange(crate::setup::post("/json", "", "unread"))?.text(), "{}");
    assert_eq!(client.get("test", "/json")?.text(), "{}");
    Ok(())
}
