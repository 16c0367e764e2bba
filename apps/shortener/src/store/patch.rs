//! What makes a link of a new one, and a changed link of a link. Pure.

use super::StoreError;
use crate::link::{Code, Link, LinkPatch, Millis, NewLink};

/// The link that is made of `new` under `code` at `now`.
pub(super) fn made(new: NewLink, code: Code, now: Millis) -> Link {
    let NewLink {
        alias: _,
        target,
        redirect,
        forward_query,
        expires,
        clicks_left,
        password,
        title,
        tags,
        owner,
    } = new;
    let tags = in_order(tags);
    Link {
        code,
        target,
        redirect,
        forward_query,
        expires,
        clicks_left,
        password,
        disabled: false,
        title,
        tags,
        created: now,
        updated: now,
        version: 1,
        owner,
    }
}

/// Changes `link` at `now`. A clock that went back does not take `updated` back.
pub(super) fn apply(link: &mut Link, patch: &LinkPatch, now: Millis) {
    let LinkPatch {
        target,
        redirect,
        forward_query,
        expires,
        clicks_left,
        password,
        disabled,
        title,
        tags,
    } = patch.clone();
    set(&mut link.target, target);
    set(&mut link.redirect, redirect);
    set(&mut link.forward_query, forward_query);
    set(&mut link.expires, expires);
    set(&mut link.clicks_left, clicks_left);
    set(&mut link.password, password);
    set(&mut link.disabled, disabled);
    set(&mut link.title, title);
    set(&mut link.tags, tags.map(in_order));
    link.updated = link.updated.max(now);
    link.version += 1;
}

/// The status as it is stored, back.
pub(super) fn redirect_of(status: i64) -> Result<crate::link::Redirect, StoreError> {
    u16::try_from(status)
        .ok()
        .and_then(crate::link::Redirect::of)
        .ok_or_else(|| StoreError::corrupt(format_args!("a link with the status {status}")))
}

/// The code as it is stored, back.
pub(super) fn code_of(text: &str) -> Result<Code, StoreError> {
    Code::new(text).map_err(|_| StoreError::corrupt(format_args!("a link with the code {text:?}")))
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn in_order(mut tags: Vec<Box<str>>) -> Vec<Box<str>> {
    tags.sort_unstable();
    tags.dedup();
    tags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Redirect;

    fn link() -> Link {
        let new = NewLink {
            alias: None,
            target: "https://example.com/".into(),
            redirect: Redirect::Found,
            forward_query: false,
            expires: Some(9),
            clicks_left: Some(3),
            password: None,
            title: Some("a title".into()),
            tags: vec!["b".into(), "a".into(), "b".into()],
            owner: 4,
        };
        made(new, Code::new("abc").expect("a code"), 100)
    }

    #[test]
    fn tags_are_in_order_and_each_once() {
        assert_eq!(link().tags, ["a", "b"].map(Box::from));
        let mut changed = link();
        let tags = Some(vec!["z".into(), "y".into(), "z".into()]);
        apply(&mut changed, &LinkPatch { tags, ..LinkPatch::default() }, 101);
        assert_eq!(changed.tags, ["y", "z"].map(Box::from));
    }

    #[test]
    fn what_is_not_named_stays_and_what_is_taken_away_goes() {
        let mut changed = link();
        let patch = LinkPatch { expires: Some(None), disabled: Some(true), ..LinkPatch::default() };
        apply(&mut changed, &patch, 200);
        let expect = Link { expires: None, disabled: true, updated: 200, version: 2, ..link() };
        assert_eq!(changed, expect);
    }

    #[test]
    fn a_clock_that_goes_back_takes_nothing_back() {
        let mut changed = link();
        apply(&mut changed, &LinkPatch::default(), 50);
        assert_eq!((changed.created, changed.updated, changed.version), (100, 100, 2));
    }
}
