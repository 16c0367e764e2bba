//! The parameters of a request, and what is wrong with them.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use super::url::Url;
use crate::{Problem, Refused};

/// The parameters that have not been read yet.
pub(super) struct Asked(Vec<(String, String)>);

/// Most parameters of a request.
const MOST: usize = 100;

impl Asked {
    /// Those of a query.
    pub(super) fn read(query: Option<&str>) -> Result<Asked, Refused> {
        let mut all = Vec::new();
        for part in query.unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            match (decoded(name), decoded(value)) {
                (Some(name), Some(value)) if all.len() < MOST => all.push((name, value)),
                (Some(_), Some(_)) => {
                    let help = "at most 100 are read";
                    return Err(wrong("the query", "has too many parameters", help));
                }
                _ => {
                    let help = "encode it with `curl --get --data-urlencode`";
                    return Err(wrong("the query", "is not percent-encoded UTF-8", help));
                }
            }
        }
        Ok(Asked(all))
    }

    /// The value of a parameter that may be there once.
    pub(super) fn one(&mut self, name: &str) -> Result<Option<String>, Refused> {
        let mut all = self.all(name);
        let value = all.pop();
        match all.is_empty() {
            true => Ok(value),
            false => Err(wrong(name, "is there more than once", "send it once")),
        }
    }

    /// All values of a parameter.
    pub(super) fn all(&mut self, name: &str) -> Vec<String> {
        let taken = self.0.extract_if(.., |(known, _)| known == name);
        taken.map(|(_, value)| value).collect()
    }

    /// The URL that must be there.
    pub(super) fn url(&mut self) -> Result<Url, Refused> {
        let help = "write for example url=https://shop.example.com/prices";
        let Some(text) = self.one("url")? else { return Err(wrong("url", "is missing", help)) };
        Url::read(&text).map_err(|why| wrong("url", why, help))
    }

    /// The fields of a request, each as `NAME:VALUE`, in lower case.
    pub(super) fn fields(&mut self) -> Result<Vec<(String, String)>, Refused> {
        self.all("header").into_iter().map(field).collect()
    }

    /// Refuses what nobody has read.
    pub(super) fn finish(self) -> Result<(), Refused> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                Err(wrong(&format!("`{name}`"), "is not known here", "see docs/reference/cli.md"))
            }
        }
    }
}

fn field(text: String) -> Result<(String, String), Refused> {
    let help = "write for example header=accept-language:de";
    let Some((name, value)) = text.split_once(':') else {
        return Err(wrong("header", "has no `:`", help));
    };
    let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().to_owned());
    match seawall_h1::headers::is_field_name(name.as_bytes())
        && seawall_h1::headers::is_field_value(value.as_bytes())
    {
        true => Ok((name, value)),
        false => Err(wrong("header", "is not a header field", help)),
    }
}

/// What stands for `text` in a query (`application/x-www-form-urlencoded`).
fn decoded(text: &str) -> Option<String> {
    let text = match text.contains('+') {
        true => Cow::Owned(text.replace('+', " ")),
        false => Cow::Borrowed(text),
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (hex, after) = rest.split_at_checked(2)?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push(u8::try_from(digit(hex[0])? * 16 + digit(hex[1])?).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// One thing is wrong: `what` is the part of the request, `why` how the sentence goes on.
pub(super) fn wrong(what: &str, why: &str, help: &str) -> Refused {
    let problem = problem(format!("{what} {why}"), help);
    Refused::Wrong { detail: format!("{what} {why}"), problems: vec![problem] }
}

/// What is wrong with a body, apart from its syntax.
pub(super) fn problem(message: String, help: &str) -> Problem {
    Problem {
        severity: "error",
        file: String::new(),
        line: 0,
        column: 0,
        message,
        help: Some(help.to_owned()),
    }
}

/// Reads a body, which must be an object of JSON; says what is wrong with its syntax or its keys.
pub(super) fn object<T: DeserializeOwned>(
    body: &[u8],
    what: &str,
    help: &str,
) -> Result<T, Refused> {
    match serde_json::from_slice(body) {
        // A list would be taken for the values in the order of their declaration.
        Ok(_) if body.trim_ascii_start().first() != Some(&b'{') => {
            Err(wrong("the body", "is not an object", help))
        }
        Ok(read) => Ok(read),
        Err(error) => {
            let problem = Problem {
                file: "body".to_owned(),
                line: error.line(),
                column: error.column(),
                ..problem(error.to_string(), help)
            };
            let detail = format!("the body is not {what}");
            Err(Refused::Wrong { detail, problems: vec![problem] })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let mut asked = Asked::read(Some("a=1+2%2B&b&a=%c3%A9&&=x")).expect("it is right");
        assert_eq!(asked.all("a"), ["1 2+", "é"]);
        assert_eq!(asked.one("b").expect("once"), Some(String::new()));
        assert_eq!(asked.one("b").expect("gone"), None);
        assert!(asked.finish().is_err(), "a parameter without a name is left");
        for bad in ["a=%", "a=%4", "a=%zz", "a=%ff", "a=%+1", "a=%é"] {
            assert!(Asked::read(Some(bad)).is_err(), "{bad}");
        }
        let many = "a=1&".repeat(MOST + 1);
        assert!(Asked::read(Some(&many)).is_err());
        assert!(Asked::read(Some("a=1&a=2")).expect("it is right").one("a").is_err());
    }

    #[test]
    fn fields_have_names_and_values() {
        let read = |query: &str| Asked::read(Some(query)).expect("it is right").fields();
        let fields = read("header=Accept-Language:%20de%20&header=x:").expect("two fields");
        assert_eq!(fields, [("accept-language".into(), "de".into()), ("x".into(), String::new())]);
        for bad in ["header=x", "header=:x", "header=a%20b:c", "header=a:b%0d%0ac"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
