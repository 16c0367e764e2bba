//! Links as people name them on a command line: by the code, or by the whole short link, as they
//! have it in their clipboard.

use serde::Deserialize;
use url::Url;

use super::client::Server;
use crate::link::Code;
use crate::serve;

/// A link that was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    /// By its code.
    Code(Code),
    /// As a whole. Boxed, since it is large.
    Whole(Box<Url>),
}

/// What the shortener says of itself, as far as it is wanted here.
#[derive(Debug, Deserialize)]
struct Me {
    url: String,
}

impl Named {
    /// A link from text. What has a `/` or a `.` in it, which codes have not, is a whole one; it
    /// may be without `https://`.
    ///
    /// # Errors
    /// A sentence for people.
    pub(super) fn read(text: &str) -> Result<Named, String> {
        if !text.contains(['/', '.', ':']) {
            let code = Code::new(text).map(Named::Code);
            return code.map_err(|error| format!("{error}; or give the whole short link"));
        }
        let url = match text.contains("://") {
            true => Url::parse(text),
            false => Url::parse(&format!("https://{text}")),
        };
        let url = url.ok().filter(Url::has_host);
        url.map(|url| Named::Whole(Box::new(url)))
            .ok_or_else(|| "neither a code nor a short link".to_owned())
    }

    /// The code. The server is asked what its links begin with, if need be.
    ///
    /// # Errors
    /// When the link is of another shortener, or is none; as the server.
    pub(super) fn code(&self, server: &Server) -> anyhow::Result<Code> {
        Ok(codes(std::slice::from_ref(self), server)?.remove(0))
    }
}

/// The codes of several, in their order, each once.
///
/// # Errors
/// As of one.
pub(super) fn codes(links: &[Named], server: &Server) -> anyhow::Result<Vec<Code>> {
    let mut bases = Vec::new();
    let mut codes = Vec::with_capacity(links.len());
    for link in links {
        let code = match link {
            Named::Code(code) => code.clone(),
            Named::Whole(url) => {
                if bases.is_empty() {
                    let Me { url } = server.read("/me")?;
                    bases = vec![url, server.base().to_owned()];
                }
                let code = bases.iter().find_map(|base| code_behind(url, base));
                code.ok_or_else(|| {
                    let base = super::terminal::shown(&bases[0]);
                    anyhow::anyhow!("{url} is no link of this shortener: they are like {base}/CODE")
                })?
            }
        };
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    Ok(codes)
}

/// The code of a link that begins with this. Whether by `http` or `https` does not matter, nor do
/// query and fragment.
fn code_behind(url: &Url, base: &str) -> Option<Code> {
    let base = Url::parse(base).ok()?;
    if url.host() != base.host() || url.port() != base.port() {
        return None;
    }
    let path = url.path().strip_prefix(base.path().trim_end_matches('/'))?;
    Code::new(serve::code(path)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_named_by_code_or_as_a_whole() {
        assert_eq!(Named::read("a-B_9"), Ok(Named::Code(Code::new("a-B_9").expect("a code"))));
        for (text, url) in [
            ("https://sn.ip/abc", "https://sn.ip/abc"),
            ("sn.ip/abc", "https://sn.ip/abc"),
            ("127.0.0.1:3000/abc", "https://127.0.0.1:3000/abc"),
        ] {
            let url = Box::new(Url::parse(url).expect("a URL"));
            assert_eq!(Named::read(text), Ok(Named::Whole(url)), "{text}");
        }
        for wrong in ["", "a b", "ü", "https://", "://", "mailto:a@b.c://", &"a".repeat(65)] {
            assert!(Named::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn whole_links_are_of_their_shortener_only() {
        let code = |url: &str, base: &str| {
            let Ok(Named::Whole(url)) = Named::read(url) else { panic!("{url} is no link") };
            code_behind(&url, base).map(String::from)
        };
        for (url, base) in [
            ("https://sn.ip/abc", "https://sn.ip"),
            ("http://SN.ip/abc/?utm_source=x#y", "https://sn.ip"),
            ("sn.ip/abc", "http://sn.ip/"),
            ("https://sn.ip/s/abc", "https://sn.ip/s"),
            ("127.0.0.1:3000/abc", "http://127.0.0.1:3000"),
        ] {
            assert_eq!(code(url, base).as_deref(), Some("abc"), "{url} {base}");
        }
        for (url, base) in [
            ("https://bit.ly/abc", "https://sn.ip"),
            ("https://sn.ip:8443/abc", "https://sn.ip"),
            ("https://sn.ip/abc", "https://sn.ip/s"),
            ("https://sn.ip/sabc", "https://sn.ip/s"),
            ("https://sn.ip/", "https://sn.ip"),
            ("https://sn.ip/a/b", "https://sn.ip"),
            ("https://sn.ip/api", "https://sn.ip"),
            ("https://sn.ip/a%20b", "https://sn.ip"),
        ] {
            assert_eq!(code(url, base), None, "{url} {base}");
        }
    }
}
