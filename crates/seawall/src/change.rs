//! Changes of the servers of an upstream while everything runs: what the admin API is asked for,
//! and files with servers that have changed.

use seawall_admin::{Order, Problem, Refused, view};
use seawall_config::servers::{Format, servers_from};
use seawall_http::door::servers::ChangeError;
use seawall_http::door::status;

use crate::lists;
use crate::reload::{Reloader, described};
use crate::shown;
use crate::watch::Change;

impl Reloader {
    /// Puts the servers of `list`, which is JSON, in place of those of an upstream; without a list
    /// those of configuration and file again.
    pub(crate) async fn set_servers(
        &mut self,
        name: &str,
        list: Option<&[u8]>,
    ) -> Result<view::Changed, Refused> {
        let change = match list {
            Some(list) => {
                // That it does not exist says more than what is wrong with the list.
                self.door.knows(name).map_err(refused)?;
                let listeners = lists::listeners(self.door.plan());
                let servers = servers_from(list, Format::Json, "body", &listeners);
                let servers = servers.map_err(|problems| wrong(described(&problems)))?;
                self.door.replace_servers(name, &servers).await
            }
            None => self.door.reset_servers(name).await,
        };
        let change = change.map_err(refused)?;
        let Some(status) = self.door.upstream(name) else {
            return Err(Refused::Failed { detail: format!("the upstream `{name}` has gone") });
        };
        Ok(view::Changed {
            added: change.added,
            removed: change.removed,
            altered: change.altered,
            warnings: warnings(&status, change.dropped),
            upstream: shown::upstream(status, self.lists.of(name)),
        })
    }

    /// Says whether a server is to be used.
    pub(crate) fn order(
        &mut self,
        name: &str,
        server: &str,
        order: Order,
    ) -> Result<view::Ordered, Refused> {
        let given = match order {
            Order::Use => status::Order::Use,
            Order::Drain => status::Order::Drain,
            Order::Disable => status::Order::Disable,
        };
        let ordered = self.door.order(name, server, given).map_err(refused)?;
        let warning = match (&ordered.server, order) {
            (None, _) => Some("the server is not there now; this holds when it returns"),
            (_, Order::Use) => None,
            _ if ordered.usable == 0 => {
                Some("no server of this upstream is left in use: its requests are answered 503")
            }
            _ if ordered.ready == 0 => Some("none of the servers that are left in use is well"),
            _ => None,
        };
        let server = ordered.server.map(shown::server);
        Ok(view::Ordered { server, warning: warning.map(str::to_owned) })
    }

    /// Looks at a file that has changed: the configuration, or one with servers.
    pub(crate) async fn file_changed(&mut self, change: Change) {
        if self.source.file() == Some(&*change.path) {
            self.configuration_changed(&change).await;
        }
        for upstream in self.lists.users(&change.path) {
            let file = change.path.display().to_string();
            match lists::servers(&change.path, &change.content, self.door.plan()) {
                Ok(servers) => {
                    if let Err(error) = self.door.set_file_servers(&upstream, &servers).await {
                        tracing::error!(%upstream, file, %error, "its servers cannot be used");
                        continue;
                    }
                    if self.lists.of(&upstream).is_some_and(|list| list.trouble.is_some()) {
                        tracing::info!(%upstream, file, "the file with its servers is right again");
                        self.lists.note(&upstream, None, &self.metrics);
                    }
                }
                // Who writes it may not be done.
                Err(_) if !change.settled => {}
                Err(trouble) => {
                    warn(&upstream, &file, &trouble);
                    self.lists.note(&upstream, Some(trouble.to_string()), &self.metrics);
                }
            }
        }
    }

    /// An editor may replace the file in several steps; while it is away or empty there is nothing
    /// to put in place.
    async fn configuration_changed(&mut self, change: &Change) {
        if let Ok(content) = &change.content
            && !content.is_empty()
            && !change.settled
            && self.loaded.as_ref() != Some(content)
        {
            self.loaded = Some(content.clone());
            self.reload().await;
        }
    }
}

/// Tells the log what is wrong with a file.
pub(crate) fn warn(upstream: &str, file: &str, trouble: &lists::Trouble) {
    tracing::warn!(
        upstream,
        file,
        error = %trouble,
        "the file with its servers cannot be used; those of the last good one stay"
    );
}

fn warnings(status: &status::UpstreamStatus, dropped: usize) -> Vec<String> {
    let mut warnings = Vec::new();
    if status.stranded {
        let text = "none of these servers has an address; those from before stay in use";
        warnings.push(text.to_owned());
    }
    for name in &status.names {
        if let Some(trouble) = &name.trouble {
            warnings.push(format!("`{}` does not resolve: {trouble}", name.name));
        }
    }
    if dropped > 0 {
        warnings.push(format!("{dropped} servers are too many and not used"));
    }
    warnings
}

fn wrong(problems: Vec<Problem>) -> Refused {
    let detail = match problems.as_slice() {
        [one] => format!("line {}, column {}: {}", one.line, one.column, one.message),
        many => format!("the list of servers has {} mistakes", many.len()),
    };
    Refused::Wrong { detail, problems }
}

fn refused(error: ChangeError) -> Refused {
    let detail = error.to_string();
    match error {
        ChangeError::UnknownUpstream { known, .. } | ChangeError::UnknownServer { known, .. } => {
            Refused::Unknown { detail, known }
        }
        ChangeError::NothingElse(_) => Refused::Conflict {
            detail,
            help: "name servers in the configuration, or PUT others".to_owned(),
        },
        ChangeError::TooManyOrders(_) => Refused::Conflict {
            detail,
            help: "send {\"state\": \"use\"} for servers that are to be used again".to_owned(),
        },
        ChangeError::Resolver(_) => Refused::Failed { detail },
    }
}
