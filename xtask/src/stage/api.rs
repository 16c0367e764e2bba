//! A client of the API of `snip`, for what the shows and the load ask of it.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use seawall_testkit::{RawClient, Response};
use serde_json::{Value, json};

/// The API somewhere, with a key. Each request has a connection of its own.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) address: SocketAddr,
    pub(crate) key: String,
}

impl Api {
    /// Makes a link, under a name if it is given one, and returns its code.
    pub(crate) fn create(&self, target: &str, alias: Option<&str>) -> anyhow::Result<String> {
        let mut link = json!({ "target": target });
        if let Some(alias) = alias {
            link["alias"] = alias.into();
        }
        let made = self.ask("POST", "/links", &link, 201)?;
        made["code"].as_str().map(str::to_owned).context("a link without a code")
    }

    /// Makes links with these targets and returns their codes, in the same order.
    pub(crate) fn create_all(&self, targets: &[String]) -> anyhow::Result<Vec<String>> {
        let links: Vec<Value> = targets.iter().map(|target| json!({ "target": target })).collect();
        let made = self.ask("POST", "/links/bulk", &json!({ "links": links }), 200)?;
        let results = made["results"].as_array().context("no results")?;
        ensure!(results.len() == targets.len(), "{} of {}", results.len(), targets.len());
        let code = |result: &Value| result["link"]["code"].as_str().map(str::to_owned);
        results.iter().map(|made| code(made).with_context(|| format!("no link: {made}"))).collect()
    }

    /// Leads a link somewhere else.
    pub(crate) fn change(&self, code: &str, target: &str) -> anyhow::Result<()> {
        self.ask("PATCH", &format!("/links/{code}"), &json!({ "target": target }), 200).map(drop)
    }

    /// Clicks of a link, or of all together, of the last month.
    pub(crate) fn clicks(&self, code: Option<&str>) -> anyhow::Result<u64> {
        let path = code.map_or_else(|| "/stats".to_owned(), |code| format!("/links/{code}/stats"));
        let stats = self.ask("GET", &path, &Value::Null, 200)?;
        let number = |name: &str| stats[name].as_u64().context("no number");
        Ok(number("clicks")? + number("bots")?)
    }

    fn ask(&self, method: &str, path: &str, body: &Value, status: u16) -> anyhow::Result<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "{method} /api/v1{path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.address,
            self.key,
            body.len()
        );
        let answer = exchange(self.address, &(head + &body))?;
        let said = answer.text();
        ensure!(answer.status == status, "{method} {path}: {} {said}", answer.status);
        serde_json::from_slice(&answer.body).with_context(|| format!("not JSON: {said}"))
    }
}

/// `GET` of a path somewhere.
pub(crate) fn read(address: SocketAddr, path: &str) -> anyhow::Result<Response> {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n"))
}

fn exchange(address: SocketAddr, request: &str) -> anyhow::Result<Response> {
    let mut client = RawClient::connect(address)?;
    client.exchange(request).with_context(|| format!("{address} does not answer"))
}
