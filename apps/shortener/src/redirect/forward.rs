//! Sends the query of whoever follows a link on to where it leads. Called by `redirect.rs` for links
//! that want so, when there is one.

use std::borrow::Cow;
use std::collections::HashSet;

use axum::http::HeaderValue;
use url::Url;
use url::form_urlencoded::parse;

/// The target with the parameters of `query` behind its own. They take the place of those of the
/// same name, all of them, as in Shlink; all others stay as they were written, and so does the
/// fragment. `None` when the target is no URL.
pub(super) fn location(target: &str, query: &str) -> Option<HeaderValue> {
    let mut url = Url::parse(target).ok()?;
    let given: HashSet<Cow<'_, str>> = parse(query.as_bytes()).map(|(name, _)| name).collect();
    let own = url.query().unwrap_or_default();
    let stays = |pair: &&str| {
        !pair.is_empty() && parse(pair.as_bytes()).all(|(name, _)| !given.contains(&name))
    };
    let all: Vec<&str> = own.split('&').filter(stays).chain([query]).collect();
    // What a URL must not have as it is, it writes in percents.
    url.set_query(Some(&all.join("&")));
    HeaderValue::try_from(String::from(url)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_come_behind_those_of_the_target_and_in_place_of_them() {
        for (target, query, expect) in [
            ("https://a.b/", "x=1", "https://a.b/?x=1"),
            ("https://a.b/c?", "x=1", "https://a.b/c?x=1"),
            ("https://a.b/c?y=2#d", "x=1&z", "https://a.b/c?y=2&x=1&z#d"),
            ("https://a.b/c?x=0&y=2&x=3", "x=1&x=4", "https://a.b/c?y=2&x=1&x=4"),
            ("https://a.b/?a%5B%5D=0&b=c%20d+e", "a[]=1", "https://a.b/?b=c%20d+e&a[]=1"),
            ("https://a.b/?&&only", "x=%31&&", "https://a.b/?only&x=%31&&"),
            ("https://a.b/", "x=\"{ü}", "https://a.b/?x=%22{%C3%BC}"),
            ("mailto:a@b.example", "subject=Hi", "mailto:a@b.example?subject=Hi"),
        ] {
            let found = location(target, query).expect("a location");
            assert_eq!(found, expect, "{target} {query}");
        }
        assert_eq!(location("not a URL", "x=1"), None);
    }

    proptest! {
        #[test]
        fn a_query_changes_nothing_but_the_query(query in "[!$-~]{1,80}") {
            let target = "https://user@host.example:81/path;p?own=1#fragment";
            let found = location(target, &query).expect("a location");
            let mut found = Url::parse(found.to_str().expect("ASCII")).expect("a URL");
            let all: Vec<_> = found.query_pairs().into_owned().collect();
            let given: Vec<_> = parse(query.as_bytes()).into_owned().collect();
            let own = ("own".to_owned(), "1".to_owned());
            let stays = given.iter().all(|(name, _)| *name != own.0);
            let expect: Vec<_> = stays.then_some(own).into_iter().chain(given).collect();
            prop_assert_eq!(all, expect);
            found.set_query(Some("own=1"));
            prop_assert_eq!(found.as_str(), target);
        }
    }
}
