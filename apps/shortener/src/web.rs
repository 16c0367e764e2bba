//! The web page: its documents, styles and scripts, which are part of the program.
//!
//! It is one application of plain modules, without a build step and without anything from
//! elsewhere, over the same API that everybody else uses. What is served here is the same for all
//! and says nothing of anybody: who is signed in, and what they may see, is the API's to decide.
//! Names of files carry a hash of their content, so that browsers keep them for ever; documents are
//! asked for again each time. All addresses are relative, so that it works below a path as well.
//! Called by `serve.rs`.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use sha2::{Digest, Sha256};

use crate::refusal::Refusal;

/// Files as they are written, those first that others name.
const SOURCES: [(&str, &str); 25] = [
    ("icon.svg", include_str!("../web/icon.svg")),
    ("style.css", concat!(include_str!("../web/tokens.css"), include_str!("../web/style.css"))),
    ("dom.js", include_str!("../web/dom.js")),
    ("api.js", include_str!("../web/api.js")),
    ("text.js", include_str!("../web/text.js")),
    ("names.js", include_str!("../web/names.js")),
    ("csv.js", include_str!("../web/csv.js")),
    ("logo.js", include_str!("../web/logo.js")),
    ("notice.js", include_str!("../web/notice.js")),
    ("shortcuts.js", include_str!("../web/shortcuts.js")),
    ("form.js", include_str!("../web/form.js")),
    ("utm.js", include_str!("../web/utm.js")),
    ("share.js", include_str!("../web/share.js")),
    ("create.js", include_str!("../web/create.js")),
    ("edit.js", include_str!("../web/edit.js")),
    ("many.js", include_str!("../web/many.js")),
    ("live.js", include_str!("../web/live.js")),
    ("chart.js", include_str!("../web/chart.js")),
    ("stats.js", include_str!("../web/stats.js")),
    ("overview.js", include_str!("../web/overview.js")),
    ("keys.js", include_str!("../web/keys.js")),
    ("links.js", include_str!("../web/links.js")),
    ("link.js", include_str!("../web/link.js")),
    ("signin.js", include_str!("../web/signin.js")),
    ("app.js", include_str!("../web/app.js")),
];

const DOCUMENT: &str = include_str!("../web/index.html");

/// Styles of the small pages that people see who follow a link, which carry them within: they are
/// shown where nothing else of this server may be reachable.
pub static SMALL_STYLE: LazyLock<Styled> = LazyLock::new(|| {
    Styled::new(concat!(include_str!("../web/tokens.css"), include_str!("../web/small.css")))
});

/// No inline scripts and styles, nothing from elsewhere, no text that becomes HTML.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// For ever: another content has another name.
const KEEP: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

/// Styles within a page.
#[derive(Debug)]
pub struct Styled {
    /// The styles.
    pub css: &'static str,
    /// The source of a `Content-Security-Policy` that allows them and no others.
    pub source: String,
}

impl Styled {
    fn new(css: &'static str) -> Styled {
        Styled { css, source: format!("'sha256-{}'", BASE64.encode(&Sha256::digest(css))) }
    }
}

/// The pages and their files.
pub fn router() -> Router {
    Router::new()
        .route("/", get(async |headers: HeaderMap| document(0, &headers)))
        .route("/login", get(async |headers: HeaderMap| document(0, &headers)))
        .route("/stats", get(async |headers: HeaderMap| document(0, &headers)))
        .route("/keys", get(async |headers: HeaderMap| document(0, &headers)))
        .route("/links", get(async |headers: HeaderMap| document(0, &headers)))
        .route("/links/{code}", get(async |headers: HeaderMap| document(1, &headers)))
        .route("/assets/{name}", get(asset))
        .route("/favicon.ico", get(async |headers: HeaderMap| by_name("icon.svg", &headers)))
        .route("/robots.txt", get(robots))
}

/// What crawlers are told: links are for people.
async fn robots() -> Response {
    let text = "User-agent: *\nDisallow: /api/\nDisallow: /links/\n";
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    let keep = HeaderValue::from_static("public, max-age=86400");
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, keep)], text).into_response()
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    by_name(&name, &headers)
}

/// A file by its name with a hash. With another hash, it is of another version of this program, as
/// there are while instances are replaced one by one: it gets what there is here.
fn by_name(name: &str, headers: &HeaderMap) -> Response {
    let site = &*SITE;
    if let Some(file) = site.files.iter().find(|file| file.name == name) {
        return file.answer(KEEP, headers);
    }
    let plain = |name: &str| match name.rsplit_once('.') {
        Some((stem, kind)) => format!("{}.{kind}", stem.split('-').next().unwrap_or(stem)),
        None => name.to_owned(),
    };
    match site.files.iter().find(|file| plain(&file.name) == plain(name)) {
        Some(file) => file.answer(ASK_AGAIN, headers),
        None => Refusal::Missing.page(),
    }
}

fn document(depth: usize, headers: &HeaderMap) -> Response {
    let mut response = SITE.documents[depth].answer(ASK_AGAIN, headers);
    let fields = [
        ("content-security-policy", POLICY),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("permissions-policy", "clipboard-write=(self)"),
        ("x-robots-tag", "noindex"),
    ];
    for (name, value) in fields {
        let headers = response.headers_mut();
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

static SITE: LazyLock<Site> = LazyLock::new(Site::new);

/// Everything that is served, made once.
#[derive(Debug)]
struct Site {
    files: Vec<File>,
    /// By how deep below the root they are asked for.
    documents: [File; 2],
}

impl Site {
    fn new() -> Site {
        let mut files: Vec<File> = Vec::with_capacity(SOURCES.len());
        let mut names: Vec<(&str, String)> = Vec::with_capacity(SOURCES.len());
        for (name, text) in SOURCES {
            let text = named(text, "./", &names);
            let hash = HEXLOWER.encode(&Sha256::digest(&text)[..8]);
            let (stem, kind) = name.rsplit_once('.').unwrap_or((name, ""));
            let hashed = format!("{stem}-{hash}.{kind}");
            files.push(File::new(hashed.clone(), text));
            names.push((name, hashed));
        }
        let scripts = names.iter().filter(|(name, _)| name.ends_with(".js"));
        // All at once, and not each when the one before has named it.
        let preloads: String = scripts
            .map(|(_, name)| format!("<link rel=modulepreload href=\"assets/{name}\">\n"))
            .collect();
        let text = named(DOCUMENT, "assets/", &names).replace("<!--preloads-->\n", &preloads);
        let below = text.replace("\"assets/", "\"../assets/");
        let documents = [text, below].map(|text| File::new("index.html".to_owned(), text));
        Site { files, documents }
    }
}

/// A text with the names of files behind `before` in place of those that they are written by.
fn named(text: &str, before: &str, names: &[(&str, String)]) -> String {
    names.iter().fold(text.to_owned(), |text, (name, hashed)| {
        text.replace(&format!("\"{before}{name}\""), &format!("\"{before}{hashed}\""))
    })
}

#[derive(Debug)]
struct File {
    name: String,
    kind: &'static str,
    etag: HeaderValue,
    content: Bytes,
}

impl File {
    fn new(name: String, text: String) -> File {
        let kind = match name.rsplit_once('.').map(|(_, kind)| kind) {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "text/html; charset=utf-8",
        };
        let etag = format!("\"{}\"", HEXLOWER.encode(&Sha256::digest(&text)[..12]));
        let etag = HeaderValue::try_from(etag).expect("digits and quotes are fit for a field");
        File { name, kind, etag, content: text.into() }
    }

    fn answer(&self, keep: HeaderValue, headers: &HeaderMap) -> Response {
        let fields = [
            (header::ETAG, self.etag.clone()),
            (header::CACHE_CONTROL, keep),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        ];
        let known = headers.get_all(header::IF_NONE_MATCH).iter();
        let mut tags = known.filter_map(|it| it.to_str().ok()).flat_map(|it| it.split(','));
        let ours = self.etag.as_bytes();
        // Our tags have no comma within. Weakly compared (RFC 9110, section 13.1.2).
        let is_known = tags.any(|tag| {
            let tag = tag.trim();
            tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == ours
        });
        if is_known {
            return (StatusCode::NOT_MODIFIED, fields).into_response();
        }
        let kind = HeaderValue::from_static(self.kind);
        (fields, [(header::CONTENT_TYPE, kind)], self.content.clone()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn every_file_that_is_named_is_there_under_its_hash() {
        let site = Site::new();
        let texts = site.files.iter().chain(&site.documents);
        for file in texts.filter(|file| !file.name.ends_with(".css")) {
            let text = std::str::from_utf8(&file.content).expect("text");
            for piece in text.split('"').skip(1).step_by(1) {
                let name = ["./", "assets/", "../assets/"]
                    .iter()
                    .find_map(|before| piece.strip_prefix(before))
                    .filter(|name| name.ends_with(".js") || name.ends_with(".css"));
                let Some(name) = name else { continue };
                assert!(site.files.iter().any(|file| file.name == name), "{}: {name}", file.name);
            }
        }
    }

    #[test]
    fn nothing_is_from_elsewhere_or_inline() {
        for (name, text) in SOURCES.into_iter().chain([("index.html", DOCUMENT)]) {
            let allowed = text.replace("http://www.w3.org/2000/svg", "").replace("https://…", "");
            for wrong in ["http://", "innerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!allowed.contains(wrong), "{name} has {wrong}");
            }
        }
        for wrong in ["<style", "style=", "onclick", "<script>"] {
            assert!(!DOCUMENT.contains(wrong), "{wrong}");
        }
    }

    /// The colours of a scheme, by name.
    fn colours(css: &'static str) -> HashMap<&'static str, [f64; 3]> {
        let colour = |line: &'static str| {
            let (name, hex) = line.trim().strip_prefix("--")?.split_once(": #")?;
            let bytes = HEXLOWER.decode(hex.strip_suffix(';')?.as_bytes()).ok()?;
            Some((name, <[u8; 3]>::try_from(bytes).ok()?.map(f64::from)))
        };
        css.lines().filter_map(colour).collect()
    }

    /// The contrast of two colours (WCAG 2.2, "contrast ratio").
    fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
        let luminance = |colour: [f64; 3]| {
            let linear = colour.map(|part| part / 255.0).map(|part| {
                if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
            });
            0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        };
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn texts_can_be_read_in_both_schemes() {
        let tokens = include_str!("../web/tokens.css");
        let (light, dark) = tokens.split_once("@media").expect("two schemes");
        for (scheme, css) in [("light", light), ("dark", dark)] {
            let colours = colours(css);
            for (text, grounds, least) in [
                ("ink", &["ground", "surface", "raised", "accent-soft"][..], 4.5),
                ("muted", &["ground", "surface", "raised", "accent-soft"], 4.5),
                ("accent", &["ground", "surface"], 4.5),
                ("accent-strong", &["accent-soft"], 4.5),
                ("on-accent", &["accent", "accent-strong"], 4.5),
                ("bad", &["surface", "bad-soft"], 4.5),
                ("surface", &["bad", "ink"], 4.5),
                ("warn", &["warn-soft", "surface"], 4.5),
                // Edges of what can be used, and bars (section 1.4.11).
                ("edge", &["ground", "surface"], 3.0),
                ("accent", &["surface", "raised"], 3.0),
            ] {
                for ground in grounds {
                    let contrast = contrast(colours[text], colours[ground]);
                    assert!(contrast >= least, "{scheme}: {text} on {ground}: {contrast:.2}");
                }
            }
        }
    }

    #[test]
    fn browsers_keep_files_and_ask_again_for_documents() {
        let file = &SITE.files[0];
        let answer = by_name(&file.name, &HeaderMap::new());
        assert_eq!(answer.headers()["cache-control"], KEEP);
        let old = format!("icon-{}.svg", "0".repeat(16));
        let answer = by_name(&old, &HeaderMap::new());
        assert_eq!(
            (answer.status(), &answer.headers()["cache-control"]),
            (StatusCode::OK, &ASK_AGAIN)
        );
        assert_eq!(by_name("other.js", &HeaderMap::new()).status(), StatusCode::NOT_FOUND);
        assert_eq!(by_name("", &HeaderMap::new()).status(), StatusCode::NOT_FOUND);
        let answer = document(1, &HeaderMap::new());
        assert_eq!(answer.headers()["cache-control"], ASK_AGAIN);
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, answer.headers()[header::ETAG].clone());
        assert_eq!(document(1, &headers).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(document(0, &headers).status(), StatusCode::OK, "their addresses differ");
    }
}
