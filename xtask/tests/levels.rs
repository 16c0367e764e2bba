//! The crates of the workspace may only know what lies below them. This reads every manifest and
//! says which edge is not allowed, so that the shape of the program is kept by a test and not by
//! attention.

use std::fs;
use std::path::Path;

use toml::{Table, Value};

/// From the bottom up. A crate may depend on those of lower levels, never on its own or a higher
/// one; so the doors (`http`, `sql`) do not know each other.
const LEVELS: &[&[&str]] = &[
    &["seawall-core", "seawall-h1", "seawall-config", "seawall-telemetry", "seawall-testkit"],
    &["seawall-cache", "seawall-state", "seawall-jobs", "seawall-doctor", "seawall-drill"],
    &["seawall-http", "seawall-sql"],
    &["seawall-admin"],
    &["seawall"],
];

/// The one crate that every test may use, and that nothing that is shipped may.
const TESTKIT: &str = "seawall-testkit";

#[test]
fn crate_edges_only_go_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut manifests = vec![Manifest::read(&root.join("xtask"), "xtask")];
    for folder in ["crates", "apps"] {
        for entry in fs::read_dir(root.join(folder)).expect("a folder of the workspace") {
            let entry = entry.expect("an entry");
            if entry.path().is_dir() {
                let name = entry.file_name();
                manifests.push(Manifest::read(&entry.path(), &name.to_string_lossy()));
            }
        }
    }
    assert!(manifests.len() > 4, "the manifests are not where they should be");
    let problems: Vec<String> = manifests.iter().flat_map(problems).collect();
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// What matters of a `Cargo.toml`.
struct Manifest {
    folder: String,
    name: String,
    /// Crates of this project it depends on, and whether only for its tests.
    edges: Vec<(String, bool)>,
}

impl Manifest {
    fn read(path: &Path, folder: &str) -> Self {
        let text = fs::read_to_string(path.join("Cargo.toml"))
            .unwrap_or_else(|error| panic!("the manifest of {folder}: {error}"));
        Self::parse(folder, &text)
    }

    fn parse(folder: &str, text: &str) -> Self {
        let table: Table = text.parse().expect("a manifest is TOML");
        let mut edges = Vec::new();
        collect(&table, &mut edges);
        // Those of one platform count as those of all.
        let targets = table.get("target").and_then(Value::as_table);
        for target in targets.into_iter().flat_map(Table::values) {
            collect(target.as_table().expect("a table for each platform"), &mut edges);
        }
        Self {
            folder: folder.to_owned(),
            name: table["package"]["name"].as_str().expect("a name").to_owned(),
            edges,
        }
    }
}

fn collect(table: &Table, edges: &mut Vec<(String, bool)>) {
    for (section, for_tests) in
        [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)]
    {
        let section = table.get(section).and_then(Value::as_table);
        for (key, value) in section.into_iter().flatten() {
            let renamed = value.get("package").and_then(Value::as_str);
            let name = renamed.unwrap_or(key);
            if is_ours(name) {
                edges.push((name.to_owned(), for_tests));
            }
        }
    }
}

fn is_ours(name: &str) -> bool {
    name == "seawall" || name.starts_with("seawall-")
}

fn level(name: &str) -> Option<usize> {
    LEVELS.iter().position(|level| level.contains(&name))
}

fn problems(manifest: &Manifest) -> Vec<String> {
    let Manifest { folder, name, edges } = manifest;
    let mut problems = Vec::new();
    // Applications are called as their programs are.
    if is_ours(name) && folder != name {
        problems.push(format!("{name} lies in a folder called {folder}"));
    }
    let own = level(name);
    if is_ours(name) && own.is_none() {
        problems.push(format!("{name} has no level; give it one in this test"));
    }
    for (edge, for_tests) in edges {
        let allowed = if edge == TESTKIT {
            *for_tests || name == "xtask"
        } else {
            // Applications and tasks have no level: they see Seawall only from outside.
            matches!((own, level(edge)), (Some(own), Some(below)) if below < own)
        };
        if !allowed {
            problems.push(format!("{name} must not depend on {edge}"));
        }
    }
    problems
}

#[test]
fn edges_that_do_not_go_down_are_found() {
    let check = |folder: &str, dependencies: &str, expect: &[&str]| {
        let text = format!("[package]\nname = \"{folder}\"\n{dependencies}");
        assert_eq!(problems(&Manifest::parse(folder, &text)), expect, "{text}");
    };
    check("seawall-http", "[dependencies]\nseawall-h1.workspace = true\nbytes = \"1\"", &[]);
    check("seawall-http", "[dev-dependencies]\nseawall-testkit.workspace = true", &[]);
    check("xtask", "[dependencies]\nseawall-testkit.workspace = true", &[]);
    check("seawall", "[dependencies]\nseawall-admin = {}\nseawall-http = {}", &[]);
    check(
        "seawall-http",
        "[dependencies]\nseawall-sql.workspace = true",
        &["seawall-http must not depend on seawall-sql"],
    );
    check(
        "seawall-core",
        "[build-dependencies]\nseawall-config.workspace = true",
        &["seawall-core must not depend on seawall-config"],
    );
    check(
        "seawall-http",
        "[dependencies]\nseawall-testkit.workspace = true",
        &["seawall-http must not depend on seawall-testkit"],
    );
    check(
        "hello",
        "[target.'cfg(unix)'.dependencies]\nother = { package = \"seawall-core\" }",
        &["hello must not depend on seawall-core"],
    );
    check("seawall-new", "", &["seawall-new has no level; give it one in this test"]);
    let moved = Manifest::parse("x", "[package]\nname = \"seawall-core\"");
    assert_eq!(problems(&moved), ["seawall-core lies in a folder called x"]);
}
