//! Seawall's configuration: text → `Config`, as its author wrote it → [`plan::Plan`], as the
//! program runs on it.
//!
//! Never reads files or the environment, which are arguments. All problems of a text are found at
//! once ([`Problems`]). The binary calls it at start, on reload and for `seawall check`.
//!
//! ```
//! let text = r#"
//! [listen.web]
//! address = "0.0.0.0:8080"
//!
//! [upstream.app]
//! servers = ["127.0.0.1:${PORT:-3000}"]
//!
//! [[route]]
//! to = "app"
//! "#;
//! let loaded = seawall_config::load(text, "seawall.toml", &|_| None)?;
//! assert_eq!(loaded.plan.routes.len(), 1);
//! # Ok::<(), seawall_config::Problems>(())
//! ```

mod address;
mod compile;
mod config;
mod header;
mod host;
mod json;
mod load;
mod name;
mod nearest;
mod path;
pub mod plan;
mod problem;
mod read;
mod reference;
mod report;
mod rules;
mod schema;
mod section;
pub mod servers;
mod shape;
mod single;
mod source;
mod surroundings;
mod syntax;
mod template;
mod text;
mod units;

pub use load::{LARGEST_FILE, Loaded, load, load_bytes, load_bytes_with};
pub use problem::{Problem, Problems, Severity};
pub use reference::reference;
pub use schema::json_schema;
pub use single::{single_upstream, single_upstream_text};
pub use surroundings::{ReadFile, Surroundings};
