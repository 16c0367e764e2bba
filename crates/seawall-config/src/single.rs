//! The configuration of `seawall run --to HOST:PORT`, which needs no file.

use crate::load::{Loaded, load};
use crate::problem::Problems;

/// Reads the configuration that [`single_upstream_text`] writes.
///
/// # Errors
///
/// Those of [`crate::load()`], in a file called `--to`: an address that is none, or the listener's
/// own.
pub fn single_upstream(to: &str, listen: &str, admin: Option<&str>) -> Result<Loaded, Problems> {
    load(&single_upstream_text(to, listen, admin), "--to", &|_| None)
}

/// A file with one listener at `listen`, one upstream with the server `to`, and one route between
/// them. What it is given stands in it as text, whatever it is.
pub fn single_upstream_text(to: &str, listen: &str, admin: Option<&str>) -> String {
    let mut text = String::new();
    if let Some(admin) = admin {
        text.push_str(&format!("[server]\nadmin = {}\n\n", literal(admin)));
    }
    let (listen, to) = (literal(listen), literal(to));
    text.push_str(&format!("[listen.web]\naddress = {listen}\n\n"));
    text.push_str(&format!("[upstream.app]\nservers = [{to}]\n\n"));
    text.push_str("[[route]]\nname = \"app\"\nto = \"app\"\n");
    text
}

/// Text as a TOML string that means exactly that text.
fn literal(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.replace("${", "$${").chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_is_a_whole_configuration() {
        let loaded = single_upstream("127.0.0.1:3000", "127.0.0.1:8080", Some("127.0.0.1:9900"));
        let loaded = loaded.expect("three good addresses");
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
        assert_eq!(loaded.plan.listeners.len(), 1);
        assert_eq!(loaded.plan.upstreams.len(), 1);
        assert_eq!(loaded.plan.routes.len(), 1);
        assert_eq!(loaded.plan.server.admin, "127.0.0.1:9900".parse().ok());
    }

    #[test]
    fn arguments_are_text_and_nothing_else() {
        for to in ["x\"]\n[server]\nworkers = 1 #", "${HOME}:80", "\\u0041:80\u{0}", "http://a:80"]
        {
            let problems = single_upstream(to, "127.0.0.1:8080", None).expect_err(to);
            assert_eq!(problems.len(), 1, "{problems}");
            assert_eq!(problems.iter().next().map(|p| p.line()), Some(5), "{problems}");
        }
    }
}
