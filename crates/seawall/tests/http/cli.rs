//! The command line: what it prints and how it ends.

use std::io;
use std::path::Path;
use std::process::Command;

use seawall_testkit::{Origin, Process, Seawall, Stream};

use crate::setup::{BINARY, Setup};

/// What a command printed and how it ended.
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

fn run(home: &Path, arguments: &[&str]) -> io::Result<Ended> {
    let mut command = Command::new(BINARY);
    command.args(arguments).current_dir(home).env("NO_COLOR", "1");
    let mut process = Process::spawn(command)?;
    let code = process.wait()?.code();
    let of = |stream: Stream| {
        let lines = process.lines().into_iter().filter(|line| line.stream == stream);
        lines.map(|line| line.text + "\n").collect::<String>()
    };
    Ok(Ended { code, out: of(Stream::Out), err: of(Stream::Err) })
}

#[test]
fn run_with_nothing_to_run_on_says_what_to_do_in_five_lines() -> io::Result<()> {
    let home = tempfile::tempdir()?;
    let ended = run(home.path(), &["run"])?;
    assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""));
    assert_eq!(ended.err.lines().count(), 5, "{}", ended.err);
    for part in ["seawall.toml", "seawall run --to 127.0.0.1:3000", "--config", "seawall check"] {
        assert!(ended.err.contains(part), "{part} is missing in {}", ended.err);
    }
    Ok(())
}

#[test]
fn check_says_what_is_right() -> io::Result<()> {
    let home = tempfile::tempdir()?;
    std::fs::write(home.path().join("seawall.toml"), Setup::to_all(["127.0.0.1:1"]).text())?;
    for arguments in [&["check"][..], &["check", "seawall.toml"]] {
        let ended = run(home.path(), arguments)?;
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
        assert!(ended.out.contains("1 listener, 1 upstream, 1 route"), "{}", ended.out);
    }
    Ok(())
}

#[test]
fn check_and_run_say_everything_that_is_wrong() -> io::Result<()> {
    let home = tempfile::tempdir()?;
    let file = home.path().join("bad.toml");
    std::fs::write(
        &file,
        "[listen.web]\naddres = \"127.0.0.1:0\"\n\n[upstream.app]\nservers = [\"127.0.0.1\"]\n\n\
         [[route]]\nto = \"ap\"\ntimeout = \"5\"\n",
    )?;
    for arguments in [&["check", "bad.toml"][..], &["run", "--config", "bad.toml"]] {
        let ended = run(home.path(), arguments)?;
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{}", ended.err);
        for part in [
            "bad.toml:2:1",
            "addres",
            "`address`",
            "bad.toml:5:",
            "bad.toml:8:",
            "\"ap\"",
            "bad.toml:9:",
        ] {
            assert!(ended.err.contains(part), "{part} is missing in {}", ended.err);
        }
    }
    Ok(())
}

#[test]
fn check_warns_of_routes_that_can_never_match() -> io::Result<()> {
    let home = tempfile::tempdir()?;
    let routes = "[[route]]\nname = \"all\"\nrespond = \"x\"\n[[route]]\nname = \"never\"\npath = \"/x\"\nrespond = \"x\"";
    std::fs::write(home.path().join("seawall.toml"), Setup::alone().with(routes).text())?;
    let ended = run(home.path(), &["check"])?;
    assert_eq!(ended.code, Some(0));
    assert!(ended.err.contains("never") && ended.err.contains("all"), "{}", ended.err);
    assert!(ended.out.contains("1 warning"), "{}", ended.out);
    Ok(())
}

#[test]
fn check_knows_the_codes_and_the_files_that_a_file_names() -> io::Result<()> {
    let home = tempfile::tempdir()?;
    let folder = home.path().join("etc");
    std::fs::create_dir(&folder)?;
    std::fs::write(folder.join("sorry.html"), "<p>Sorry")?;
    let routes = "fallback = { on = \"connect-fialed\", file = \"sorry.html\" }\n\
                  errors = { upstream-timeout = \"x\", upstream-tiemout = \"y\" }";
    let text = Setup::to_all(["127.0.0.1:1"]).route(routes).text();
    std::fs::write(folder.join("seawall.toml"), &text)?;
    let ended = run(home.path(), &["check", "etc/seawall.toml"])?;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    for part in ["did you mean `connect-failed`?", "did you mean `upstream-timeout`?"] {
        assert!(ended.err.contains(part), "{part} is missing in {}", ended.err);
    }
    assert!(ended.out.contains("2 warnings"), "{}", ended.out);

    for (file, part) in [("gone.html", "etc/gone.html"), ("../etc", "it is not a file")] {
        let text = text.replace("\"sorry.html\"", &format!("\"{file}\", type = \"text/html\""));
        std::fs::write(folder.join("seawall.toml"), text)?;
        let ended = run(home.path(), &["check", "etc/seawall.toml"])?;
        assert_eq!(ended.code, Some(1), "{}", ended.err);
        assert!(ended.err.contains(part), "{part} is missing in {}", ended.err);
    }
    Ok(())
}

#[test]
fn what_cannot_be_done_is_said_in_a_line_or_two() -> io::Result<()> {
    let home = tempfile::tempdir()?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let config = Setup::alone().with("[[route]]\nrespond = \"x\"").text();
    let on_taken = config.replacen(
        "[listen.web]\naddress = \"127.0.0.1:0\"",
        &format!("[listen.web]\naddress = \"{address}\""),
        1,
    );
    std::fs::write(home.path().join("taken.toml"), on_taken)?;
    let admin_taken =
        config.replacen("admin = \"127.0.0.1:0\"", &format!("admin = \"{address}\""), 1);
    std::fs::write(home.path().join("admin.toml"), admin_taken)?;
    let log = config.replacen("[server]", "[server]\naccess-log = \"/nowhere/at/all\"", 1);
    std::fs::write(home.path().join("log.toml"), log)?;
    for (arguments, code, part) in [
        (&["check", "none.toml"][..], 1, "none.toml"),
        (&["run", "--config", "none.toml"], 1, "none.toml"),
        (&["run", "--config", "taken.toml"], 1, "another program listens there"),
        (&["run", "--config", "admin.toml"], 1, "admin"),
        (&["run", "--config", "log.toml"], 1, "access log"),
        (&["run", "--to", "http://127.0.0.1:3000/x"], 1, "http://127.0.0.1:3000/x"),
        (&["run", "--to", "127.0.0.1:3000", "--config", "x"], 2, "--config"),
        (&["run", "--watch", "--to", "127.0.0.1:3000"], 2, "--watch"),
        (&["run", "--to", "127.0.0.1:1", "--admin", "0.0.0.0:0"], 1, "admin-token"),
        (&["completions"], 2, "<SHELL>"),
        (&["walk"], 2, "walk"),
        (&[], 2, "Usage"),
    ] {
        let ended = run(home.path(), arguments)?;
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains(part), "{part} is missing in {}", ended.err);
        assert!(!ended.err.contains("panicked"), "{}", ended.err);
    }
    Ok(())
}

#[test]
fn help_and_references_are_printed() -> io::Result<()> {
    let home = tempfile::tempdir()?;
    for (arguments, part) in [
        (&["--help"][..], "run"),
        (&["--help"], "seawall run --to 127.0.0.1:3000"),
        (&["run", "--help"], "--to"),
        (&["run", "--help"], "SIGHUP"),
        (&["check", "--help"], "${NAME}"),
        (&["purge", "--help"], "--everything"),
        (&["purge", "--help"], "SEAWALL_ADMIN_TOKEN"),
        (&["warm", "--help"], "--concurrency"),
        (&["version"], concat!("seawall ", env!("CARGO_PKG_VERSION"), "\n")),
        (&["completions", "bash"], "complete -F _seawall"),
        (&["completions", "zsh"], "#compdef seawall"),
        (&["completions", "fish"], "complete -c seawall"),
        (&["man"], ".TH seawall 1"),
        (&["man"], "seawall\\-check(1)"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
        (&["reference"], "[[route]]"),
        (&["reference", "schema"], "\"$schema\""),
        (&["reference", "refusals"], "no-route"),
    ] {
        let ended = run(home.path(), arguments)?;
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(ended.out.contains(part), "{part} is missing in {}", ended.out);
    }
    Ok(())
}

#[test]
fn one_server_needs_no_file() -> io::Result<()> {
    let origin = Origin::always("here")?;
    let address = origin.address().to_string();
    let seawall = Seawall::start_bare(
        BINARY,
        &["--to", &address, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
    )?;
    assert_eq!(seawall.connect()?.get("test", "/")?.text(), "here");
    assert_eq!(seawall.admin_get("/readyz")?.status, 200);
    Ok(())
}

#[test]
fn the_file_may_take_values_from_the_environment() -> io::Result<()> {
    let home = tempfile::tempdir()?;
    let config = Setup::to_all(["${SEAWALL_TEST_SERVER}"]).text();
    std::fs::write(home.path().join("seawall.toml"), config)?;
    let ended = run(home.path(), &["check"])?;
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("SEAWALL_TEST_SERVER"), "{}", ended.err);
    let mut command = Command::new(BINARY);
    command.arg("check").current_dir(home.path()).env("SEAWALL_TEST_SERVER", "127.0.0.1:1");
    assert_eq!(Process::spawn(command)?.wait()?.code(), Some(0));
    Ok(())
}
