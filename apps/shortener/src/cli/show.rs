//! `snip show`: all that is known of a link.

use std::io::{self, Write};
use std::process::ExitCode;

use super::client::Access;
use super::named::Named;
use super::terminal::{self, shown};
use crate::api::LinkView;

/// Show a link.
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// Its code, or the whole short link
    #[arg(value_name = "CODE", value_parser = Named::read)]
    link: Named,
    /// As JSON, as the API has it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    access: Access,
}

impl Show {
    /// Prints what is known.
    ///
    /// # Errors
    /// When there is no such link, or the shortener cannot be asked.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let server = self.access.server()?;
        let code = self.link.code(&server)?;
        let link: LinkView = server.read(&format!("/links/{code}"))?;
        let text = match self.json {
            true => terminal::json(&link)? + "\n",
            false => lines(&link),
        };
        io::stdout().write_all(text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A line for each thing that is known, `-` for what it has not.
fn lines(link: &LinkView) -> String {
    let text = |text: Option<&str>| match text {
        Some(text) if !text.is_empty() => shown(text).into_owned(),
        _ => "-".to_owned(),
    };
    let yes = |is: bool| (if is { "yes" } else { "no" }).to_owned();
    let mut rows = vec![
        ("short link", text(Some(&link.short_url))),
        ("code", text(Some(&link.code))),
        ("target", text(Some(&link.target))),
        ("status", link.status.to_string()),
        ("query", (if link.forward_query { "sent on" } else { "left out" }).to_owned()),
        ("title", text(link.title.as_deref())),
        ("tags", text(Some(&link.tags.join(", ")))),
        ("expires", text(link.expires.as_deref())),
        ("clicks left", link.clicks_left.map_or_else(|| "-".to_owned(), |left| left.to_string())),
        ("password", yes(link.protected)),
        ("disabled", yes(link.disabled)),
        ("created", text(Some(&link.created))),
        ("updated", text(Some(&link.updated))),
        ("version", link.version.to_string()),
    ];
    rows.extend(link.warnings.iter().map(|warning| ("note", text(Some(&warning.detail)))));
    rows.iter().map(|(name, value)| format!("{name:11}  {value}\n")).collect()
}
