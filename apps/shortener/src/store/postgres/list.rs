//! Lists of links and of tags.

use super::links::{COLUMNS, link_of};
use super::{Postgres, StoreError, Values};
use crate::link::{Link, LinkQuery};
use crate::store::order::bounds;
use crate::store::{LinkPage, MOST_IN_A_PAGE, SEARCHED, patch};

impl Postgres {
    /// From the primary: whoever made a link looks for it here.
    pub(in crate::store) async fn links(&self, query: &LinkQuery) -> Result<LinkPage, StoreError> {
        let (created, code, side, way) = bounds(query);
        let limit = i64::from(query.limit.min(MOST_IN_A_PAGE));
        let text = query.text.as_ref().map(|text| text.to_lowercase());
        // One more than asked for tells whether there is a next page.
        let within = if text.is_some() { i64::from(SEARCHED) } else { limit + 1 };
        let candidates = match query.tag {
            None => format!(
                "links WHERE $4::text IS NULL AND (links.created, links.code) {side} ($1, $2)
                 ORDER BY links.created {way}, links.code {way}"
            ),
            Some(_) => format!(
                "tags JOIN links ON links.code = tags.code
                 WHERE tag = $4 AND (tags.created, tags.code) {side} ($1, $2)
                 ORDER BY tags.created {way}, tags.code {way}"
            ),
        };
        let sql = format!(
            "SELECT * FROM (SELECT {COLUMNS} FROM {candidates} LIMIT $5) AS links
             WHERE $6::text IS NULL OR strpos(lower(code), $6) > 0
                 OR strpos(lower(target), $6) > 0 OR strpos(lower(title), $6) > 0
             ORDER BY created {way}, code {way} LIMIT $3"
        );
        let values: Values<'_> = &[&created, &code, &(limit + 1), &query.tag, &within, &text];
        let rows = self.primary().query(&sql, values).await?;
        let mut links: Vec<Link> = rows.iter().map(link_of).collect::<Result<_, _>>()?;
        let limit = query.limit.min(MOST_IN_A_PAGE) as usize;
        if links.len() > limit {
            links.truncate(limit);
            let next = links.last().map(|link| (link.created, link.code.clone()));
            return Ok(LinkPage { links, next });
        }
        if text.is_none() {
            return Ok(LinkPage { links, next: None });
        }
        // Fewer than asked for: perhaps not all was looked through.
        let sql = format!("SELECT links.created, links.code FROM {candidates} OFFSET $3 LIMIT 1");
        let values: Values<'_> = &[&created, &code, &(within - 1), &query.tag];
        let rows = self.primary().query(&sql, values).await?;
        let next = match rows.first() {
            None => None,
            Some(row) => Some((row.try_get(0)?, patch::code_of(row.try_get(1)?)?)),
        };
        Ok(LinkPage { links, next })
    }

    pub(in crate::store) async fn tags(
        &self,
        limit: u32,
    ) -> Result<Vec<(Box<str>, i64)>, StoreError> {
        let sql = "SELECT tag, COUNT(*) FROM tags GROUP BY tag ORDER BY 2 DESC, 1 LIMIT $1";
        let rows = self.query_any(sql, &[&i64::from(limit)]).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }
}
