//! `snip create`: makes a short link at a running shortener and prints it.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;

use super::client::{Access, unique};
use super::{password, terminal, when};
use crate::api::{CreateLink, LinkView, UtmView};
use crate::instant;
use crate::link::Millis;

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
    #[arg(long, value_name = "TIME", value_parser = when::end)]
    expires: Option<Millis>,
    /// Clicks after which it ends
    #[arg(long, value_name = "NUMBER")]
    clicks: Option<i64>,
    /// With what status it redirects: 301, 302, 307 or 308
    #[arg(long)]
    status: Option<u16>,
    /// Whether the query of visitors is sent on to where it leads; absent: as configured
    #[arg(long, value_name = "BOOL")]
    forward_query: Option<bool>,
    /// Parameters of campaigns, put into the target; may be repeated: `--utm source=mail`
    #[arg(long, value_name = "NAME=VALUE")]
    utm: Vec<String>,
    /// Visitors are asked for a password: the one line of the standard input; at a terminal it is
    /// asked for
    #[arg(long)]
    password_stdin: bool,
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
            forward_query: self.forward_query,
            expires: self.expires.map(instant::shown),
            clicks_left: self.clicks,
            password: password::read_if(self.password_stdin)?,
            utm: utm(&self.utm)?,
        };
        let made = self.access.server()?.make::<LinkView>("/links", &link, &unique()?)?.body;
        tell(&made, self.json)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints a link that was made or changed: the short link, or all that is known of it as JSON; and
/// what people should know about it.
///
/// # Errors
/// When it cannot be written.
pub(super) fn tell(link: &LinkView, as_json: bool) -> anyhow::Result<()> {
    for warning in &link.warnings {
        eprintln!("note: {}", terminal::shown(&warning.detail));
    }
    match as_json {
        true => writeln!(io::stdout(), "{}", terminal::json(link)?)?,
        false => writeln!(io::stdout(), "{}", terminal::shown(&link.short_url))?,
    }
    Ok(())
}

/// Campaigns as `NAME=VALUE`; `None` for none.
///
/// # Errors
/// When one is not of this form, or its name is none of those that there are.
pub(super) fn utm(pairs: &[String]) -> anyhow::Result<Option<UtmView>> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
