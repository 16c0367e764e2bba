//! The documents say what the code does: the reference and the schema are those that it makes, and
//! every example, and every file shown in the README, in `docs` and in `apps`, loads without a
//! warning. Links between pages lead somewhere.
//!
//! A block that begins with "```toml fragment" is part of a file and is not loaded; one that begins
//! with "```toml snip" is for another program, whose tests load it. With
//! `SEAWALL_BLESS=1` set the reference and the schema are written again instead of compared.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use seawall_config::{json_schema, load, reference};

#[test]
fn the_reference_is_up_to_date() {
    compare(&root().join("docs/reference/configuration.md"), &reference());
}

#[test]
fn the_schema_is_up_to_date() {
    compare(&root().join("docs/reference/seawall.schema.json"), &json_schema());
}

#[test]
fn every_example_loads() {
    let mut seen = 0;
    for path in files(&root().join("examples"), "toml") {
        // Of the application, which loads them in its own tests.
        if path.file_name().is_some_and(|name| name == "snip.toml") {
            continue;
        }
        check(&read(&path), &path.display().to_string());
        seen += 1;
    }
    assert!(seen >= 3, "the examples are gone");
}

#[test]
fn every_file_in_the_documents_loads() {
    let mut seen = 0;
    for path in pages() {
        for (line, block) in blocks(&read(&path)) {
            check(&block, &format!("{}:{line}", path.display()));
            seen += 1;
        }
    }
    assert!(seen >= 1, "not even the reference shows a file");
}

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for path in pages() {
        let text = read(&path);
        let folder = path.parent().expect("a page is in a folder");
        for link in links(&text) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { folder.join(file) };
            let is_page = target.extension().is_some_and(|extension| extension == "md");
            let leads = target.exists()
                && (anchor.is_empty() || !is_page || anchors(&read(&target)).contains(anchor));
            if !leads {
                wrong.push(format!("{}: {link}", path.display()));
            }
            seen += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 100, "only {seen} links were found");
}

/// Where the links of a page lead that stay in the repository. Code has none.
fn links(page: &str) -> Vec<&str> {
    let mut is_code = false;
    let mut found = Vec::new();
    for line in page.lines() {
        is_code ^= line.trim_start().starts_with("```");
        if is_code {
            continue;
        }
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        found.extend(targets.map(|(target, _)| target).filter(|target| !target.contains("://")));
    }
    found
}

/// The names by which GitHub knows the headings of a page, and those that it gives itself.
fn anchors(page: &str) -> BTreeSet<String> {
    let (mut is_code, mut all) = (false, BTreeSet::new());
    for line in page.lines() {
        is_code ^= line.trim_start().starts_with("```");
        let named = line.split("<a id=\"").skip(1).filter_map(|rest| rest.split_once('"'));
        all.extend(named.map(|(name, _)| name.to_owned()));
        let Some(heading) = line.strip_prefix('#').filter(|_| !is_code) else { continue };
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let name = text.chars().filter_map(|character| match character {
            ' ' => Some('-'),
            '-' | '_' => Some(character),
            _ => character.is_alphanumeric().then_some(character),
        });
        let name: String = name.collect();
        let mut again = 1;
        let mut unique = name.clone();
        while !all.insert(unique.clone()) {
            unique = format!("{name}-{again}");
            again += 1;
        }
    }
    all
}

#[test]
fn headings_have_the_names_that_links_use() {
    let page = "# A `b.c`: d\n```sh\n# no heading\n```\n## A b\n## A b\n<a id=\"e\"></a>\n";
    let names: Vec<_> = anchors(page).into_iter().collect();
    assert_eq!(names, ["a-b", "a-b-1", "a-bc-d", "e"]);
    assert_eq!(links("[a](b.md#c) `x` [d](https://e.f)\n```\n[g](h)\n```\n"), ["b.md#c"]);
}

#[test]
fn blocks_are_found() {
    let page = "a\n```toml\nx = 1\n```\n```toml fragment\ny = 1\n```\n```sh\nls\n```\n  ```toml\n  z = 1\n  ```\n";
    assert_eq!(blocks(page), [(2, "x = 1\n".to_owned()), (11, "  z = 1\n".to_owned())]);
}

/// The pages of the repository.
fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<_> =
        ["docs", "apps", "examples"].iter().flat_map(|it| files(&root().join(it), "md")).collect();
    pages.extend(fs::read_dir(root()).expect("the repository is there").filter_map(|entry| {
        let path = entry.ok()?.path();
        (path.extension()? == "md").then_some(path)
    }));
    pages
}

/// The TOML blocks of a page that are whole files, with their lines.
fn blocks(page: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(bool, usize, String)> = None;
    for (index, line) in page.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        open = match (open, fence) {
            (None, Some(info)) => Some((info.trim() == "toml", index + 1, String::new())),
            (None, None) => None,
            (Some((whole, start, block)), Some(_)) => {
                if whole {
                    blocks.push((start, block));
                }
                None
            }
            (Some((whole, start, block)), None) => Some((whole, start, block + line + "\n")),
        };
    }
    blocks
}

fn check(text: &str, title: &str) {
    match load(text, title, &|_| None) {
        Ok(loaded) => assert!(loaded.warnings.is_empty(), "{}", loaded.warnings),
        Err(problems) => panic!("{problems}"),
    }
}

/// The files below a folder with this extension, sorted; none when there is no such folder.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn compare(path: &Path, found: &str) {
    if std::env::var_os("SEAWALL_BLESS").is_some() {
        fs::create_dir_all(path.parent().expect("it is in a folder"))
            .expect("the repository can be written");
        fs::write(path, found).expect("the repository can be written");
        return;
    }
    let kept = fs::read_to_string(path).unwrap_or_default();
    assert!(kept == found, "{} is out of date: run this test with SEAWALL_BLESS=1", path.display());
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the crate is in the repository")
}
