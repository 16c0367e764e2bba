//! The URLs of a sitemap (sitemaps.org, protocol 0.9): plain text, or the `loc` elements of XML,
//! which is scanned rather than parsed, so that a slip in it costs one URL and not all.

/// What a sitemap lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sitemap {
    /// Pages.
    Urls(Vec<String>),
    /// Other sitemaps.
    Index(Vec<String>),
}

/// Reads a sitemap, or a file with a URL a line, where lines that begin with `#` are comments. At
/// most `most` URLs are taken, none is checked.
pub fn read(text: &str, most: usize) -> Sitemap {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if !text.starts_with('<') {
        let lines = text.lines().map(str::trim);
        let urls = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        return Sitemap::Urls(urls.take(most).map(str::to_owned).collect());
    }
    let found = locations(text).take(most).collect();
    match text.contains("<sitemapindex") {
        true => Sitemap::Index(found),
        false => Sitemap::Urls(found),
    }
}

/// What stands in `<loc>` elements; not in those of extensions, such as `<image:loc>`.
fn locations(text: &str) -> impl Iterator<Item = String> {
    text.split("<loc").skip(1).filter_map(|rest| {
        let rest = rest.strip_prefix('>').or_else(|| {
            let begins = rest.starts_with(|c: char| c.is_ascii_whitespace());
            rest.split_once('>').map(|(_, rest)| rest).filter(|_| begins)
        })?;
        let inside = rest.split_once("</loc")?.0.trim();
        match inside.strip_prefix("<![CDATA[").and_then(|rest| rest.strip_suffix("]]>")) {
            Some(plain) => Some(plain.trim().to_owned()),
            None => Some(unescaped(inside)),
        }
    })
}

/// Text with the entities of XML replaced; others stay as they are.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let entity = after.split_once(';').filter(|(name, _)| name.len() <= 8);
        match entity.and_then(|(name, rest)| Some((meaning(name)?, rest))) {
            Some((c, after)) => {
                out.push(c);
                rest = after;
            }
            None => {
                out.push('&');
                rest = after;
            }
        }
    }
    out + rest
}

fn meaning(entity: &str) -> Option<char> {
    match entity {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = entity.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            code.ok().and_then(char::from_u32)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(urls: &[&str]) -> Sitemap {
        Sitemap::Urls(urls.iter().map(|url| (*url).to_owned()).collect())
    }

    #[test]
    fn pages_and_other_sitemaps() {
        for (text, expect) in [
            ("", urls(&[])),
            ("# a\nhttp://a/1\r\n\n  http://a/2 \n", urls(&["http://a/1", "http://a/2"])),
            (
                "\u{feff}<?xml version=\"1.0\"?>\n<urlset xmlns=\"x\"><url><loc>http://a/?a=1&amp;b=&#50;&#x33;</loc></url>\
                 <url><loc >\n http://a/2\n</loc ><image:loc>http://a/3</image:loc></url></urlset>",
                urls(&["http://a/?a=1&b=23", "http://a/2"]),
            ),
            ("<urlset><loc><![CDATA[http://a/?a&b]]></loc><loc>cut", urls(&["http://a/?a&b"])),
            ("<urlset><location>x</location><loc>&nope;&&amp;</loc></urlset>", urls(&["&nope;&&"])),
            (
                "<sitemapindex><sitemap><loc>http://a/1.xml</loc></sitemap></sitemapindex>",
                Sitemap::Index(vec!["http://a/1.xml".to_owned()]),
            ),
            ("<urlset><loc>1</loc><loc>2</loc><loc>3</loc>", urls(&["1", "2"])),
        ] {
            assert_eq!(read(text, 2), expect, "{text}");
        }
    }
}
