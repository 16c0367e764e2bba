//! What the last check of a server said, for the admin API: in a few words, and in the server's own
//! where it answers with JSON that tells how its parts are. Reads text that servers sent, so
//! everything has a bound and nothing is believed beyond what it says.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

/// Parts of a server that are read from one answer; more are left out.
const MAX_CHECKS: usize = 32;

/// Bytes of each text that are kept.
const MAX_TEXT: usize = 128;

/// What the active checks of a server have said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// The verdict: whether the server is used as far as checks are concerned.
    pub good: bool,
    /// Whether the checks have confirmed or changed that; before, `good` is only a hope.
    pub decided: bool,
    /// So many checks in a row ended as the last did.
    pub streak: u32,
    /// The last check.
    pub last: LastCheck,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastCheck {
    /// When it began.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// Whether the server answered as it is to.
    pub good: bool,
    /// What it answered, or why it is not good, such as `status 503`; at most some 200 bytes.
    pub reason: Box<str>,
    /// What the answer tells of the parts of the server, if it does.
    pub parts: Option<DeepHealth>,
}

/// What a server says of itself in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeepHealth {
    /// Its word for the whole.
    pub status: Box<str>,
    /// Its parts, at most 32, in the order of their names.
    pub checks: Vec<DeepCheck>,
}

/// One part of a server, as the server sees it. Texts are cut after 128 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeepCheck {
    /// Its name, such as `database`.
    pub name: Box<str>,
    /// The server's word for it.
    pub status: Box<str>,
    /// What was measured or seen.
    pub observed: Option<Box<str>>,
}

impl DeepHealth {
    /// Reads the body of an answer. `None` when it is not an object with a `status`: not every
    /// JSON is about health.
    ///
    /// Read are `{"status": "…", "checks": {"NAME": {"status": "…", "observed": …}}}`, and what is
    /// near to it: `"NAME": "STATUS"`, lists of results for a name (as in the draft of
    /// `application/health+json`, of which the worst counts), lists of parts that name themselves
    /// (MicroProfile), and `components` for `checks` (Spring Boot).
    pub(super) fn read(body: &[u8]) -> Option<DeepHealth> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let body = body.as_object()?;
        let status = cut(body.get("status")?.as_str()?);
        let checks = match body.get("checks").or_else(|| body.get("components")) {
            Some(Value::Object(parts)) => parts
                .iter()
                .filter_map(|(name, part)| DeepCheck::read(name, part))
                .take(MAX_CHECKS)
                .collect(),
            Some(Value::Array(parts)) => parts
                .iter()
                .filter_map(|part| DeepCheck::read(part.get("name")?.as_str()?, part))
                .take(MAX_CHECKS)
                .collect(),
            _ => Vec::new(),
        };
        Some(DeepHealth { status, checks })
    }

    /// Why the server is not well by its own account; `None` when it does not say so.
    pub(super) fn complaint(&self) -> Option<String> {
        if !is_bad(&self.status) {
            return None;
        }
        let mut complaint = format!("the body says \"{}\"", self.status);
        let bad = self.checks.iter().filter(|check| is_bad(&check.status));
        for (nth, check) in bad.take(3).enumerate() {
            complaint.push_str(if nth == 0 { " because of " } else { ", " });
            complaint.push_str(cut_to(&check.name, 32));
        }
        Some(complaint)
    }
}

impl DeepCheck {
    fn read(name: &str, part: &Value) -> Option<DeepCheck> {
        let (status, observed) = match part {
            Value::String(status) => (status.as_str(), None),
            Value::Object(fields) => (fields.get("status")?.as_str()?, observed(fields)),
            Value::Array(results) => {
                let results = results.iter().filter_map(Value::as_object);
                let results =
                    results.filter_map(|fields| Some((fields.get("status")?.as_str()?, fields)));
                // The first of the worst: `max_by_key` would give the last.
                let worst = results.rev().max_by_key(|(status, _)| is_bad(status));
                worst.map(|(status, fields)| (status, observed(fields)))?
            }
            _ => return None,
        };
        Some(DeepCheck { name: cut(name), status: cut(status), observed })
    }
}

fn observed(fields: &Map<String, Value>) -> Option<Box<str>> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        _ => None,
    };
    let value = ["observed", "observedValue", "output"].iter().find_map(|key| fields.get(*key));
    let mut observed = text(value?)?;
    if let Some(unit) = fields.get("observedUnit").and_then(Value::as_str) {
        observed.push(' ');
        observed.push_str(unit);
    }
    Some(cut(&observed))
}

/// Words that say that something is down. Any other word says nothing against it.
fn is_bad(status: &str) -> bool {
    ["fail", "failed", "failing", "down", "error", "critical", "unhealthy", "out_of_service"]
        .iter()
        .any(|word| status.eq_ignore_ascii_case(word))
}

/// What a server sent, short and on one line, for logs and the API.
pub(super) fn cut(text: &str) -> Box<str> {
    cut_to(text, MAX_TEXT).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn cut_to(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status and the parts, each as `name=status` or `name=status (observed)`.
    fn read(body: &str) -> Option<(String, Vec<String>)> {
        let health = DeepHealth::read(body.as_bytes())?;
        let part = |check: &DeepCheck| match &check.observed {
            Some(observed) => format!("{}={} ({observed})", check.name, check.status),
            None => format!("{}={}", check.name, check.status),
        };
        Some((health.status.into(), health.checks.iter().map(part).collect()))
    }

    #[test]
    fn what_servers_say_of_their_parts() {
        for (body, expect) in [
            (
                r#"{"status":"pass","checks":{"database":{"status":"pass","observed":12},"queue":"warn"}}"#,
                Some(("pass", vec!["database=pass (12)", "queue=warn"])),
            ),
            (r#"{"status":"ok"}"#, Some(("ok", vec![]))),
            (r#"{"status":"ok","checks":null}"#, Some(("ok", vec![]))),
            // The draft of application/health+json; the first of the worst counts.
            (
                r#"{"status":"warn","checks":{"db:responseTime":[{"status":"pass","observedValue":1},
                   {"status":"fail","observedValue":250,"observedUnit":"ms"},{"status":"fail"}]}}"#,
                Some(("warn", vec!["db:responseTime=fail (250 ms)"])),
            ),
            // Spring Boot and MicroProfile.
            (
                r#"{"status":"DOWN","components":{"db":{"status":"DOWN","details":{"x":1}}}}"#,
                Some(("DOWN", vec!["db=DOWN"])),
            ),
            (
                r#"{"status":"UP","checks":[{"name":"db","status":"UP"},{"status":"UP"}]}"#,
                Some(("UP", vec!["db=UP"])),
            ),
            // What does not fit is left out; what is about something else is not about health.
            (
                r#"{"status":"ok","checks":{"a":7,"b":{"state":"x"},"c":{"status":1},"d":[],"e":{"status":"ok","observed":{}}}}"#,
                Some(("ok", vec!["e=ok"])),
            ),
            (r#"{"status":200}"#, None),
            (r#"{"state":"ok"}"#, None),
            (r#"["status"]"#, None),
            (r#"{"status":"ok""#, None),
            ("", None),
        ] {
            let expect = expect.map(|(status, parts): (&str, Vec<&str>)| {
                (status.to_owned(), parts.into_iter().map(str::to_owned).collect())
            });
            assert_eq!(read(body), expect, "{body}");
        }
    }

    #[test]
    fn nothing_grows_without_bound() {
        let long = "ä".repeat(100);
        let parts: Vec<String> = (0..100)
            .map(|n| format!(r#""{n:03}{long}":{{"status":"{long}","observed":"{long}"}}"#))
            .collect();
        let body = format!(r#"{{"status":"a\nb{long}","checks":{{{}}}}}"#, parts.join(","));
        let health = DeepHealth::read(body.as_bytes()).expect("it is about health");
        assert!(health.status.starts_with("a bä") && health.status.len() <= 128);
        assert_eq!(health.checks.len(), 32);
        for check in &health.checks {
            assert!(check.name.len() <= 128 && check.status.len() <= 128);
            assert!(check.observed.as_ref().is_some_and(|observed| observed.len() <= 128));
        }
        let deep = "[".repeat(60_000);
        assert_eq!(DeepHealth::read(deep.as_bytes()), None);
    }

    #[test]
    fn only_words_that_say_so_are_against_a_server() {
        for (body, complaint) in [
            (r#"{"status":"pass","checks":{"db":"fail"}}"#, None),
            (r#"{"status":"warn"}"#, None),
            (r#"{"status":"green"}"#, None),
            (r#"{"status":"FAIL"}"#, Some("the body says \"FAIL\"")),
            (
                r#"{"status":"down","checks":{"a":"ok","b":"down","c":"fail","d":"error","e":"fail"}}"#,
                Some("the body says \"down\" because of b, c, d"),
            ),
            (r#"{"status":"Out_Of_Service"}"#, Some("the body says \"Out_Of_Service\"")),
        ] {
            let health = DeepHealth::read(body.as_bytes()).expect("it is about health");
            assert_eq!(health.complaint().as_deref(), complaint, "{body}");
        }
    }
}
