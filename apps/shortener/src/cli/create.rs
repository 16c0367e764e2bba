//! `snip create`: makes a short link at a running shortener and prints it.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;

use super::client::{Access, unique};
use crate::api::{CreateLink, LinkView, UtmView};
use crate::instant;
use crate::link::Millis;
use crate::store::system_clock;

/// Make a short link.
#[derive(Debug, clap::Args)]
pub(super) struct Create {
    /// Where it leads
    #[arg(value_name = "URL")]
    target: String,
    /// What it is called, in place of seven letters and digits
    #[arg(long)]
    alias: Option<String>,
    /// What people call it
    #[arg(long)]
    title: Option<String>,
    /// By what people find it; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// When it ends: `2030-01-31T12:00:00Z`, `2030-01-31` (at the end of that day, UTC), or from
    /// now on: `90m`, `12h`, `30d`, `1y`
    #[arg(long, value_name = "TIME", value_parser = |text: &str| expires(text, system_clock()))]
    expires: Option<Millis>,
    /// Clicks after which it ends
    #[arg(long, value_name = "NUMBER")]
    clicks: Option<i64>,
    /// With what status it redirects: 301, 302, 307 or 308
    #[arg(long)]
    status: Option<u16>,
    /// Parameters of campaigns, put into the target; may be repeated: `--utm source=mail`
    #[arg(long, value_name = "NAME=VALUE")]
    utm: Vec<String>,
    /// Print all that is known of the link, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    access: Access,
}

impl Create {
    /// Makes the link.
    ///
    /// # Errors
    /// When it is refused, or the shortener cannot be reached.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let link = CreateLink {
            target: self.target,
            alias: self.alias,
            title: self.title,
            tags: Some(self.tags).filter(|tags| !tags.is_empty()),
            status: self.status,
            forward_query: None,
            expires: self.expires.map(instant::shown),
            clicks_left: self.clicks,
            password: None,
            utm: utm(&self.utm)?,
        };
        let made = self.access.server()?.make::<LinkView>("/links", &link, &unique()?)?.body;
        for warning in &made.warnings {
            eprintln!("note: {}", warning.detail);
        }
        match self.json {
            true => writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&made)?)?,
            false => writeln!(io::stdout(), "{}", made.short_url)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn utm(pairs: &[String]) -> anyhow::Result<Option<UtmView>> {
    if pairs.is_empty() {
        return Ok(None);
    }
    let mut object = serde_json::Map::new();
    for pair in pairs {
        let (name, value) = pair
            .split_once('=')
            .with_context(|| format!("--utm is like `source=mail`, not `{pair}`"))?;
        let name = name.strip_prefix("utm_").unwrap_or(name);
        object.insert(name.to_owned(), value.into());
    }
    let utm = serde_json::from_value(object.into());
    utm.map(Some).context("--utm is one of source, medium, campaign, term, content, id")
}

/// A time, a day, or a span from now on.
fn expires(text: &str, now: Millis) -> Result<Millis, String> {
    const DAY: Millis = 86_400_000;
    if let Some(at) = instant::parse(text) {
        return Ok(at);
    }
    if let Some(midnight) = instant::parse(&format!("{text}T00:00:00Z")) {
        return Ok(midnight + DAY);
    }
    let split = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = match unit {
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => DAY,
        "w" => 7 * DAY,
        "y" => 365 * DAY,
        _ => return Err("a time is like `2030-01-31T12:00:00Z`, `2030-01-31` or `30d`".into()),
    };
    let span = number.parse::<Millis>().ok().and_then(|number| number.checked_mul(unit));
    let at = span.and_then(|span| now.checked_add(span));
    at.ok_or_else(|| "that is too far away".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_times_days_or_spans() {
        let now = 1_795_439_951_123;
        for (text, expect) in [
            ("2030-01-31T12:00:00Z", Some("2030-01-31T12:00:00.000Z")),
            ("2030-01-31", Some("2030-02-01T00:00:00.000Z")),
            ("90m", Some("2026-11-23T14:49:11.123Z")),
            ("30d", Some("2026-12-23T13:19:11.123Z")),
            ("30", None),
            ("d", None),
            ("2030-02-31", None),
            ("99999999999999999999y", None),
            ("9999999999999y", None),
        ] {
            assert_eq!(expires(text, now).ok().map(instant::shown).as_deref(), expect, "{text}");
        }
    }

    #[test]
    fn campaigns_are_named() {
        let read =
            |pairs: &[&str]| utm(&pairs.iter().map(|pair| (*pair).to_owned()).collect::<Vec<_>>());
        let expect =
            UtmView { source: Some("mail".into()), id: Some("a=b".into()), ..UtmView::default() };
        assert_eq!(read(&["source=mail", "utm_id=a=b"]).ok(), Some(Some(expect)));
        assert!(read(&["source"]).is_err());
        assert!(read(&["sauce=x"]).is_err());
    }
}
