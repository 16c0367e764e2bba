//! `snip export`: all links of a running shortener, page by page, on the standard output; or the
//! clicks that are in the stream of NATS, which it reads itself.

mod clicks;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;
use url::form_urlencoded::byte_serialize;

use super::client::Access;
use crate::api::export::{COLUMNS, record};
use crate::api::{LinkList, LinkView};

/// Write all links to the standard output, newest first.
#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// How
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Only links with this tag
    #[arg(long)]
    tag: Option<String>,
    /// Not links but clicks, those of the last seven days, as JSON lines; read from the `nats` of the
    /// configuration
    #[arg(long, conflicts_with_all = ["format", "tag"])]
    clicks: bool,
    /// Configuration file, for --clicks [default: snip.toml, if there is one]
    #[arg(long, value_name = "FILE", requires = "clicks")]
    config: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
}

/// How links are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Comma-separated, with names in the first line; passwords and clicks are not in it
    Csv,
    /// A list of what the API shows of each link
    Json,
}

impl Export {
    /// Writes the links.
    ///
    /// # Errors
    /// When the shortener cannot be read, or nothing can be written.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        self.write()?;
        Ok(ExitCode::SUCCESS)
    }

    fn write(self) -> anyhow::Result<()> {
        if self.clicks {
            return clicks::write(self.config.as_deref());
        }
        let server = self.access.server()?;
        let mut out = Out::new(self.format, BufWriter::new(io::stdout().lock()))?;
        let tag: String = self.tag.unwrap_or_default();
        let tag: String = byte_serialize(tag.as_bytes()).collect();
        let mut path = format!("/links?limit=1000&tag={tag}");
        loop {
            let page: LinkList = server.read(&path)?;
            for link in &page.links {
                out.link(link)?;
            }
            let Some(next) = page.next else { break };
            path = format!("/links?limit=1000&tag={tag}&cursor={next}");
        }
        out.finish()
    }
}

/// Where links go.
enum Out<W: Write> {
    Csv(Box<csv::Writer<W>>),
    Json { out: W, is_first: bool },
}

impl<W: Write> Out<W> {
    fn new(format: Format, mut out: W) -> anyhow::Result<Out<W>> {
        Ok(match format {
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(out);
                writer.write_record(COLUMNS)?;
                Out::Csv(Box::new(writer))
            }
            Format::Json => {
                out.write_all(b"[")?;
                Out::Json { out, is_first: true }
            }
        })
    }

    fn link(&mut self, link: &LinkView) -> anyhow::Result<()> {
        match self {
            Out::Csv(writer) => writer.write_record(record(link))?,
            Out::Json { out, is_first } => {
                out.write_all(if *is_first { b"\n" } else { b",\n" })?;
                serde_json::to_writer(out, link)?;
                *is_first = false;
            }
        }
        Ok(())
    }

    fn finish(self) -> anyhow::Result<()> {
        match self {
            Out::Csv(mut writer) => writer.flush().context("cannot write")?,
            Out::Json { mut out, .. } => {
                out.write_all(b"\n]\n")?;
                out.flush().context("cannot write")?;
            }
        }
        Ok(())
    }
}
