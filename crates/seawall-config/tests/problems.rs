//! What is said about each mistake, and how it looks.
//!
//! `problems/cases.txt` has a mistake a case, with what is said about it below; `problems/many.toml`
//! has many at once, with `problems/many.txt` as it is shown. With `SEAWALL_BLESS=1` set both are
//! written again instead of compared.

use std::path::{Path, PathBuf};
use std::{fs, io};

use seawall_config::{Problems, Severity, Surroundings, load, load_bytes, load_bytes_with};

#[test]
fn every_mistake_is_explained() {
    let path = folder().join("cases.txt");
    let text = fs::read_to_string(&path).expect("the cases are in the repository");
    let mut found = String::new();
    for case in text.split("=== ").skip(1) {
        let (title, rest) = case.split_once('\n').expect("a title ends its line");
        let input = rest.split("\n---\n").next().unwrap_or_default().trim_end();
        let (kind, _) = title.split_once(": ").expect("a title begins with a kind");
        let whole = whole(kind, input);
        let problems = match load_bytes_with(whole.as_bytes(), "f", &surroundings()) {
            Ok(loaded) => loaded.warnings,
            Err(problems) => problems,
        };
        assert!(!problems.is_empty(), "nothing is said about: {title}");
        assert!(!problems.to_string().contains("hunter2"), "a secret is shown: {title}");
        found.push_str(&format!("=== {title}\n{input}\n---\n{}\n", listed(&problems)));
    }
    compare(&path, &text, &found);
}

#[test]
fn many_problems_look_like_this() {
    let input = fs::read_to_string(folder().join("many.toml")).expect("it is in the repository");
    let problems = load(&input, "seawall.toml", &environment).expect_err("it has errors");
    let path = folder().join("many.txt");
    let expect = fs::read_to_string(&path).unwrap_or_default();
    compare(&path, &expect, &problems.to_string());
    // Colours change nothing but colours.
    let coloured = problems.render(true);
    let mut plain = String::new();
    for (index, part) in coloured.split("\u{1b}[").enumerate() {
        let part = match index {
            0 => part,
            _ => part.split_once('m').expect("a colour ends in m").1,
        };
        plain.push_str(part);
    }
    assert_eq!(plain, problems.to_string());
    assert_ne!(coloured, plain);
}

#[test]
fn problems_are_sorted_and_repeatable() {
    let input = fs::read_to_string(folder().join("many.toml")).expect("it is in the repository");
    let first = load(&input, "f", &environment).expect_err("it has errors");
    let places: Vec<_> = first.iter().map(|problem| (problem.line(), problem.column())).collect();
    assert!(places.is_sorted(), "{places:?}");
    for _ in 0..10 {
        assert_eq!(load(&input, "f", &environment).expect_err("it has errors"), first);
    }
}

#[test]
fn bytes_that_are_not_text_are_a_problem_with_a_place() {
    for (bytes, place, message) in [
        (&b"a = 1\nb = \"\xc3\xa9\xff\"\n"[..], (2, 7), "this is not UTF-8"),
        (b"\xff", (1, 1), "this is not UTF-8"),
        (b"\xff\xfea\0", (1, 1), "the file is in UTF-16"),
        (b"a\xc3", (1, 2), "this is not UTF-8"),
    ] {
        let problems = load_bytes(bytes, "f", &environment).expect_err(message);
        let problem = problems.iter().next().expect("one problem");
        assert_eq!(problems.len(), 1, "{problems}");
        assert_eq!((problem.line(), problem.column()), place, "{problems}");
        assert_eq!(problem.message(), message);
    }
    let marked = b"\xef\xbb\xbf[listen.web]\naddress = \":8080\"\n[[route]]\nrespond = \"x\"\n";
    let loaded = load_bytes(marked, "f", &environment).expect("a byte order mark is skipped");
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    let text = "#".repeat(seawall_config::LARGEST_FILE + 1);
    for problems in [load(&text, "f", &environment), load_bytes(text.as_bytes(), "f", &environment)]
    {
        let problems = problems.expect_err("it is too large");
        assert_eq!(problems.len(), 1);
        assert!(problems.to_string().contains("at most 16777216 are read"), "{problems}");
    }
}

#[test]
fn there_is_a_limit_on_tables() {
    let many = |table: &str, count: usize| {
        (0..count).map(|n| table.replace("{}", &n.to_string())).collect()
    };
    let routes: String = many("[[route]]\nrespond = 'x'\n", 100_001);
    let listeners: String = many("[listen.l{}]\naddress = ':0'\n", 10_001);
    for (file, message) in [
        (
            routes + "[listen.web]\naddress = ':0'\n",
            "there are 100001 tables `route`; at most 100000 are allowed",
        ),
        (
            listeners + "[[route]]\nrespond = 'x'\n",
            "there are 10001 tables `listen`; at most 10000 are allowed",
        ),
    ] {
        let problems = load(&file, "f", &environment).expect_err(message);
        let messages: Vec<&str> = problems.iter().map(|problem| problem.message()).collect();
        assert_eq!(messages, [message]);
    }
}

#[test]
fn of_a_very_large_file_the_first_syntax_error_is_told() {
    let lines = "# nothing\n".repeat(1 << 17);
    let problems =
        load(&format!("{lines}a = \nb = \n"), "f", &environment).expect_err("two errors");
    let places: Vec<_> = problems.iter().map(|problem| problem.line()).collect();
    assert_eq!(places, [(1 << 17) + 1], "{problems}");
}

#[test]
fn a_flood_of_problems_is_counted() {
    let text: String = (0..5_000).map(|n| format!("x{n} = 1\n")).collect();
    let problems = load(&text, "f", &environment).expect_err("no key is known");
    assert_eq!(problems.len(), Problems::LIMIT);
    // The keys, no listener and no route.
    assert_eq!(problems.dropped(), 5_002 - Problems::LIMIT);
    assert!(problems.summary().ends_with(&format!("{} more not shown", problems.dropped())));
}

#[test]
fn without_files_a_file_is_a_problem() {
    let text = whole("fallback", "fallback = { file = \"sorry.html\" }");
    let problems = load(&text, "f", &environment).expect_err("there are no files");
    let expect = "error 4:21: there are no files here: this configuration is not one itself\n    \
                  write the page into `respond`\n";
    assert_eq!(listed(&problems), expect);
}

#[test]
fn files_have_a_limit_together() {
    let entries: String = (0..65)
        .map(|n| {
            format!(
                "[[route]]\npath = \"/{n}\"\nto = \"app\"\nfallback = {{ file = \"{n}.txt\" }}\n"
            )
        })
        .collect();
    let read = |_: &Path, most| Ok(vec![b'x'; most - 1]);
    let around = Surroundings { read: Some(&read), ..Surroundings::variables(&environment) };
    let text = whole("route", &format!("name = \"first\"\npath = \"/x\"\nto = \"app\"\n{entries}"));
    let problems = load_bytes_with(text.as_bytes(), "f", &around).expect_err("65 MiB");
    let expect = "error 264:21: this file is one too many\n    \
                  all files named here have at most 64MiB together\n";
    assert_eq!(listed(&problems), expect);
}

#[test]
fn codes_are_checked_where_they_are_known() {
    let text = whole("route", "to = \"app\"\nerrors = { frobnicated = \"x\" }");
    let loaded = load(&text, "f", &environment).expect("no code is known");
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let loaded = load_bytes_with(text.as_bytes(), "f", &surroundings()).expect("a warning");
    assert_eq!(loaded.warnings.len(), 1, "{}", loaded.warnings);
}

#[test]
fn problems_tell_their_parts() {
    let problems = load(&whole("server", "drian = \"1s\""), "etc/f.toml", &environment);
    let problems = problems.expect_err("the key is unknown");
    assert_eq!((problems.file(), problems.errors(), problems.warnings()), ("etc/f.toml", 1, 0));
    let problem = problems.iter().next().expect("one problem");
    assert_eq!(problem.severity(), Severity::Error);
    assert_eq!(problem.severity().as_str(), "error");
    assert_eq!((problem.line(), problem.column()), (2, 1));
    assert_eq!(problem.message(), "unknown key `drian` in [server]");
    assert_eq!(problem.help(), Some("did you mean `drain`?"));
    assert_eq!(problem.excerpt(), Some("drian = \"1s\""));
    assert_eq!(problems.summary(), "etc/f.toml: 1 error");
}

/// A whole file around the part of a case, which comes first so that its lines are easy to count.
fn whole(kind: &str, part: &str) -> String {
    let listen = "[listen.web]\naddress = \"0.0.0.0:8080\"\n";
    let upstream = "[upstream.app]\nservers = [\"127.0.0.1:3000\", \"127.0.0.1:3001\"]\n";
    let route = "[[route]]\nto = \"app\"\n";
    match kind {
        "server" => format!("[server]\n{part}\n{listen}{upstream}{route}"),
        "listen" => format!("[listen.web]\n{part}\n{upstream}{route}"),
        "upstream" => format!("[upstream.app]\n{part}\n{listen}{route}"),
        "route" => format!("[[route]]\n{part}\n{listen}{upstream}"),
        "fallback" => {
            let other =
                "[upstream.other]\nservers = [\"127.0.0.1:3001\"]\n[[route]]\nto = \"other\"\n";
            format!("[[route]]\npath = \"/x\"\nto = \"app\"\n{part}\n{listen}{upstream}{other}")
        }
        "cache" => format!("{part}\n{listen}{upstream}{route}cache = \"60s\"\n"),
        "answer" => format!("[[route]]\n{part}\n{listen}"),
        "file" => part.to_owned(),
        other => panic!("no case is of the kind {other}"),
    }
}

fn environment(name: &str) -> Option<String> {
    (name == "SECRET").then(|| "hunter2".to_owned())
}

/// A folder with a few files, and a few codes of refusals.
fn surroundings() -> Surroundings<'static> {
    Surroundings {
        variable: &environment,
        folder: Path::new("etc"),
        read: Some(&|path, most| match path.to_str() {
            Some("etc/sorry.html" | "etc/sorry") => Ok(b"<p>Sorry".to_vec()),
            Some("etc/empty.html") => Ok(Vec::new()),
            Some("etc/large.html") => Ok(vec![b'x'; most]),
            _ => Err(io::ErrorKind::NotFound.into()),
        }),
        codes: &[("no-route", 404), ("connect-failed", 502), ("unresolved", 503)],
    }
}

fn listed(problems: &Problems) -> String {
    let mut out = String::new();
    for problem in problems {
        let (line, column) = (problem.line(), problem.column());
        let severity = problem.severity().as_str();
        out.push_str(&format!("{severity} {line}:{column}: {}\n", problem.message()));
        for help in problem.help().iter().flat_map(|help| help.lines()) {
            out.push_str(&format!("    {help}\n"));
        }
    }
    out
}

fn compare(path: &PathBuf, expect: &str, found: &str) {
    if std::env::var_os("SEAWALL_BLESS").is_some() {
        fs::write(path, found).expect("the repository can be written");
    } else {
        assert_eq!(expect, found, "run with SEAWALL_BLESS=1 to accept this");
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/problems")
}
