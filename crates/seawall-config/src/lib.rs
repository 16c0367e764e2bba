//! Seawall's configuration: text → `Config` → [`plan::Plan`].

pub mod plan;
