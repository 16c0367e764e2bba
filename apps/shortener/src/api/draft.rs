//! What a request says about a link that is to be made or changed, checked as a whole.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Api;
use super::body::{Field, Fields, check_text};
use crate::instant;
use crate::link::{LinkPatch, Millis, NewLink, Redirect};
use crate::password::{self, LONGEST_PASSWORD};
use crate::problem::{Invalid, Problem};
use crate::target::{self, LONGEST_UTM, UTM_NAMES, Utm};

/// Characters that a title has at most.
const LONGEST_TITLE: usize = 255;

/// Tags that a link has at most.
const MOST_TAGS: usize = 20;

/// Characters that a tag has at most.
const LONGEST_TAG: usize = 50;

/// Clicks that a link may be limited to at most.
const MOST_CLICKS: i64 = 1_000_000_000_000;

/// A link to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CreateLink {
    /// Where it leads: an absolute URL. It is brought into normal form, and never fetched.
    #[schema(
        required,
        format = "uri",
        min_length = 1,
        max_length = 8192,
        example = "https://example.com/page"
    )]
    pub target: String,
    /// What it is to be called; absent: seven letters and digits of the shortener's choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$", example = "spring-sale")]
    pub alias: Option<String>,
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 255)]
    pub title: Option<String>,
    /// By what people find it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 20)]
    pub tags: Option<Vec<String>>,
    /// With what status it redirects: 301, 302, 307 or 308.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 301, maximum = 308, example = 302)]
    pub status: Option<u16>,
    /// Whether the query of whoever follows it is sent on; absent: as configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward_query: Option<bool>,
    /// From when on it leads nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, example = "2030-01-31T12:00:00Z")]
    pub expires: Option<String>,
    /// Clicks after which it leads nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64)]
    pub clicks_left: Option<i64>,
    /// What visitors are asked for before they are sent on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 256)]
    pub password: Option<String>,
    /// Parameters that are put into the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utm: Option<UtmView>,
}

/// What is to be changed of a link (a JSON Merge Patch, RFC 7396): what is absent stays, `null`
/// takes away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PatchLink {
    /// Where it leads.
    #[schema(
        required = false,
        nullable = false,
        format = "uri",
        min_length = 1,
        max_length = 8192
    )]
    pub target: Option<String>,
    /// What people call it.
    #[schema(max_length = 255)]
    pub title: Option<String>,
    /// By what people find it.
    #[schema(max_items = 20)]
    pub tags: Option<Vec<String>>,
    /// With what status it redirects: 301, 302, 307 or 308; `null`: that of the configuration.
    #[schema(minimum = 301, maximum = 308)]
    pub status: Option<u16>,
    /// Whether the query of whoever follows it is sent on; `null`: as configured.
    pub forward_query: Option<bool>,
    /// From when on it leads nowhere.
    #[schema(format = DateTime)]
    pub expires: Option<String>,
    /// Clicks after which it leads nowhere.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64)]
    pub clicks_left: Option<i64>,
    /// What visitors are asked for.
    #[schema(min_length = 1, max_length = 256)]
    pub password: Option<String>,
    /// Whether it leads nowhere until it is enabled again.
    #[schema(required = false, nullable = false)]
    pub disabled: Option<bool>,
    /// Parameters that are put into the target; only together with `target`.
    pub utm: Option<UtmView>,
}

/// Parameters by which campaigns are told apart: `source` becomes `utm_source`, and takes the place
/// of the one that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Utm)]
#[serde(deny_unknown_fields, default)]
pub struct UtmView {
    /// `utm_source`
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 256)]
    pub source: Option<String>,
    /// `utm_medium`
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 256)]
    pub medium: Option<String>,
    /// `utm_campaign`
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 256)]
    pub campaign: Option<String>,
    /// `utm_term`
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 256)]
    pub term: Option<String>,
    /// `utm_content`
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 256)]
    pub content: Option<String>,
    /// `utm_id`
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 256)]
    pub id: Option<String>,
}

/// A link to be made, all of whose fields are good; its password is not hashed yet.
#[derive(Debug)]
pub(super) struct Draft {
    link: NewLink,
    password: Option<String>,
}

impl Draft {
    /// Reads one at `pointer`; `None` when something is wrong, which is in `invalid` then.
    pub(super) fn read(
        api: &Api,
        owner: i64,
        value: Value,
        pointer: &str,
        invalid: &mut Vec<Invalid>,
    ) -> Option<Draft> {
        let before = invalid.len();
        let mut fields = Fields::of(value, pointer, invalid)?;
        let utm = read_utm(&mut fields).value().unwrap_or_default();
        let has_target = fields.has("target");
        let target = read_target(api, &mut fields, utm);
        if !has_target || target == Field::Null {
            fields.wrong("target", "missing", "a link needs a target");
        }
        let alias = fields.text("alias", usize::MAX).and_check(|text| match target::alias(&text) {
            Ok(code) => Some(code),
            Err(error) => {
                fields.wrong("alias", error.code(), error.to_string());
                None
            }
        });
        let title = read_title(&mut fields);
        let tags = read_tags(&mut fields);
        let redirect = read_redirect(&mut fields);
        let forward_query = fields.flag("forward_query");
        let expires = read_expires(&mut fields);
        let clicks_left = fields.number("clicks_left", 0, MOST_CLICKS);
        let password = read_password(&mut fields);
        fields.finish();
        if invalid.len() > before {
            return None;
        }
        let link = NewLink {
            alias: alias.value(),
            target: target.value()?,
            redirect: redirect.value().unwrap_or(api.redirect),
            forward_query: forward_query.value().unwrap_or(api.forward_query),
            expires: expires.value(),
            clicks_left: clicks_left.value(),
            password: None,
            title: title.value(),
            tags: tags.value().unwrap_or_default(),
            owner,
        };
        Some(Draft { link, password: password.value() })
    }

    /// Whether hashing it takes time.
    pub(super) fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// The link, with the hash of its password.
    pub(super) async fn hashed(self) -> Result<NewLink, Problem> {
        let mut link = self.link;
        if let Some(password) = self.password {
            link.password = Some(password::hash(password).await.ok_or(Problem::Internal)?);
        }
        Ok(link)
    }
}

/// Reads what is to be changed.
///
/// # Errors
/// `Invalid` with everything that is wrong.
pub(super) async fn patch(api: &Api, value: Value) -> Result<LinkPatch, Problem> {
    let mut invalid = Vec::new();
    let (patch, password) = read_patch(api, value, &mut invalid);
    if !invalid.is_empty() {
        return Err(Problem::Invalid(invalid));
    }
    let password = match password {
        Field::Is(password) => Some(Some(password::hash(password).await.ok_or(Problem::Internal)?)),
        Field::Null => Some(None),
        Field::Absent => None,
    };
    Ok(LinkPatch { password, ..patch })
}

fn read_patch(api: &Api, value: Value, invalid: &mut Vec<Invalid>) -> (LinkPatch, Field<String>) {
    let Some(mut fields) = Fields::of(value, "#", invalid) else {
        return (LinkPatch::default(), Field::Absent);
    };
    let utm = read_utm(&mut fields).value().unwrap_or_default();
    let has_utm = utm != Utm::default();
    let has_target = fields.has("target");
    let target = read_target(api, &mut fields, utm);
    if target == Field::Null {
        fields.wrong("target", "missing", "a link needs a target");
    } else if has_utm && !has_target {
        fields.wrong("utm", "alone", "these are put into a `target`, which is not here");
    }
    let disabled = fields.flag("disabled");
    if disabled == Field::Null {
        fields.wrong("disabled", "type", "true or false is wanted here");
    }
    let patch = LinkPatch {
        target: target.value(),
        redirect: read_redirect(&mut fields)
            .change()
            .map(|redirect| redirect.unwrap_or(api.redirect)),
        forward_query: fields
            .flag("forward_query")
            .change()
            .map(|forward| forward.unwrap_or(api.forward_query)),
        expires: read_expires(&mut fields).change(),
        clicks_left: fields.number("clicks_left", 0, MOST_CLICKS).change(),
        password: None,
        disabled: disabled.value(),
        title: read_title(&mut fields).change(),
        tags: read_tags(&mut fields).change().map(Option::unwrap_or_default),
    };
    let password = read_password(&mut fields);
    fields.finish();
    (patch, password)
}

fn read_target(api: &Api, fields: &mut Fields<'_>, utm: Utm) -> Field<Box<str>> {
    // What has control characters is told so by the rules of targets.
    let text = match fields.take("target") {
        Field::Is(Value::String(text)) => text,
        Field::Is(_) => {
            fields.wrong("target", "type", "a string is wanted here");
            return Field::Absent;
        }
        Field::Null => return Field::Null,
        Field::Absent => return Field::Absent,
    };
    // Once for what was sent, and again for what the parameters make of it.
    let checked = api.rules.check(&text).and_then(|target| match utm == Utm::default() {
        true => Ok(target),
        false => api.rules.check(&utm.apply(&target.url)),
    });
    match checked {
        Ok(target) => Field::Is(target.url),
        Err(error) => {
            fields.wrong("target", error.code(), error.to_string());
            Field::Absent
        }
    }
}

fn read_utm(fields: &mut Fields<'_>) -> Field<Utm> {
    let pointer = fields.pointer_of("utm");
    match fields.take("utm") {
        Field::Is(value) => {
            let Some(mut parts) = Fields::of(value, pointer, fields.invalid()) else {
                return Field::Absent;
            };
            let utm = Utm(UTM_NAMES.map(|name| read_filled(&mut parts, name, LONGEST_UTM).value()));
            parts.finish();
            Field::Is(utm)
        }
        Field::Null => Field::Null,
        Field::Absent => Field::Absent,
    }
}

/// A text that is not empty.
fn read_filled(fields: &mut Fields<'_>, name: &str, longest: usize) -> Field<String> {
    fields.text(name, longest).and_check(|text| {
        if text.is_empty() {
            fields.wrong(name, "empty", "at least one character; `null` for none");
        }
        (!text.is_empty()).then_some(text)
    })
}

/// A title; an empty one is none.
fn read_title(fields: &mut Fields<'_>) -> Field<Box<str>> {
    match fields.text("title", LONGEST_TITLE) {
        Field::Is(title) if title.is_empty() => Field::Null,
        title => title.map(Into::into),
    }
}

fn read_tags(fields: &mut Fields<'_>) -> Field<Vec<Box<str>>> {
    fields.list("tags").and_check(|list| {
        if list.len() > MOST_TAGS {
            fields.wrong("tags", "too-many", format!("at most {MOST_TAGS} tags"));
            return None;
        }
        let mut tags: Vec<Box<str>> = Vec::with_capacity(list.len());
        let mut is_good = true;
        for (index, value) in list.iter().enumerate() {
            match check_tag(value) {
                Ok(tag) => tags.push(tag.into()),
                Err((code, detail)) => {
                    fields.wrong_within("tags", index, code, detail);
                    is_good = false;
                }
            }
        }
        tags.sort_unstable();
        tags.dedup();
        is_good.then_some(tags)
    })
}

/// A tag: no comma, by which lists of them are written in one column, and no spaces around it.
fn check_tag(value: &Value) -> Result<&str, (&'static str, String)> {
    let Value::String(text) = value else {
        return Err(("type", "a string is wanted here".to_owned()));
    };
    if let Some(wrong) = check_text(text, LONGEST_TAG) {
        return Err(wrong);
    }
    if text.is_empty() {
        return Err(("empty", "at least one character".to_owned()));
    }
    if text.contains(',') || text.trim() != text {
        return Err(("character", "no commas, and no spaces around it".to_owned()));
    }
    Ok(text)
}

fn read_redirect(fields: &mut Fields<'_>) -> Field<Redirect> {
    fields.number("status", 301, 308).and_check(|status| {
        let redirect = u16::try_from(status).ok().and_then(Redirect::of);
        if redirect.is_none() {
            fields.wrong("status", "range", "a redirect is 301, 302, 307 or 308");
        }
        redirect
    })
}

fn read_expires(fields: &mut Fields<'_>) -> Field<Millis> {
    fields.text("expires", 64).and_check(|text| {
        let at = instant::parse(&text);
        if at.is_none() {
            fields.wrong("expires", "not-a-time", "a time is like 2030-01-31T12:00:00Z");
        }
        at
    })
}

fn read_password(fields: &mut Fields<'_>) -> Field<String> {
    read_filled(fields, "password", LONGEST_PASSWORD)
}
