//! `snip change`: changes what is named of a link, and nothing else.
//!
//! Tags that are added or taken away are those of the link as it was read: the change is made only
//! if nobody else changed it meanwhile, else it is read again.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Context;
use clap::ArgGroup;
use serde_json::{Map, Value, json};

use super::client::{Access, Refused, Server};
use super::named::Named;
use super::{create, password, when};
use crate::api::LinkView;
use crate::instant;
use crate::link::{Code, Millis};

/// Times that a link is read again when others change it at the same time.
const TRIES: u32 = 10;

/// Change a link; what is not named stays.
#[derive(Debug, clap::Args)]
#[command(override_usage = "snip change [OPTIONS] <CODE>")]
#[command(group(ArgGroup::new("what").required(true).multiple(true).args([
    "target", "title", "no_title", "tags", "add", "remove", "no_tags", "expires", "no_expires",
    "clicks", "no_clicks", "status", "usual_status", "forward_query",
    "usual_query", "password_stdin", "no_password", "disable",
    "enable",
])))]
pub(super) struct Change {
    /// Its code, or the whole short link
    #[arg(value_name = "CODE", value_parser = Named::read)]
    link: Named,
    /// Where it leads
    #[arg(long, value_name = "URL")]
    target: Option<String>,
    /// Parameters of campaigns, put into the new target; may be repeated: `--utm source=mail`
    #[arg(long, value_name = "NAME=VALUE", requires = "target")]
    utm: Vec<String>,
    /// What people call it
    #[arg(long)]
    title: Option<String>,
    /// No title
    #[arg(long, conflicts_with = "title")]
    no_title: bool,
    /// By what people find it, in place of the tags that it has; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// A tag beside those that it has; may be repeated
    #[arg(long = "add-tag", value_name = "TAG", conflicts_with = "tags")]
    add: Vec<String>,
    /// A tag that it is not to have any more; may be repeated
    #[arg(long = "remove-tag", value_name = "TAG", conflicts_with = "tags")]
    remove: Vec<String>,
    /// No tags
    #[arg(long, conflicts_with_all = ["tags", "add", "remove"])]
    no_tags: bool,
    /// When it ends: `2030-01-31T12:00:00Z`, `2030-01-31` (at the end of that day, UTC), or from
    /// now on: `90m`, `12h`, `30d`, `1y`
    #[arg(long, value_name = "TIME", value_parser = when::end)]
    expires: Option<Millis>,
    /// It does not end by time
    #[arg(long, conflicts_with = "expires")]
    no_expires: bool,
    /// Clicks after which it ends, from now on
    #[arg(long, value_name = "NUMBER")]
    clicks: Option<i64>,
    /// It does not end by clicks
    #[arg(long, conflicts_with = "clicks")]
    no_clicks: bool,
    /// With what status it redirects: 301, 302, 307 or 308
    #[arg(long)]
    status: Option<u16>,
    /// It redirects with the status of the shortener's configuration
    #[arg(long, conflicts_with = "status")]
    usual_status: bool,
    /// Whether the query of visitors is sent on to where it leads
    #[arg(long, value_name = "BOOL")]
    forward_query: Option<bool>,
    /// Queries are sent on if the shortener's configuration says so
    #[arg(long, conflicts_with = "forward_query")]
    usual_query: bool,
    /// Visitors are asked for a password: the one line of the standard input; at a terminal it is
    /// asked for
    #[arg(long)]
    password_stdin: bool,
    /// Visitors are asked for no password
    #[arg(long, conflicts_with = "password_stdin")]
    no_password: bool,
    /// It leads nowhere (404), until it is enabled
    #[arg(long)]
    disable: bool,
    /// It leads to its target again
    #[arg(long, conflicts_with = "disable")]
    enable: bool,
    /// Only if it has this version, as `snip show` says it: else somebody changed it meanwhile
    #[arg(long, value_name = "VERSION")]
    if_version: Option<i64>,
    /// Print all that is known of the link, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    access: Access,
}

impl Change {
    /// Changes it, and prints the short link.
    ///
    /// # Errors
    /// When there is no such link, it is refused, or the shortener cannot be reached.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mut patch = self.patch()?;
        let server = self.access.server()?;
        let code = self.link.code(&server)?;
        let tags = Tags { add: self.add, remove: self.remove };
        let link = match tags.are_none() {
            true => send(&server, &code, &patch.into(), self.if_version)?,
            false => tags.edit(&server, &code, &mut patch, self.if_version)?,
        };
        create::tell(&link, self.json)?;
        Ok(ExitCode::SUCCESS)
    }

    /// A JSON Merge Patch of what is named, but for tags that are added or removed.
    fn patch(&self) -> anyhow::Result<Map<String, Value>> {
        let mut patch = Map::new();
        let mut set = |name: &str, value: Option<Value>, is_taken_away: bool| {
            if let Some(value) = value.or(is_taken_away.then_some(Value::Null)) {
                patch.insert(name.to_owned(), value);
            }
        };
        set("target", self.target.clone().map(Value::from), false);
        let utm = create::utm(&self.utm)?;
        set("utm", utm.map(serde_json::to_value).transpose()?, false);
        set("title", self.title.clone().map(Value::from), self.no_title);
        let tags = Some(self.tags.clone()).filter(|tags| !tags.is_empty());
        set("tags", tags.map(Value::from), self.no_tags);
        set("expires", self.expires.map(instant::shown).map(Value::from), self.no_expires);
        set("clicks_left", self.clicks.map(Value::from), self.no_clicks);
        set("status", self.status.map(Value::from), self.usual_status);
        set("forward_query", self.forward_query.map(Value::from), self.usual_query);
        let password = password::read_if(self.password_stdin)?;
        set("password", password.map(Value::from), self.no_password);
        set("disabled", (self.disable || self.enable).then_some(Value::from(self.disable)), false);
        Ok(patch)
    }
}

/// Tags that are added to those of a link, and taken away from them.
struct Tags {
    add: Vec<String>,
    remove: Vec<String>,
}

impl Tags {
    fn are_none(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }

    /// Sends a change together with the tags.
    fn edit(
        &self,
        server: &Server,
        code: &Code,
        patch: &mut Map<String, Value>,
        version: Option<i64>,
    ) -> anyhow::Result<LinkView> {
        for _ in 1..TRIES {
            match self.edit_once(server, code, patch, version) {
                Err(error) if version.is_none() && Refused::is(&error, "changed") => {}
                outcome => return outcome,
            }
        }
        let changed = self.edit_once(server, code, patch, version);
        changed.context("others change this link all the time")
    }

    fn edit_once(
        &self,
        server: &Server,
        code: &Code,
        patch: &mut Map<String, Value>,
        version: Option<i64>,
    ) -> anyhow::Result<LinkView> {
        let link: LinkView = server.read(&format!("/links/{code}"))?;
        let tags: BTreeSet<_> = link.tags.iter().chain(&self.add).collect();
        let tags: Vec<_> = tags.into_iter().filter(|tag| !self.remove.contains(tag)).collect();
        patch.insert("tags".to_owned(), json!(tags));
        send(server, code, &json!(patch), Some(version.unwrap_or(link.version)))
    }
}

fn send(
    server: &Server,
    code: &Code,
    patch: &Value,
    version: Option<i64>,
) -> anyhow::Result<LinkView> {
    server.change(&format!("/links/{code}"), patch, version)
}
