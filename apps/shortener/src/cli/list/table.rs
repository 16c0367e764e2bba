//! Links as lines of columns: for people as wide as their terminal, for programs between tabs. Pure.

use crate::api::LinkView;
use crate::cli::terminal::shown;

/// Of each link: code, when it was made, state, clicks, target, tags, title.
const COLUMNS: usize = 7;

const NAMES: [&str; COLUMNS] = ["CODE", "MADE", "STATE", "CLICKS", "TARGET", "TAGS", "TITLE"];

const MADE: usize = 1;
const CLICKS: usize = 3;

/// From here on columns are made narrower when there is no room.
const NARROWED: usize = 4;

/// To how many characters at least.
const NARROWEST: usize = 12;

/// Between two columns at a terminal.
const GAP: &str = "  ";

/// What was written, as far as the next page depends on it.
#[derive(Debug)]
pub(super) struct Table {
    /// Of the terminal; `None`: for programs.
    width: Option<usize>,
    with_clicks: bool,
    /// Of the columns: at least as before, so that pages agree as well as they can.
    widths: [usize; COLUMNS],
    is_begun: bool,
}

impl Table {
    /// For a terminal so wide, or for none.
    pub(super) fn new(width: Option<usize>, with_clicks: bool) -> Table {
        Table { width, with_clicks, widths: [0; COLUMNS], is_begun: false }
    }

    /// The lines of a page.
    pub(super) fn page(&mut self, links: &[LinkView]) -> String {
        let mut rows: Vec<_> = links.iter().map(cells).collect();
        let Some(width) = self.width else {
            return rows.iter().map(|row| row.join("\t") + "\n").collect();
        };
        // A day is enough for people.
        rows.iter_mut().for_each(|row| row[MADE].truncate(10));
        if !self.is_begun && !rows.is_empty() {
            rows.insert(0, NAMES.map(str::to_owned));
            self.is_begun = true;
        }
        for (index, widest) in self.widths.iter_mut().enumerate() {
            let lengths = rows.iter().map(|row| row[index].chars().count());
            *widest = lengths.max().unwrap_or(0).max(*widest);
        }
        let widths = self.narrowed(width);
        rows.iter().map(|row| self.line(row, &widths)).collect()
    }

    /// Widths that fit, if the widest columns give way.
    fn narrowed(&self, width: usize) -> [usize; COLUMNS] {
        let mut widths = self.widths;
        let shown = (0..COLUMNS).filter(|index| self.is_shown(*index)).count();
        let used: usize = (0..COLUMNS).filter(|it| self.is_shown(*it)).map(|it| widths[it]).sum();
        let mut over = (used + (shown - 1) * GAP.len()).saturating_sub(width);
        while over > 0 {
            let widest = widths[NARROWED..].iter_mut().max().expect("there are such columns");
            if *widest <= NARROWEST {
                break;
            }
            *widest -= 1;
            over -= 1;
        }
        widths
    }

    fn line(&self, row: &[String; COLUMNS], widths: &[usize; COLUMNS]) -> String {
        let cells = (0..COLUMNS).filter(|index| self.is_shown(*index)).map(|index| {
            let (cell, width) = (&row[index], widths[index]);
            match index {
                CLICKS => format!("{cell:>width$}"),
                _ if cell.chars().count() <= width => format!("{cell:width$}"),
                _ => cell.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
            }
        });
        let line = cells.collect::<Vec<_>>().join(GAP);
        line.trim_end().to_owned() + "\n"
    }

    fn is_shown(&self, column: usize) -> bool {
        column != CLICKS || self.with_clicks
    }
}

fn cells(link: &LinkView) -> [String; COLUMNS] {
    [
        shown(&link.code).into_owned(),
        shown(&link.created).into_owned(),
        state(link),
        link.recent_clicks.map(|clicks| clicks.to_string()).unwrap_or_default(),
        shown(&link.target).into_owned(),
        shown(&link.tags.join(",")).into_owned(),
        link.title.as_deref().map(|title| shown(title).into_owned()).unwrap_or_default(),
    ]
}

/// Whether it leads somewhere, and whether it asks for a password.
fn state(link: &LinkView) -> String {
    let is_expired = link.warnings.iter().any(|warning| warning.code == "expired");
    let state = match () {
        () if link.disabled => "disabled",
        () if is_expired => "expired",
        () if link.clicks_left == Some(0) => "used-up",
        () => "active",
    };
    let password = if link.protected { ",password" } else { "" };
    format!("{state}{password}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn link(code: &str, more: &Value) -> LinkView {
        let mut link = json!({
            "code": code, "short_url": format!("https://sn.ip/{code}"), "status": 302,
            "target": "https://a.example/", "title": null, "tags": [], "expires": null,
            "clicks_left": null, "protected": false, "disabled": false, "version": 1,
            "created": "2026-11-23T13:19:11.123Z", "updated": "2026-11-23T13:19:11.123Z",
            "warnings": [],
        });
        for (name, value) in more.as_object().expect("an object") {
            link[name] = value.clone();
        }
        serde_json::from_value(link).expect("a link")
    }

    #[test]
    fn programs_read_whole_columns_between_tabs() {
        let mut table = Table::new(None, false);
        let long = format!("https://a.example/{}", "x".repeat(500));
        let links = [
            link("a", &json!({ "target": long, "tags": ["x", "y z"], "title": "tab\there" })),
            link("b", &json!({ "recent_clicks": 7, "clicks_left": 0, "protected": true })),
        ];
        let made = "2026-11-23T13:19:11.123Z";
        assert_eq!(
            table.page(&links),
            format!(
                "a\t{made}\tactive\t\t{long}\tx,y z\ttab\\there\n\
                 b\t{made}\tused-up,password\t7\thttps://a.example/\t\t\n"
            )
        );
    }

    #[test]
    fn people_read_lines_that_fit() {
        let links = [
            link("spring-sale", &json!({ "recent_clicks": 1234, "disabled": true })),
            link(
                "b",
                &json!({ "target": format!("https://a.example/{}", "x".repeat(100)),
                "title": "A page\u{1b}[31m", "recent_clicks": 5 }),
            ),
        ];
        let text = Table::new(Some(90), true).page(&links);
        assert_eq!(
            text,
            "\
CODE         MADE        STATE     CLICKS  TARGET                   TAGS  TITLE
spring-sale  2026-11-23  disabled    1234  https://a.example/
b            2026-11-23  active         5  https://a.example/xxxx…        A page\\u{1b}[31m
"
        );
        assert!(text.lines().all(|line| line.chars().count() <= 90), "{text}");
        // Codes are never cut, however narrow it is.
        let mut table = Table::new(Some(10), false);
        let text = table.page(&links);
        assert!(text.contains("spring-sale") && text.contains("https://a.e…"), "{text}");
        // A second page has no second head.
        assert!(!table.page(&links).contains("CODE"));
    }

    #[test]
    fn a_link_says_why_it_leads_nowhere() {
        for (more, expect) in [
            (json!({}), "active"),
            (json!({ "clicks_left": 1 }), "active"),
            (json!({ "warnings": [{ "code": "expired", "detail": "" }] }), "expired"),
            (json!({ "warnings": [{ "code": "private-address", "detail": "" }] }), "active"),
            (json!({ "disabled": true, "clicks_left": 0 }), "disabled"),
        ] {
            assert_eq!(state(&link("a", &more)), expect, "{more}");
        }
    }
}
