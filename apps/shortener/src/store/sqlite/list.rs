//! Lists of links and of tags.

use rusqlite::Connection;

use super::links::{COLUMNS, link_of};
use super::{Sqlite, StoreError};
use crate::link::{Code, Link, LinkQuery, Millis};
use crate::store::order::bounds;
use crate::store::{LinkPage, MOST_IN_A_PAGE, SEARCHED};

impl Sqlite {
    pub(in crate::store) async fn links(&self, query: &LinkQuery) -> Result<LinkPage, StoreError> {
        let query = query.clone();
        self.query(move |connection| links(connection, &query)).await
    }

    pub(in crate::store) async fn tags(
        &self,
        limit: u32,
    ) -> Result<Vec<(Box<str>, i64)>, StoreError> {
        self.query(move |connection| {
            let sql = "SELECT tag, COUNT(*) AS count FROM tags
                       GROUP BY tag ORDER BY count DESC, tag LIMIT ?";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}

fn links(connection: &Connection, query: &LinkQuery) -> Result<LinkPage, StoreError> {
    let (created, code, side, way) = bounds(query);
    let limit = query.limit.min(MOST_IN_A_PAGE) as usize;
    let sql = match query.tag {
        None => format!(
            "SELECT {COLUMNS} FROM links WHERE (created, code) {side} (?, ?)
             ORDER BY created {way}, code {way}"
        ),
        Some(_) => format!(
            "SELECT {COLUMNS} FROM tags CROSS JOIN links ON links.code = tags.code
             WHERE (tags.created, tags.code) {side} (?, ?) AND tag = ?
             ORDER BY tags.created {way}, tags.code {way}"
        ),
    };
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = match &query.tag {
        None => statement.query((created, code))?,
        Some(tag) => statement.query((created, code, tag))?,
    };
    let text = query.text.as_ref().map(|text| text.to_lowercase());
    let (mut links, mut searched) = (Vec::new(), 0);
    let mut last: Option<(Millis, Code)> = None;
    while let Some(row) = rows.next()? {
        if links.len() == limit || searched == SEARCHED {
            return Ok(LinkPage { links, next: last });
        }
        let link = link_of(row)?;
        last = Some((link.created, link.code.clone()));
        searched += 1;
        if text.as_ref().is_none_or(|text| has(&link, text)) {
            links.push(link);
        }
    }
    Ok(LinkPage { links, next: None })
}

fn has(link: &Link, text: &str) -> bool {
    let has = |place: &str| place.to_lowercase().contains(text);
    has(link.code.as_str()) || has(&link.target) || link.title.as_deref().is_some_and(has)
}
