//! Links: making, reading and changing one.

use std::collections::HashSet;

use deadpool_postgres::GenericClient;
use tokio_postgres::Row;

use super::error::Failure;
use super::server::{Client, with_client};
use super::{LOOK_UP, Postgres, StoreError, Values, changes};
use crate::link::{Code, Link, LinkPatch, Millis, NewLink};
use crate::store::{Created, Deletion, Read, Taken, Update, patch};

/// The columns that [`link_of`] reads.
pub(super) const COLUMNS: &str = "links.code, target, status, expires, clicks_left, password, \
     disabled, title, links.tags, links.created, updated, version, owner, forward_query";

const FIND: &str = "SELECT links.code, target, status, expires, clicks_left, password, disabled,
     title, links.tags, links.created, updated, version, owner, forward_query FROM links
     WHERE code = $1";

/// The same of several.
const FIND_ALL: &str = "SELECT links.code, target, status, expires, clicks_left, password,
     disabled, title, links.tags, links.created, updated, version, owner, forward_query FROM links
     WHERE code = ANY($1)";

/// How often new numbers are taken for links whose codes are in use. More than one or two means
/// that the sequence is behind what is stored.
const ROUNDS: u32 = 64;

impl Postgres {
    pub(in crate::store) async fn create(
        &self,
        links: Vec<NewLink>,
    ) -> Result<Created, StoreError> {
        let wanted = self.wanted(links).await?;
        if let [NewLink { alias: None, .. }] = &*wanted.links {
            // One statement needs no transaction around it.
            return with_client!(self.primary(), client => async {
                create(self, &*client, &wanted).await.map(|made| made.links)
            });
        }
        with_client!(self.primary(), client => create_all(self, &mut client, &wanted))
    }

    pub(in crate::store) async fn link(
        &self,
        code: &Code,
        read: Read,
    ) -> Result<Option<Link>, StoreError> {
        if read == Read::Any && !self.inner.replicas.is_empty() {
            let this = self.clone();
            let ask = move |codes: Vec<Code>| {
                let this = this.clone();
                async move {
                    let codes: Vec<&str> = codes.iter().map(Code::as_str).collect();
                    // Where none answers, none has them.
                    let rows = this.query_replica(FIND_ALL, &[&codes], LOOK_UP[0]).await;
                    Ok(rows.unwrap_or_default())
                }
            };
            if let Ok(Some(link)) = self.inner.any.find(code, LOOK_UP[0], ask).await {
                return Ok(Some(link));
            }
        }
        // What a replica does not have may have been made a moment ago.
        let this = self.clone();
        let ask = move |codes: Vec<Code>| {
            let this = this.clone();
            async move {
                let codes: Vec<&str> = codes.iter().map(Code::as_str).collect();
                this.primary().query_within(FIND_ALL, &[&codes], LOOK_UP[1]).await
            }
        };
        self.inner.latest.find(code, LOOK_UP[1], ask).await
    }

    pub(in crate::store) async fn update(
        &self,
        code: &Code,
        patch: &LinkPatch,
        expected: Option<i64>,
    ) -> Result<Update, StoreError> {
        let now = self.now();
        with_client!(self.primary(), client => update(&mut client, code, patch, expected, now))
    }

    pub(in crate::store) async fn delete(
        &self,
        code: &Code,
        expected: Option<i64>,
    ) -> Result<Deletion, StoreError> {
        let now = self.now();
        with_client!(self.primary(), client => delete(&mut client, code, expected, now))
    }

    pub(in crate::store) async fn take_click(
        &self,
        code: &Code,
    ) -> Result<Option<i64>, StoreError> {
        let sql = "UPDATE links SET clicks_left = clicks_left - 1
                   WHERE code = $1 AND clicks_left > 0 RETURNING clicks_left";
        let rows = self.primary().change(sql, &[&code.as_str()]).await?;
        Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
    }
}

/// Links that are to be made.
pub(super) struct Wanted {
    links: Vec<NewLink>,
    /// For those without an alias.
    ids: Vec<u64>,
    pub(super) now: Millis,
}

/// What came of them.
pub(super) struct Made {
    pub(super) links: Created,
    /// Which of them were made under an alias.
    under_alias: Vec<usize>,
}

impl Postgres {
    /// Links with the numbers that their codes are made of. These are taken first: whoever waited
    /// for them with a connection in hand could keep the last one from who asks for them.
    pub(super) async fn wanted(&self, links: Vec<NewLink>) -> Result<Wanted, StoreError> {
        let count = links.iter().filter(|link| link.alias.is_none()).count();
        let ids = self.inner.block.take(self.primary(), count).await?;
        Ok(Wanted { links, ids, now: self.now() })
    }
}

impl Made {
    /// The aliases that were made.
    pub(super) fn aliases(&self) -> Vec<&str> {
        let code = |index: &usize| self.links[*index].as_ref().ok().map(|link| link.code.as_str());
        self.under_alias.iter().filter_map(code).collect()
    }
}

async fn create_all(
    store: &Postgres,
    client: &mut Client,
    wanted: &Wanted,
) -> Result<Created, Failure> {
    let transaction = client.transaction().await?;
    let made = create(store, &transaction, wanted).await?;
    changes::insert(&transaction, &made.aliases(), wanted.now).await?;
    transaction.commit().await?;
    Ok(made.links)
}

/// Makes links with `client`, which is in a transaction if there is more than one.
pub(super) async fn create(
    store: &Postgres,
    client: &impl GenericClient,
    wanted: &Wanted,
) -> Result<Made, Failure> {
    let now = wanted.now;
    let mut ids = wanted.ids.iter().copied();
    let mut made = Made { links: Vec::with_capacity(wanted.links.len()), under_alias: Vec::new() };
    let (mut generated, mut seen) = (Vec::new(), HashSet::new());
    for (index, new) in wanted.links.iter().cloned().enumerate() {
        let code = match &new.alias {
            Some(alias) if !seen.insert(alias.clone()) => {
                made.links.push(Err(Taken(alias.clone())));
                continue;
            }
            Some(alias) => {
                made.under_alias.push(index);
                alias.clone()
            }
            None => {
                generated.push(index);
                code_of(store, ids.next())?
            }
        };
        made.links.push(Ok(patch::made(new, code, now)));
    }
    let all: Vec<usize> = [&*made.under_alias, &*generated].concat();
    let inserted = insert(client, &made.links, &all, now).await?;
    let is_in = |links: &Created, index: usize| {
        links[index].as_ref().is_ok_and(|link| inserted.contains(link.code.as_str()))
    };
    generated.retain(|index| !is_in(&made.links, *index));
    made.under_alias.retain(|index| {
        let fine = is_in(&made.links, *index);
        if let (false, Ok(link)) = (fine, &made.links[*index]) {
            made.links[*index] = Err(Taken(link.code.clone()));
        }
        fine
    });
    // Codes that met an alias are replaced, until none does.
    for round in 0.. {
        if generated.is_empty() {
            return Ok(made);
        }
        if round == ROUNDS {
            break;
        }
        let ids = store.inner.block.replace(client, generated.len(), round > 0).await?;
        for (index, id) in generated.iter().zip(ids) {
            if let Ok(link) = &mut made.links[*index] {
                link.code = code_of(store, Some(id))?;
            }
        }
        let inserted = insert(client, &made.links, &generated, now).await?;
        generated.retain(|index| {
            made.links[*index].as_ref().is_ok_and(|link| !inserted.contains(link.code.as_str()))
        });
    }
    Err(StoreError::corrupt("the sequence of codes is behind the links that are stored").into())
}

fn code_of(store: &Postgres, id: Option<u64>) -> Result<Code, StoreError> {
    id.and_then(|id| store.inner.codes.encode(id))
        .ok_or_else(|| StoreError::Full("all codes of seven characters are used".into()))
}

/// Inserts those of `links` at `indices`, and returns the codes of those that were not in use.
async fn insert(
    client: &impl GenericClient,
    links: &[Result<Link, Taken>],
    indices: &[usize],
    now: Millis,
) -> Result<HashSet<Box<str>>, Failure> {
    // In the order of codes, so that two who want the same aliases do not block each other.
    let sql = "WITH made AS (
            INSERT INTO links (created, updated, version, owner, expires, clicks_left, status,
                disabled, forward_query, code, target, password, title, tags)
            SELECT $1, $1, 1, owner, expires, clicks_left, status, FALSE, forward_query, code,
                target, password, title, tags
            FROM UNNEST($2::bigint[], $3::bigint[], $4::bigint[], $5::smallint[], $13::boolean[],
                    $6::text[], $7::text[], $8::text[], $9::text[], $10::text[])
                AS new (owner, expires, clicks_left, status, forward_query, code, target, password,
                    title, tags)
            ORDER BY code COLLATE \"C\"
            ON CONFLICT (code) DO NOTHING RETURNING code
        ), tagged AS (
            INSERT INTO tags (tag, created, code)
            SELECT tag, $1, code FROM UNNEST($11::text[], $12::text[]) AS new (tag, code)
            WHERE code IN (SELECT code FROM made)
        ) SELECT code FROM made";
    let links: Vec<&Link> =
        indices.iter().filter_map(|index| links[*index].as_ref().ok()).collect();
    let all = |value: fn(&Link) -> &str| links.iter().map(|link| value(link)).collect::<Vec<_>>();
    let owners: Vec<i64> = links.iter().map(|link| link.owner).collect();
    let expires: Vec<Option<i64>> = links.iter().map(|link| link.expires).collect();
    let clicks_left: Vec<Option<i64>> = links.iter().map(|link| link.clicks_left).collect();
    let statuses: Vec<i16> = links.iter().map(|link| status_of(link)).collect();
    let forward_query: Vec<bool> = links.iter().map(|link| link.forward_query).collect();
    let (codes, targets) = (all(|link| link.code.as_str()), all(|link| &link.target));
    let passwords: Vec<Option<&str>> = links.iter().map(|link| link.password.as_deref()).collect();
    let titles: Vec<Option<&str>> = links.iter().map(|link| link.title.as_deref()).collect();
    let tags: Vec<Option<String>> = links.iter().map(|link| tags_text(&link.tags)).collect();
    let each_tag = || links.iter().flat_map(|link| link.tags.iter().map(move |tag| (tag, link)));
    let tag: Vec<&str> = each_tag().map(|(tag, _)| &**tag).collect();
    let tagged: Vec<&str> = each_tag().map(|(_, link)| link.code.as_str()).collect();
    let values: Values<'_> = &[
        &now,
        &owners,
        &expires,
        &clicks_left,
        &statuses,
        &codes,
        &targets,
        &passwords,
        &titles,
        &tags,
        &tag,
        &tagged,
        &forward_query,
    ];
    let statement = client.prepare_cached(sql).await?;
    let rows = client.query(&statement, values).await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}

async fn update(
    client: &mut Client,
    code: &Code,
    patch: &LinkPatch,
    expected: Option<i64>,
    now: Millis,
) -> Result<Update, Failure> {
    let transaction = client.transaction().await?;
    let find = transaction.prepare_cached(&format!("{FIND} FOR UPDATE")).await?;
    let Some(row) = transaction.query_opt(&find, &[&code.as_str()]).await? else {
        return Ok(Update::Missing);
    };
    let mut link = link_of(&row)?;
    if expected.is_some_and(|expected| expected != link.version) {
        return Ok(Update::Conflict(link.version));
    }
    if patch.tags.is_some() {
        // By the tags that its row still has.
        remove_tags(&transaction, code).await?;
    }
    patch::apply(&mut link, patch, now);
    let change = "UPDATE links SET target = $2, status = $3, expires = $4, clicks_left = $5,
                      password = $6, disabled = $7, title = $8, tags = $9, updated = $10,
                      version = $11, forward_query = $12
                  WHERE code = $1";
    let change = transaction.prepare_cached(change).await?;
    let values: Values<'_> = &[
        &code.as_str(),
        &link.target,
        &status_of(&link),
        &link.expires,
        &link.clicks_left,
        &link.password,
        &link.disabled,
        &link.title,
        &tags_text(&link.tags),
        &link.updated,
        &link.version,
        &link.forward_query,
    ];
    transaction.execute(&change, values).await?;
    if patch.tags.is_some() {
        let insert = "INSERT INTO tags (tag, created, code) SELECT tag, $2, $3
                      FROM UNNEST($1::text[]) AS new (tag)";
        let insert = transaction.prepare_cached(insert).await?;
        transaction.execute(&insert, &[&link.tags, &link.created, &code.as_str()]).await?;
    }
    changes::insert_one(&transaction, code, now).await?;
    transaction.commit().await?;
    Ok(Update::Done(link))
}

async fn delete(
    client: &mut Client,
    code: &Code,
    expected: Option<i64>,
    now: Millis,
) -> Result<Deletion, Failure> {
    let transaction = client.transaction().await?;
    let find = "SELECT version FROM links WHERE code = $1 FOR UPDATE";
    let find = transaction.prepare_cached(find).await?;
    let Some(row) = transaction.query_opt(&find, &[&code.as_str()]).await? else {
        return Ok(Deletion::Missing);
    };
    let version = row.try_get(0)?;
    if expected.is_some_and(|expected| expected != version) {
        return Ok(Deletion::Conflict(version));
    }
    remove_tags(&transaction, code).await?;
    let delete = transaction.prepare_cached("DELETE FROM links WHERE code = $1").await?;
    transaction.execute(&delete, &[&code.as_str()]).await?;
    changes::insert_one(&transaction, code, now).await?;
    transaction.commit().await?;
    Ok(Deletion::Done)
}

/// Removes what finds a link by its tags; the row of the link is locked first, so that nobody
/// tags it meanwhile.
async fn remove_tags(client: &impl GenericClient, code: &Code) -> Result<(), Failure> {
    let sql = "WITH link AS (SELECT code, created, tags FROM links WHERE code = $1 FOR UPDATE)
               DELETE FROM tags USING link
               WHERE tags.code = link.code AND tags.created = link.created
                   AND tags.tag IN (SELECT jsonb_array_elements_text(link.tags::jsonb))";
    let statement = client.prepare_cached(sql).await?;
    client.execute(&statement, &[&code.as_str()]).await?;
    Ok(())
}

fn status_of(link: &Link) -> i16 {
    i16::try_from(link.redirect.status()).expect("statuses have three digits")
}

fn tags_text(tags: &[Box<str>]) -> Option<String> {
    let text = || serde_json::to_string(tags).expect("texts always make JSON");
    (!tags.is_empty()).then(text)
}

/// The link of a row of [`COLUMNS`].
pub(super) fn link_of(row: &Row) -> Result<Link, StoreError> {
    let tags = match row.try_get::<_, Option<&str>>(8)? {
        None => Vec::new(),
        Some(text) => serde_json::from_str(text).map_err(StoreError::corrupt)?,
    };
    Ok(Link {
        code: patch::code_of(row.try_get(0)?)?,
        target: row.try_get(1)?,
        redirect: patch::redirect_of(row.try_get::<_, i16>(2)?.into())?,
        expires: row.try_get(3)?,
        clicks_left: row.try_get(4)?,
        password: row.try_get(5)?,
        disabled: row.try_get(6)?,
        title: row.try_get(7)?,
        tags,
        created: row.try_get(9)?,
        updated: row.try_get(10)?,
        version: row.try_get(11)?,
        owner: row.try_get(12)?,
        forward_query: row.try_get(13)?,
    })
}
