//! Whatever the text, the loader answers: never a panic, and always problems that can be shown.
//! `PROPTEST_CASES` sets how many texts are tried.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use seawall_config::plan::Protocol;
use seawall_config::{Problems, Severity, Surroundings, load, load_bytes, load_bytes_with};

const EXAMPLES: &[&str] = &[
    include_str!("../../../examples/minimal.toml"),
    include_str!("../../../examples/two-apps.toml"),
    include_str!("../../../examples/limits.toml"),
    include_str!("problems/many.toml"),
    include_str!("every_key.toml"),
];

/// Pieces that mean something to TOML or to us.
const PIECES: &[&str] = &[
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ".",
    ",",
    "\n",
    "\r\n",
    " ",
    "\t",
    "\"",
    "'",
    "\"\"\"",
    "'''",
    "\\",
    "#",
    "${",
    "${A",
    "${A}",
    "$${",
    ":-",
    "{host}",
    "{{",
    "}}",
    "/*",
    "/",
    "..",
    "%2F",
    "%",
    "*",
    "*.",
    "server",
    "state",
    "redis",
    "cache",
    "disk",
    "ttl",
    "key",
    "query",
    "except",
    "version",
    "coalesce",
    "redis://",
    "listen",
    "upstream",
    "route",
    "web",
    "app",
    "address",
    "servers",
    "to",
    "host",
    "path",
    "methods",
    "headers",
    "request",
    "set",
    "remove",
    "redirect",
    "respond",
    "status",
    "limits",
    "timeouts",
    "strip-prefix",
    "trust",
    "tcp",
    "zone",
    "balance",
    "hash",
    "by",
    "sticky",
    "health",
    "eject",
    "breaker",
    "max-in-flight",
    "queue",
    "proxy-protocol",
    "retry",
    "hedge",
    "fallback",
    "on",
    "file",
    "unanswered",
    "5xx",
    "50%",
    "10/s",
    "p95",
    "srv:",
    "0",
    "1",
    "-1",
    "1e9",
    "0x1F",
    "1_000",
    "10s",
    "10 s",
    "32KiB",
    "true",
    "1979-05-27",
    "nan",
    "GET",
    "http://",
    "127.0.0.1:80",
    ":80",
    "[::1]:80",
    "10.0.0.0/8",
    "é",
    "\u{1f30a}",
    "\u{0}",
    "\u{feff}",
    "\u{202e}",
];

#[derive(Debug, Clone)]
enum Edit {
    Remove(Index, usize),
    Insert(Index, &'static str),
    Duplicate(Index, usize),
    Swap(Index, Index),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        (any::<Index>(), 1..40usize).prop_map(|(at, count)| Edit::Remove(at, count)),
        (any::<Index>(), select(PIECES)).prop_map(|(at, piece)| Edit::Insert(at, piece)),
        (any::<Index>(), 1..80usize).prop_map(|(at, count)| Edit::Duplicate(at, count)),
        (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Edit::Swap(a, b)),
    ];
    vec(edit, 1..8)
}

fn apply(text: &str, edits: &[Edit]) -> String {
    let mut text: Vec<char> = text.chars().collect();
    for edit in edits {
        let length = text.len() + 1;
        match edit {
            Edit::Remove(at, count) => {
                let at = at.index(length);
                let end = (at + count).min(text.len());
                text.drain(at..end);
            }
            Edit::Insert(at, piece) => {
                let at = at.index(length);
                text.splice(at..at, piece.chars());
            }
            Edit::Duplicate(at, count) => {
                let at = at.index(length);
                let copy: Vec<char> = text[at..(at + count).min(text.len())].to_vec();
                text.splice(at..at, copy);
            }
            Edit::Swap(a, b) if !text.is_empty() => {
                let (a, b) = (a.index(text.len()), b.index(text.len()));
                text.swap(a, b);
            }
            Edit::Swap(..) => {}
        }
    }
    text.into_iter().collect()
}

/// Loads `text` and checks what must hold of the answer whatever the text.
fn check(text: &str) -> Result<(), TestCaseError> {
    let env = |name: &str| (name == "A").then(|| "${B}\"\n{}".to_owned());
    let around = Surroundings {
        read: Some(&|path, most| match path.as_os_str().len() {
            0..=3 => Err(std::io::ErrorKind::NotFound.into()),
            length => Ok(vec![b'x'; length.min(most)]),
        }),
        codes: &[("connect-failed", 502)],
        ..Surroundings::variables(&env)
    };
    match load_bytes_with(text.as_bytes(), "f", &around) {
        Ok(loaded) => {
            prop_assert_eq!(loaded.warnings.errors(), 0);
            let plan = &loaded.plan;
            let http = plan.listeners.iter().any(|listener| listener.protocol == Protocol::Http);
            prop_assert!(!plan.listeners.is_empty());
            prop_assert!(!http || !plan.routes.is_empty());
            check_problems(&loaded.warnings, text)?;
            // A plan does not depend on anything but its text.
            let again = load_bytes_with(text.as_bytes(), "f", &around);
            prop_assert_eq!(again.as_ref(), Ok(&loaded));
        }
        Err(problems) => {
            prop_assert!(problems.errors() > 0 || problems.dropped() > 0);
            check_problems(&problems, text)?;
        }
    }
    Ok(())
}

fn check_problems(problems: &Problems, text: &str) -> Result<(), TestCaseError> {
    let lines: Vec<&str> = text.split('\n').collect();
    let mut last = (0, 0);
    for problem in problems {
        let place = (problem.line(), problem.column());
        prop_assert!(last <= place, "{:?} after {:?}", place, last);
        last = place;
        let line = lines.get(problem.line() - 1);
        let width = line.map_or(0, |line| line.chars().count());
        prop_assert!(
            line.is_some() && (1..=width + 1).contains(&problem.column()),
            "{:?}",
            problem
        );
        prop_assert!(!problem.message().is_empty());
        let shown = [Some(problem.message()), problem.excerpt()];
        for c in shown.into_iter().flatten().flat_map(str::chars) {
            prop_assert!(!c.is_control(), "{:?}", problem);
        }
        prop_assert!(matches!(problem.severity(), Severity::Error | Severity::Warning));
    }
    prop_assert_eq!(problems.render(false), problems.to_string());
    prop_assert!(problems.render(true).len() >= problems.to_string().len());
    Ok(())
}

proptest! {
    #[test]
    fn any_text(text in any::<String>()) {
        check(&text)?;
    }

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..200)) {
        if let Err(problems) = load_bytes(&bytes, "f", &|_| None) {
            prop_assert!(problems.errors() > 0);
            prop_assert!(!problems.to_string().is_empty());
        }
    }

    #[test]
    fn any_pieces(pieces in vec(select(PIECES), 0..60)) {
        check(&pieces.concat())?;
    }

    #[test]
    fn any_edit_of_a_file(example in select(EXAMPLES), edits in edits()) {
        check(&apply(example, &edits))?;
    }

    #[test]
    fn any_value_of_a_key(
        key in select(&[
            "server.workers", "server.admin", "server.admin-token", "server.drain", "server.access-log", "server.trust",
            "server.resolver", "server.zone", "listen.a.address", "listen.a.limits", "listen.a.tcp",
            "listen.a.proxy-protocol", "upstream.a.servers", "upstream.a.servers-file",
            "upstream.a.balance", "upstream.a.hash", "upstream.a.sticky", "upstream.a.panic",
            "upstream.a.health", "upstream.a.health.status", "upstream.a.health.host",
            "upstream.a.eject", "upstream.a.breaker", "upstream.a.max-in-flight",
            "upstream.a.queue", "upstream.a.proxy-protocol", "route",
        ][..]),
        value in "\\PC{0,40}",
    ) {
        check(&format!("{key} = '''{value}'''\n"))?;
        check(&format!("{key} = ['''{value}''']\n"))?;
        check(&format!("{key} = {value}\n"))?;
    }

    #[test]
    fn any_value_of_a_route(
        key in select(&[
            "name", "host", "path", "to", "redirect", "respond", "strip-prefix", "add-prefix", "timeout",
            "retry", "retry.on", "retry.floor", "retry.budget", "hedge", "hedge.after", "fallback", "fallback.on",
        ][..]),
        value in "\\PC{0,40}",
    ) {
        let start = "[listen.a]\naddress = ':0'\n[upstream.app]\nservers = ['a:1']\n[[route]]\n";
        check(&format!("{start}{key} = '''{value}'''\n"))?;
        check(&format!("{start}to = 'app'\n{key} = '''{value}'''\n"))?;
        check(&format!("{start}to = 'app'\n{key} = ['''{value}''']\n"))?;
        check(&format!("[listen.a]\naddress = ':0'\n[[route]]\nredirect = '/'\nmatch-query = {{ '{value}' = '1' }}\n"))?;
    }

    #[test]
    fn good_files_load(
        listeners in 1..4usize,
        upstreams in vec((vec((0..255u8, 1..1001u32), 1..6), any::<bool>(), 1..600u64), 1..5),
        routes in vec((0..4u8, any::<Index>(), "[a-z]{1,8}", 1..9u64), 1..20),
    ) {
        let mut file = String::new();
        for n in 0..listeners {
            file.push_str(&format!("[listen.l{n}]\naddress = \"127.0.0.{}:80\"\n", n + 1));
        }
        for (n, (servers, robin, seconds)) in upstreams.iter().enumerate() {
            let balance = if *robin { "round-robin" } else { "two-choices" };
            file.push_str(&format!(
                "[upstream.u{n}]\nbalance = \"{balance}\"\nconnect-timeout = \"{seconds}s\"\nservers = ["
            ));
            for (m, (octet, weight)) in servers.iter().enumerate() {
                file.push_str(&format!("{{ address = \"10.0.{m}.{octet}:81\", weight = {weight} }}, "));
            }
            file.push_str("]\n");
        }
        for (n, (action, upstream, word, minutes)) in routes.iter().enumerate() {
            let upstream = upstream.index(upstreams.len());
            let action = match action {
                0 => format!("to = \"u{upstream}\"\ntimeout = \"{minutes}m\"\nstrip-prefix = \"/{n}\"\n"),
                1 => format!("to = \"u{upstream}\"\nadd-prefix = \"/{word}\"\n"),
                2 => format!("redirect = \"https://{word}.example{{path}}{{query}}\"\n"),
                _ => format!("respond = {{ status = 40{minutes}, body = \"{word}\" }}\n"),
            };
            file.push_str(&format!("[[route]]\nname = \"{word}.{n}\"\npath = \"/{n}/{word}/*\"\n{action}"));
        }
        let loaded = load(&file, "f", &|_| None);
        let loaded = loaded.map_err(|problems| TestCaseError::fail(problems.to_string()))?;
        prop_assert_eq!(loaded.plan.listeners.len(), listeners);
        prop_assert_eq!(loaded.plan.upstreams.len(), upstreams.len());
        prop_assert_eq!(loaded.plan.routes.len(), routes.len());
        for (upstream, (servers, ..)) in loaded.plan.upstreams.iter().zip(&upstreams) {
            let weights: Vec<u32> = upstream.servers.iter().map(|server| server.weight).collect();
            let expect: Vec<u32> = servers.iter().map(|(_, weight)| *weight).collect();
            prop_assert_eq!(weights, expect);
        }
        check(&file)?;
    }
}
