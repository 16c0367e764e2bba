//! Clients of the API of `snip`, and what it answers them.

use std::net::SocketAddr;

use seawall_testkit::{RawClient, Response};
use serde_json::Value;

/// One connection to the API, with a key.
pub(crate) struct Client {
    wire: RawClient,
    key: String,
}

impl Client {
    /// A client of an instance with this key; none if it is empty.
    pub(crate) fn connect(address: SocketAddr, key: &str) -> Client {
        let wire = RawClient::connect(address).expect("snip accepts");
        Client { wire, key: key.to_owned() }
    }

    /// Reads a resource; the path begins behind `/api/v1`.
    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.ask("GET", path, &[], None)
    }

    /// Sends JSON to a resource.
    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Response {
        self.ask("POST", path, &[("content-type", "application/json")], Some(&body.to_string()))
    }

    /// Sends JSON with further fields.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &Value,
    ) -> Response {
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(fields);
        self.ask(method, path, &all, Some(&body.to_string()))
    }

    /// Sends whatever it is told to.
    pub(crate) fn ask(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: Option<&str>,
    ) -> Response {
        let mut text = format!("{method} /api/v1{path} HTTP/1.1\r\nhost: snip\r\n");
        if !self.key.is_empty() {
            text += &format!("authorization: Bearer {}\r\n", self.key);
        }
        for (name, value) in fields {
            text += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = body {
            text += &format!("content-length: {}\r\n", body.len());
        }
        text += "\r\n";
        text += body.unwrap_or_default();
        self.wire.send(text).expect("snip takes a request");
        self.wire.read_response_to(method).expect("snip answers")
    }

    /// Makes a link and returns it.
    pub(crate) fn create(&mut self, body: &Value) -> Value {
        let answer = self.post("/links", body);
        assert_eq!(answer.status, 201, "{}", answer.text());
        json(&answer)
    }
}

/// The JSON of an answer.
pub(crate) fn json(answer: &Response) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| {
        panic!("not JSON ({error}): {} {}", answer.status, answer.text());
    })
}

/// The status of a problem, the last word of its type, and what is wrong with which part.
pub(crate) fn problem(answer: &Response) -> (u16, String, Vec<(String, String)>) {
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    let body = json(answer);
    assert_eq!(body["status"], answer.status, "{body}");
    assert!(body["title"].is_string() && body["detail"].is_string(), "{body}");
    let word = body["type"].as_str().and_then(|kind| kind.strip_prefix("urn:snip:problem:"));
    let word = word.expect("the type is a URN").to_owned();
    let errors = body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let wrong = errors.iter().map(|error| {
        let place = ["pointer", "parameter", "header"].iter().find(|key| !error[**key].is_null());
        (text(&error[*place.expect("it says where")]), text(&error["code"]))
    });
    (answer.status, word, wrong.collect())
}
