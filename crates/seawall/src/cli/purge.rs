//! `seawall purge`.

use clap::{ArgGroup, Args};
use serde_json::{Value, json};

use crate::api::{Api, NodeArgs};

pub(super) const EXAMPLES: &str = "\
Examples:
  seawall purge --tag prices --tag product-42
  seawall purge https://shop.example.com/prices
  seawall purge --prefix 'https://shop.example.com/images/*' --hard
  seawall purge --everything

Without --hard what is purged is stale: it is served while it is fetched anew, and when
the origin fails. With it, it is gone.";

/// What is to be purged, and where.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").args(["urls", "tag", "prefix", "host", "everything"]).required(true).multiple(true))]
pub(super) struct PurgeArgs {
    /// URLs, with all their variants
    #[arg(value_name = "URL")]
    urls: Vec<String>,
    /// Whatever has this tag; can be given several times, as can the next two
    #[arg(long, short)]
    tag: Vec<String>,
    /// Everything below this directory
    #[arg(long, value_name = "URL")]
    prefix: Vec<String>,
    /// Everything of this host, named with its port unless that is 80 or 443
    #[arg(long)]
    host: Vec<String>,
    /// Everything
    #[arg(long)]
    everything: bool,
    /// Serve it never again, not even while it is fetched anew
    #[arg(long)]
    hard: bool,
    #[command(flatten)]
    node: NodeArgs,
}

/// Purges, and says what it came to.
pub(super) fn purge(args: &PurgeArgs) -> anyhow::Result<String> {
    let PurgeArgs { urls, tag, prefix, host, everything, hard, node } = args;
    let body = json!({
        "urls": urls, "tags": tag, "prefixes": prefix, "hosts": host,
        "everything": everything, "hard": hard,
    });
    let answer = Api::of(node)?.ask("POST", "/api/cache/purge", &body)?;
    Ok(said(&answer.body))
}

fn said(purged: &Value) -> String {
    let count = |key: &str, one: &str, many: &str| match purged[key].as_u64().unwrap_or(0) {
        0 => None,
        1 => Some(format!("1 {one}")),
        count => Some(format!("{count} {many}")),
    };
    let everything = purged["everything"].as_bool().unwrap_or(false);
    let parts = [
        everything.then(|| "everything".to_owned()),
        count("urls", "URL", "URLs"),
        count("tags", "tag", "tags"),
        count("prefixes", "prefix", "prefixes"),
        count("hosts", "host", "hosts"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let how = if purged["mode"] == "hard" { "gone" } else { "stale" };
    let fleet = match purged["fleet"].as_str() {
        Some("told") => "; the other nodes were told",
        Some("away") => "; the other nodes will be told when the shared state is back",
        _ => "",
    };
    format!("{}: {how} after {} ms{fleet}\n", parts.join(", "), purged["took_ms"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_came_to_is_said_in_a_line() {
        for (purged, expect) in [
            (
                json!({"mode": "soft", "urls": 1, "tags": 2, "took_ms": 0.25, "fleet": "told"}),
                "1 URL, 2 tags: stale after 0.25 ms; the other nodes were told\n",
            ),
            (
                json!({"mode": "hard", "everything": true, "took_ms": 1.0, "fleet": "alone"}),
                "everything: gone after 1.0 ms\n",
            ),
        ] {
            assert_eq!(said(&purged), expect);
        }
    }
}
