//! The parameters by which campaigns are told apart (`utm_source` and its like), put into a target.
//!
//! The rest of the query stays byte for byte as it was: applications may sign it.

use url::Url;
use url::form_urlencoded::{byte_serialize, parse};

/// Characters that a value has at most.
pub const LONGEST_UTM: usize = 256;

/// The parameters, without `utm_`.
pub const UTM_NAMES: [&str; 6] = ["source", "medium", "campaign", "term", "content", "id"];

/// Values for the parameters, in the order of [`UTM_NAMES`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Utm(pub [Option<String>; UTM_NAMES.len()]);

impl Utm {
    /// The target with these parameters: each that has a value takes the place of those of the
    /// same name, others stay. A text that is no URL is returned as it is.
    pub fn apply(&self, target: &str) -> String {
        let Ok(mut url) = Url::parse(target) else { return target.to_owned() };
        let given = || {
            UTM_NAMES.iter().zip(&self.0).filter_map(|(name, value)| Some((name, value.as_ref()?)))
        };
        if given().next().is_none() {
            return target.to_owned();
        }
        let is_replaced = |pair: &str| {
            let name = parse(pair.as_bytes()).next().map(|(name, _)| name.into_owned());
            let name = name.unwrap_or_default();
            name.strip_prefix("utm_").is_some_and(|name| given().any(|(given, _)| *given == name))
        };
        let query = url.query().unwrap_or_default();
        let mut pairs: Vec<String> = query
            .split('&')
            .filter(|pair| !pair.is_empty() && !is_replaced(pair))
            .map(str::to_owned)
            .collect();
        pairs.extend(given().map(|(name, value)| {
            format!("utm_{name}={}", byte_serialize(value.as_bytes()).collect::<String>())
        }));
        url.set_query(Some(&pairs.join("&")));
        url.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_added_and_replaced() {
        let utm = |source: &str, medium: Option<&str>| {
            let mut utm = Utm::default();
            utm.0[0] = Some(source.to_owned());
            utm.0[1] = medium.map(str::to_owned);
            utm
        };
        for (target, utm, expect) in [
            ("https://a.b/", utm("x", None), "https://a.b/?utm_source=x"),
            (
                "https://a.b/?q=%20+#f",
                utm("x y&z", None),
                "https://a.b/?q=%20+&utm_source=x+y%26z#f",
            ),
            (
                "https://a.b/?utm_source=old&UTM_SOURCE=kept&utm_medium=m&utm%5Fsource=o",
                utm("ü", Some("mail")),
                "https://a.b/?UTM_SOURCE=kept&utm_source=%C3%BC&utm_medium=mail",
            ),
            ("https://a.b/?x&utm_term=t", utm("s", None), "https://a.b/?x&utm_term=t&utm_source=s"),
            ("https://a.b/?utm_source=1", Utm::default(), "https://a.b/?utm_source=1"),
            ("not a url", utm("s", None), "not a url"),
        ] {
            assert_eq!(utm.apply(target), expect, "{target}");
        }
    }
}
