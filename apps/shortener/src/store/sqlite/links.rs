//! Links: making, reading and changing one.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Sqlite, StoreError, changes};
use crate::code::Codes;
use crate::link::{Code, Link, LinkPatch, Millis, NewLink};
use crate::store::{Created, Deletion, Read, Taken, Update, patch};

/// The columns that [`link_of`] reads.
pub(super) const COLUMNS: &str = "links.code, target, status, expires, clicks_left, password, \
     disabled, title, tags, links.created, updated, version, owner, forward_query";

impl Sqlite {
    pub(in crate::store) async fn create(
        &self,
        links: Vec<NewLink>,
    ) -> Result<Created, StoreError> {
        let (codes, now) = (self.codes().clone(), self.now());
        self.write(move |connection| create(connection, &codes, links, now)).await
    }

    pub(in crate::store) async fn link(
        &self,
        code: &Code,
        _read: Read,
    ) -> Result<Option<Link>, StoreError> {
        self.look_up(|connection| find(connection, code))
    }

    pub(in crate::store) async fn update(
        &self,
        code: &Code,
        patch: &LinkPatch,
        expected: Option<i64>,
    ) -> Result<Update, StoreError> {
        let (code, patch, now) = (code.clone(), patch.clone(), self.now());
        self.write(move |connection| update(connection, &code, &patch, expected, now)).await
    }

    pub(in crate::store) async fn delete(
        &self,
        code: &Code,
        expected: Option<i64>,
    ) -> Result<Deletion, StoreError> {
        let (code, now) = (code.clone(), self.now());
        self.write(move |connection| {
            let Some(link) = find(connection, &code)? else { return Ok(Deletion::Missing) };
            if expected.is_some_and(|expected| expected != link.version) {
                return Ok(Deletion::Conflict(link.version));
            }
            remove_tags(connection, &link)?;
            let sql = "DELETE FROM links WHERE code = ?";
            connection.prepare_cached(sql)?.execute([code.as_str()])?;
            changes::insert(connection, &code, now)?;
            Ok(Deletion::Done)
        })
        .await
    }

    pub(in crate::store) async fn take_click(
        &self,
        code: &Code,
    ) -> Result<Option<i64>, StoreError> {
        let code = code.clone();
        self.write(move |connection| {
            let sql = "UPDATE links SET clicks_left = clicks_left - 1
                       WHERE code = ? AND clicks_left > 0 RETURNING clicks_left";
            let mut statement = connection.prepare_cached(sql)?;
            Ok(statement.query_row([code.as_str()], |row| row.get(0)).optional()?)
        })
        .await
    }
}

/// Makes links within the transaction that is open.
pub(super) fn create(
    connection: &Connection,
    codes: &Codes,
    links: Vec<NewLink>,
    now: Millis,
) -> Result<Created, StoreError> {
    let wanted = links.iter().filter(|link| link.alias.is_none()).count();
    let mut ids = take_block(connection, wanted)?;
    let mut created = Vec::with_capacity(links.len());
    for mut new in links {
        if let Some(alias) = new.alias.take() {
            let link = patch::made(new, alias, now);
            if insert(connection, &link)? {
                changes::insert(connection, &link.code, now)?;
                created.push(Ok(link));
            } else {
                created.push(Err(Taken(link.code)));
            }
            continue;
        }
        // A code that meets an alias is passed over; aliases of this form are few among the codes.
        let link = loop {
            let id = match ids.next() {
                Some(id) => id,
                None => {
                    ids = take_block(connection, 1)?;
                    continue;
                }
            };
            let code = codes
                .encode(id)
                .ok_or_else(|| StoreError::Full("all codes of seven characters are used".into()))?;
            let link = patch::made(new.clone(), code, now);
            if insert(connection, &link)? {
                break link;
            }
        };
        created.push(Ok(link));
    }
    Ok(created)
}

/// The next `count` numbers of codes. They are taken in the same transaction that uses them, so
/// that none is lost.
fn take_block(connection: &Connection, count: usize) -> Result<std::ops::Range<u64>, StoreError> {
    if count == 0 {
        return Ok(0..0);
    }
    let sql = "UPDATE blocks SET next = next + ? WHERE name = 'codes' RETURNING next";
    let count = i64::try_from(count).map_err(StoreError::corrupt)?;
    let next: i64 = connection.prepare_cached(sql)?.query_row([count], |row| row.get(0))?;
    let number = |number: i64| u64::try_from(number).map_err(StoreError::corrupt);
    Ok(number(next - count)?..number(next)?)
}

/// False when the code is in use.
fn insert(connection: &Connection, link: &Link) -> Result<bool, StoreError> {
    let sql = "INSERT INTO links (code, target, status, expires, clicks_left, password, disabled,
                   title, tags, created, updated, version, owner, forward_query)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (code) DO NOTHING";
    let inserted = connection.prepare_cached(sql)?.execute(params![
        link.code.as_str(),
        link.target,
        link.redirect.status(),
        link.expires,
        link.clicks_left,
        link.password,
        link.disabled,
        link.title,
        tags_text(&link.tags),
        link.created,
        link.updated,
        link.version,
        link.owner,
        link.forward_query,
    ])?;
    if inserted > 0 {
        insert_tags(connection, link)?;
    }
    Ok(inserted > 0)
}

fn find(connection: &Connection, code: &Code) -> Result<Option<Link>, StoreError> {
    const SQL: &str = "SELECT links.code, target, status, expires, clicks_left, password,
         disabled, title, tags, links.created, updated, version, owner, forward_query FROM links
         WHERE code = ?";
    let mut statement = connection.prepare_cached(SQL)?;
    let mut rows = statement.query([code.as_str()])?;
    rows.next()?.map(link_of).transpose()
}

fn update(
    connection: &Connection,
    code: &Code,
    patch: &LinkPatch,
    expected: Option<i64>,
    now: Millis,
) -> Result<Update, StoreError> {
    let Some(mut link) = find(connection, code)? else { return Ok(Update::Missing) };
    if expected.is_some_and(|expected| expected != link.version) {
        return Ok(Update::Conflict(link.version));
    }
    if patch.tags.is_some() {
        remove_tags(connection, &link)?;
    }
    patch::apply(&mut link, patch, now);
    if patch.tags.is_some() {
        insert_tags(connection, &link)?;
    }
    let sql = "UPDATE links SET target = ?, status = ?, expires = ?, clicks_left = ?,
                   password = ?, disabled = ?, title = ?, tags = ?, updated = ?, version = ?,
                   forward_query = ?
               WHERE code = ?";
    connection.prepare_cached(sql)?.execute(params![
        link.target,
        link.redirect.status(),
        link.expires,
        link.clicks_left,
        link.password,
        link.disabled,
        link.title,
        tags_text(&link.tags),
        link.updated,
        link.version,
        link.forward_query,
        code.as_str(),
    ])?;
    changes::insert(connection, code, now)?;
    Ok(Update::Done(link))
}

fn insert_tags(connection: &Connection, link: &Link) -> Result<(), StoreError> {
    let sql = "INSERT INTO tags (tag, created, code) VALUES (?, ?, ?)";
    for tag in &link.tags {
        connection.prepare_cached(sql)?.execute(params![tag, link.created, link.code.as_str()])?;
    }
    Ok(())
}

fn remove_tags(connection: &Connection, link: &Link) -> Result<(), StoreError> {
    let sql = "DELETE FROM tags WHERE tag = ? AND created = ? AND code = ?";
    for tag in &link.tags {
        connection.prepare_cached(sql)?.execute(params![tag, link.created, link.code.as_str()])?;
    }
    Ok(())
}

fn tags_text(tags: &[Box<str>]) -> Option<String> {
    let text = || serde_json::to_string(tags).expect("texts always make JSON");
    (!tags.is_empty()).then(text)
}

/// The link of a row of [`COLUMNS`].
pub(super) fn link_of(row: &Row<'_>) -> Result<Link, StoreError> {
    let text = |column| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
    let maybe = |column| -> Result<Option<Box<str>>, StoreError> {
        let text = row.get_ref(column)?.as_str_or_null().map_err(rusqlite::Error::from)?;
        Ok(text.map(Box::from))
    };
    let tags = match row.get_ref(8)?.as_str_or_null().map_err(rusqlite::Error::from)? {
        None => Vec::new(),
        Some(text) => serde_json::from_str(text).map_err(StoreError::corrupt)?,
    };
    Ok(Link {
        code: patch::code_of(text(0)?)?,
        target: text(1)?.into(),
        redirect: patch::redirect_of(row.get(2)?)?,
        expires: row.get(3)?,
        clicks_left: row.get(4)?,
        password: maybe(5)?,
        disabled: row.get(6)?,
        title: maybe(7)?,
        tags,
        created: row.get(9)?,
        updated: row.get(10)?,
        version: row.get(11)?,
        owner: row.get(12)?,
        forward_query: row.get(13)?,
    })
}
