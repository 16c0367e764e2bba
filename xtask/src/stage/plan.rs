//! What each stage is made of. The files of `examples/stages` say how; this only says what has to
//! run beside them.

use std::path::PathBuf;

use crate::build;
use crate::tools::Tool;

/// A stage of growth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Its folder in `examples/stages`.
    pub(crate) folder: &'static str,
    /// What is new in it.
    pub(crate) title: &'static str,
    /// Instances of `snip`.
    pub(crate) instances: usize,
    /// PostgreSQL in place of a file.
    pub(crate) is_postgres: bool,
    /// Replicas of it.
    pub(crate) replicas: usize,
    pub(crate) has_redis: bool,
    pub(crate) front: Front,
}

/// What clients speak with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Front {
    /// The one instance.
    Snip,
    /// Seawall, with `seawall.toml`.
    Seawall,
    /// A Seawall with `edge.toml`, before one with `shield.toml`.
    Edge,
}

/// All stages, by their number.
pub(crate) const PLANS: [Plan; 6] = [SINGLE, DATABASE, INSTANCES, REPLICAS, REDIS, EDGE];

const SINGLE: Plan = Plan {
    folder: "0-single",
    title: "one process, one file",
    instances: 1,
    is_postgres: false,
    replicas: 0,
    has_redis: false,
    front: Front::Snip,
};
const DATABASE: Plan =
    Plan { folder: "1-database", title: "PostgreSQL", is_postgres: true, ..SINGLE };
const INSTANCES: Plan = Plan {
    folder: "2-instances",
    title: "three instances behind Seawall",
    instances: 3,
    front: Front::Seawall,
    ..DATABASE
};
const REPLICAS: Plan =
    Plan { folder: "3-replicas", title: "two read replicas", replicas: 2, ..INSTANCES };
const REDIS: Plan = Plan { folder: "4-redis", title: "Redis", has_redis: true, ..REPLICAS };
const EDGE: Plan = Plan {
    folder: "5-edge",
    title: "an edge that caches",
    replicas: 0,
    front: Front::Edge,
    ..REDIS
};

impl Plan {
    /// Its number.
    pub(crate) fn number(&self) -> usize {
        PLANS.iter().position(|plan| plan == self).unwrap_or_default()
    }

    /// A file of its folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        build::root().join("examples/stages").join(self.folder).join(name)
    }

    /// Programs that it needs and that are not of this repository.
    pub(crate) fn tools(&self) -> Vec<Tool> {
        let mut tools = Vec::new();
        if self.is_postgres {
            tools.push(Tool { program: "postgres", package: "postgresql" });
        }
        if self.has_redis {
            tools.push(Tool::named("redis-server"));
        }
        tools
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_has_the_files_that_it_runs_on() {
        for (number, plan) in PLANS.iter().enumerate() {
            assert_eq!(plan.number(), number);
            assert!(plan.folder.starts_with(&format!("{number}-")));
            let seawall: &[&str] = match plan.front {
                Front::Snip => &[],
                Front::Seawall => &["seawall.toml"],
                Front::Edge => &["edge.toml", "shield.toml"],
            };
            for name in ["README.md", "snip.toml"].iter().chain(seawall) {
                assert!(plan.file(name).is_file(), "{} has no {name}", plan.folder);
            }
        }
    }

    /// Growing is by configuration, and each step is a small one.
    #[test]
    fn neighbours_differ_in_a_few_lines() {
        let read = |file: PathBuf| std::fs::read_to_string(file).expect("it is there");
        let settings = |text: String| -> Vec<String> {
            let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
            lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
        };
        for pair in PLANS.windows(2) {
            let [before, after] = pair else { continue };
            let (old, new) =
                (settings(read(before.file("snip.toml"))), settings(read(after.file("snip.toml"))));
            let gone = old.iter().filter(|line| !new.contains(line)).count();
            let come = new.iter().filter(|line| !old.contains(line)).count();
            assert!(gone <= 4 && (1..=8).contains(&come), "{}: -{gone} +{come}", after.folder);
        }
    }
}
