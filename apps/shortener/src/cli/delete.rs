//! `snip delete`: deletes links, for ever.

use std::io::{self, Write};
use std::process::ExitCode;

use super::client::Access;
use super::named::{self, Named};

/// Delete links.
#[derive(Debug, clap::Args)]
pub(super) struct Delete {
    /// Their codes, or the whole short links
    #[arg(value_name = "CODE", required = true, value_parser = Named::read)]
    links: Vec<Named>,
    #[command(flatten)]
    access: Access,
}

impl Delete {
    /// Deletes each, and says so of each. Fails when one was not there; the others are deleted all
    /// the same.
    ///
    /// # Errors
    /// When a name is none of a link here, before any is deleted; or the shortener refuses.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let server = self.access.server()?;
        let (mut code, mut said) = (ExitCode::SUCCESS, Ok(()));
        for link in named::codes(&self.links, &server)? {
            if server.delete(&format!("/links/{link}"))? {
                // If nobody reads it any more, the others are to be deleted all the same.
                said = said.and(writeln!(io::stdout(), "deleted {link}"));
            } else {
                eprintln!("snip: there is no link `{link}`; case counts");
                code = ExitCode::FAILURE;
            }
        }
        said?;
        Ok(code)
    }
}
