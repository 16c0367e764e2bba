//! Request lines, targets and hosts.

use super::*;

#[test]
fn host_is_there_once_and_is_a_host() {
    for (fields, expect) in [
        ("", Err(HostMissing)),
        ("X: y\r\n", Err(HostMissing)),
        ("Host: a\r\nHost: a\r\n", Err(HostRepeated)),
        ("Host: a\r\nX: y\r\nhost: b\r\n", Err(HostRepeated)),
        ("Host: a\r\nHost:\r\n", Err(HostRepeated)),
        ("Host:\r\n", Err(HostInvalid)),
        ("Host: \t\r\n", Err(HostInvalid)),
        ("Host: a b\r\n", Err(HostInvalid)),
        ("Host: a, b\r\n", Err(HostInvalid)),
        ("Host: a/b\r\n", Err(HostInvalid)),
        ("Host: a?b\r\n", Err(HostInvalid)),
        ("Host: a#b\r\n", Err(HostInvalid)),
        ("Host: a\\b\r\n", Err(HostInvalid)),
        ("Host: u@a\r\n", Err(HostInvalid)),
        ("Host: a@b:80\r\n", Err(HostInvalid)),
        ("Host: http://a\r\n", Err(HostInvalid)),
        ("Host: a:b\r\n", Err(HostInvalid)),
        ("Host: a:80:80\r\n", Err(HostInvalid)),
        ("Host: a:+80\r\n", Err(HostInvalid)),
        ("Host: a:80 \tb\r\n", Err(HostInvalid)),
        ("Host: a:65536\r\n", Err(HostInvalid)),
        ("Host: a:655360\r\n", Err(HostInvalid)),
        ("Host: ..\r\n", Err(HostInvalid)),
        ("Host: .a\r\n", Err(HostInvalid)),
        ("Host: a..b\r\n", Err(HostInvalid)),
        ("Host: :80\r\n", Err(HostInvalid)),
        ("Host: a%2eb\r\n", Err(HostInvalid)),
        ("Host: a%00\r\n", Err(HostInvalid)),
        ("Host: \u{e9}\r\n", Err(HostInvalid)),
        ("Host: a\"\r\n", Err(HostInvalid)),
        ("Host: <a>\r\n", Err(HostInvalid)),
        ("Host: [::1\r\n", Err(HostInvalid)),
        ("Host: ::1\r\n", Err(HostInvalid)),
        ("Host: [::1]a\r\n", Err(HostInvalid)),
        ("Host: [fe80::1%25eth0]\r\n", Err(HostInvalid)),
        ("Host: [127.0.0.1]\r\n", Err(HostInvalid)),
        ("Host: [v1.x]\r\n", Err(HostInvalid)),
        ("Host: A.Example\r\n", Ok("GET / @A.Example")),
        ("Host: a.example.:8080\r\n", Ok("GET / @a.example.:8080")),
        ("Host: 127.0.0.1:80\r\n", Ok("GET / @127.0.0.1:80")),
        ("Host: [::ffff:1.2.3.4]:80\r\n", Ok("GET / @[::ffff:1.2.3.4]:80")),
        ("Host: xn--bcher-kva.example\r\n", Ok("GET / @xn--bcher-kva.example")),
        ("Host: a_b\r\n", Ok("GET / @a_b")),
    ] {
        check(format!("GET / HTTP/1.1\r\n{fields}\r\n"), expect);
    }
    check(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(256)), Err(HostInvalid));
    check("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", Err(HostRepeated));
    check("GET / HTTP/1.0\r\nHost: a b\r\n\r\n", Err(HostInvalid));
}

#[test]
fn targets_have_one_of_four_forms() {
    for (target_text, expect) in [
        ("http://b/c?d", Ok("GET /c?d @b")),
        ("HTTP://b:81/c", Ok("GET /c @b:81")),
        ("https://b", Ok("GET / @b")),
        ("http://b?d", Ok("GET /?d @b")),
        ("http://[::1]:80/", Ok("GET / @[::1]:80")),
        ("http://b/../c", Err(AboveRoot)),
        ("http://b/%2e/c", Ok("GET /c @b")),
        ("http://", Err(Target)),
        ("http:///c", Err(Target)),
        ("http:/c", Err(Target)),
        ("http:c", Err(Target)),
        ("http://u@b/", Err(Target)),
        ("http://u:p@b/", Err(Target)),
        ("http://b@c/", Err(Target)),
        ("http://b:x/", Err(Target)),
        ("http://b\\@c/", Err(Target)),
        ("http://b,c/", Err(Target)),
        ("http://b%2fc/", Err(Target)),
        ("ftp://b/c", Err(Target)),
        ("ws://b/c", Err(Target)),
        ("//b/c", Ok("GET //b/c @a")),
        ("b/c", Err(Target)),
        ("b", Err(Target)),
        ("b:80", Err(Target)),
        ("*", Err(Target)),
        ("**", Err(Target)),
        ("?b", Err(Target)),
        ("\\b", Err(Target)),
        ("/b#c", Err(Fragment)),
        ("/#", Err(Fragment)),
        ("/b?c#d", Err(Fragment)),
        ("http://b/#c", Err(Fragment)),
        ("#", Err(Fragment)),
    ] {
        check(target(target_text), expect);
    }
    for (line, expect) in [
        ("OPTIONS *", Ok("OPTIONS * @a")),
        ("OPTIONS http://b", Ok("OPTIONS * @b")),
        ("OPTIONS http://b/", Ok("OPTIONS / @b")),
        ("OPTIONS *?x", Err(Target)),
        ("OPTIONS *x", Err(Target)),
        ("options *", Err(MethodCase)),
        ("get /", Err(MethodCase)),
        ("Post /", Err(MethodCase)),
        ("connect b:443", Err(MethodCase)),
        ("m-search /", Ok("m-search / @a")),
        ("getx /", Ok("getx / @a")),
        ("HEAD *", Err(Target)),
        ("POST *", Err(Target)),
        ("CONNECT b:443", Ok("CONNECT b:443 @b:443")),
        ("CONNECT [::1]:443", Ok("CONNECT [::1]:443 @[::1]:443")),
        ("CONNECT u@b:443", Err(Target)),
        ("CONNECT http://b/", Err(Target)),
        ("CONNECT *", Err(Target)),
        ("CONNECT /", Err(Target)),
        ("CONNECT b:443/", Err(Target)),
    ] {
        check(format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n"), expect);
    }
    // The target wins over Host, but Host is still one host.
    check("GET http://b/ HTTP/1.1\r\n\r\n", Err(HostMissing));
    check("GET http://b/ HTTP/1.1\r\nHost: c d\r\n\r\n", Err(HostInvalid));
    check("GET http://b/ HTTP/1.1\r\nHost: b\r\nHost: b\r\n\r\n", Err(HostRepeated));
    check("GET http://b/ HTTP/1.0\r\n\r\n", Ok("GET / @b 1.0"));
}

#[test]
fn targets_come_into_normal_form_or_are_refused() {
    for (target_text, expect) in [
        ("/a/./b/../c", Ok("GET /a/c @a")),
        ("/%61%2f%7E?%61%2f", Ok("GET /a%2F~?%61%2f @a")),
        ("/caf\u{e9}?\u{e9}", Ok("GET /caf%C3%A9?%C3%A9 @a")),
        ("/a\"b<c>d", Ok("GET /a%22b%3Cc%3Ed @a")),
        ("/{a}|b^c[d]`e", Ok("GET /%7Ba%7D%7Cb%5Ec%5Bd%5D%60e @a")),
        ("/%40scope%2Fa%2Bb%2b+;%3D", Ok("GET /@scope%2Fa%2Bb%2B+;= @a")),
        ("/?a/../b", Ok("GET /?a/../b @a")),
        ("/?%", Ok("GET /?% @a")),
        ("/?%00", Ok("GET /?%00 @a")),
        ("/a?b?c", Ok("GET /a?b?c @a")),
        ("/..", Err(AboveRoot)),
        ("/a/%2e%2e/..", Err(AboveRoot)),
        ("/a/..%2Fadmin", Err(AmbiguousPath)),
        ("/a/..;/admin", Err(AmbiguousPath)),
        ("/a\\..\\admin", Err(AmbiguousPath)),
        ("/a%2Fb//c;d", Ok("GET /a%2Fb//c;d @a")),
        ("/%", Err(PercentEncoding)),
        ("/%u0041", Err(PercentEncoding)),
        ("/%00", Err(EncodedNul)),
    ] {
        check(target(target_text), expect);
    }
    for byte in (0..=b' ').chain([0x7f]) {
        let expect = match byte {
            b'\r' => BareCr,
            _ => RequestLine,
        };
        for place in
            ["/#", "/a#b", "/a?b#c", "http://b#/", "#/", "/a/path/of/more/than/sixteen#bytes"]
        {
            let text: Vec<u8> = place.bytes().map(|b| if b == b'#' { byte } else { b }).collect();
            let head = [b"GET ", &text[..], b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
            // A CR is refused before it is known whether an LF follows.
            check_class(head, Err(expect));
        }
    }
    // Text that is not UTF-8 is refused: which characters it means, no two servers agree on.
    for bytes in [&b"/\xe9"[..], b"/\xc0\xaf", b"/\xc0\xae\xc0\xae/", b"/?\xff", b"/\xed\xa0\x80"] {
        check([b"GET ", bytes, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat(), Err(RequestLine));
    }
}

#[test]
fn request_lines_have_three_words_and_a_known_version() {
    for (line, expect) in [
        ("GET / HTTP/1.1", Ok("GET / @a")),
        ("GET / HTTP/1.2", Err(Version)),
        ("GET / HTTP/2.0", Err(Version)),
        ("GET / HTTP/0.9", Err(Version)),
        ("GET / HTTP/3", Err(Version)),
        ("GET / HTTP/1.12", Err(Version)),
        ("GET / HTTP/11.1", Err(Version)),
        ("PRI * HTTP/2.0", Err(Version)),
        ("GET / http/1.1", Err(RequestLine)),
        ("GET / Http/1.1", Err(RequestLine)),
        ("GET / HTTP/", Err(RequestLine)),
        ("GET / HTTP/1.", Err(Version)),
        ("GET / HTTP/1.x", Err(RequestLine)),
        ("GET / HTTP/-1.1", Err(RequestLine)),
        ("GET / HTTPS/1.1", Err(RequestLine)),
        ("GET / HTTP /1.1", Err(RequestLine)),
        ("GET / HTTP/1.1 ", Err(RequestLine)),
        ("GET / HTTP/1.1\t", Err(RequestLine)),
        ("GET / HTTP/1.1 HTTP/1.1", Err(RequestLine)),
        ("GET / x HTTP/1.1", Err(RequestLine)),
        ("GET /a b HTTP/1.1", Err(RequestLine)),
        ("GET  / HTTP/1.1", Err(RequestLine)),
        ("GET /  HTTP/1.1", Err(RequestLine)),
        ("GET\t/ HTTP/1.1", Err(RequestLine)),
        ("GET /\tHTTP/1.1", Err(RequestLine)),
        (" GET / HTTP/1.1", Err(RequestLine)),
        ("\tGET / HTTP/1.1", Err(RequestLine)),
        ("GET /", Err(RequestLine)),
        ("GET / ", Err(RequestLine)),
        ("GET", Err(RequestLine)),
        ("GET HTTP/1.1", Err(RequestLine)),
        ("GET  HTTP/1.1", Err(RequestLine)),
        (" ", Err(RequestLine)),
        ("G@T / HTTP/1.1", Err(RequestLine)),
        ("G\u{e9}T / HTTP/1.1", Err(RequestLine)),
        ("GET\0 / HTTP/1.1", Err(RequestLine)),
        ("GET\u{b}/ HTTP/1.1", Err(RequestLine)),
        ("\u{feff}GET / HTTP/1.1", Err(RequestLine)),
        ("GET:/ HTTP/1.1", Err(RequestLine)),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}", Err(RequestLine)),
        ("SSH-2.0-OpenSSH_9.6", Err(RequestLine)),
        ("HTTP/1.1 200 OK", Err(RequestLine)),
    ] {
        let input = format!("{line}\r\nHost: a\r\n\r\n");
        // What is no request line is refused as soon as it cannot become one, which may be before
        // the version number that would make it a `version` is there.
        if expect == Err(RequestLine) || expect == Err(Version) {
            check_class(input, expect);
        } else {
            check(input, expect);
        }
    }
}
