//! Lines of a file as links to be made. Says what is wrong with a line and goes on with the next.

use std::io::{BufRead, BufReader, Read};

use csv::{ByteRecord, ReaderBuilder};

use super::{Source, sql};
use crate::api::CreateLink;
use crate::cell;

/// Bytes by whose look it is decided how a file is written.
const LOOK: usize = 64 * 1024;

/// Characters of a title that are kept.
const LONGEST_TITLE: usize = 255;

/// A line.
#[derive(Debug, PartialEq)]
pub(super) enum Row {
    Good(Box<Good>),
    /// It cannot be a link.
    Bad {
        line: u64,
        why: String,
    },
}

/// A line that may be a link; the shortener decides.
#[derive(Debug, PartialEq)]
pub(super) struct Good {
    /// Where it begins, from 1.
    pub(super) line: u64,
    pub(super) link: CreateLink,
    pub(super) is_disabled: bool,
}

impl Row {
    /// Where it begins, from 1.
    pub(super) fn line(&self) -> u64 {
        match self {
            Row::Good(good) => good.line,
            Row::Bad { line, .. } => *line,
        }
    }
}

/// The columns of a file, by what they mean.
#[derive(Debug, Clone, Default, PartialEq)]
struct Columns {
    target: Option<usize>,
    alias: Option<usize>,
    /// Takes the place of `alias` where it is filled.
    custom: Option<usize>,
    title: Option<usize>,
    tags: Option<usize>,
    status: Option<usize>,
    forward_query: Option<usize>,
    expires: Option<usize>,
    clicks_left: Option<usize>,
    disabled: Option<usize>,
    protected: Option<usize>,
}

/// Names of columns, in small letters without anything between, and what they mean.
fn meaning<'a>(columns: &'a mut Columns, name: &str) -> Option<&'a mut Option<usize>> {
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    Some(match name.to_ascii_lowercase().as_str() {
        "target" | "url" | "longurl" | "destination" | "destinationurl" | "originalurl" => {
            &mut columns.target
        }
        "code" | "alias" | "keyword" | "slug" | "shortcode" | "link" | "bitlink" | "shortlink"
        | "backhalf" => &mut columns.alias,
        "customlink" | "custombitlink" | "custombitlinks" | "custombackhalf" | "customlinks" => {
            &mut columns.custom
        }
        "title" => &mut columns.title,
        "tags" | "tag" => &mut columns.tags,
        "status" => &mut columns.status,
        "forwardquery" => &mut columns.forward_query,
        "expires" => &mut columns.expires,
        "clicksleft" => &mut columns.clicks_left,
        "disabled" => &mut columns.disabled,
        "protected" => &mut columns.protected,
        _ => return None,
    })
}

impl Columns {
    /// By the names in the first line; `None` when none of them is that of a target.
    fn named(names: &ByteRecord) -> Option<Columns> {
        let mut columns = Columns::default();
        for (index, name) in names.iter().enumerate() {
            let name = String::from_utf8_lossy(name);
            if let Some(place) = meaning(&mut columns, &name) {
                place.get_or_insert(index);
            }
        }
        columns.target.is_some().then_some(columns)
    }

    /// The table of YOURLS: keyword, url, title, timestamp, ip, clicks.
    pub(super) fn of_yourls() -> Columns {
        Columns { alias: Some(0), target: Some(1), title: Some(2), ..Columns::default() }
    }
}

/// A file.
pub(super) struct Rows {
    /// Whether it says what links are called. If not, each gets a new name.
    pub(super) has_names: bool,
    /// Its rows, in their order.
    pub(super) rows: Box<dyn Iterator<Item = anyhow::Result<Row>>>,
}

/// The rows of a file.
///
/// # Errors
/// When its first line cannot be read, or does not say what its columns are.
pub(super) fn read(source: Source, file: Box<dyn Read>) -> anyhow::Result<Rows> {
    let mut file = BufReader::with_capacity(LOOK, file);
    let look = file.fill_buf()?.to_vec();
    if source == Source::Yourls && sql::is_dump(&look) {
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let rows = sql::tuples(&text);
        let rows = rows.into_iter().map(move |(line, columns, values)| {
            let columns = match columns {
                Some(names) => Columns::named(&names).unwrap_or_else(Columns::of_yourls),
                None => Columns::of_yourls(),
            };
            Ok(row(source, &columns, &values, line))
        });
        let rows = Box::new(rows.collect::<Vec<_>>().into_iter());
        return Ok(Rows { has_names: true, rows });
    }
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter(&look))
        // MySQL writes quotes within so, everybody else doubles them.
        .escape((source == Source::Yourls && has(&look, br#"\""#)).then_some(b'\\'))
        .from_reader(file);
    let mut first = ByteRecord::new();
    if !reader.read_byte_record(&mut first)? {
        return Ok(Rows { has_names: true, rows: Box::new(std::iter::empty()) });
    }
    let named = Columns::named(&first);
    let (columns, first) = match (named, source) {
        (Some(columns), _) => (columns, None),
        (None, Source::Yourls) => (Columns::of_yourls(), Some(first)),
        (None, _) => anyhow::bail!(
            "the first line names no column with targets (`target`, `url`, `long_url`)"
        ),
    };
    let has_names = columns.alias.or(columns.custom).is_some();
    let first = first.into_iter().map(Ok);
    // Of two characters that end a line the reader counts the second to the next.
    let late = u64::from(
        look.split(|byte| *byte == b'\n').next().is_some_and(|line| line.ends_with(b"\r")),
    );
    let rows = first.chain(reader.into_byte_records()).map(move |record| {
        let record = record?;
        let line = record.position().map_or(1, |position| match position.byte() {
            0 => 1,
            _ => position.line() + late,
        });
        Ok(row(source, &columns, &record, line))
    });
    Ok(Rows { has_names, rows: Box::new(rows) })
}

fn has(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// What is between the columns: whichever is most in the first line.
fn delimiter(look: &[u8]) -> u8 {
    let line = look.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |wanted: u8| line.iter().filter(|byte| **byte == wanted).count();
    // The first of equals: a comma, if there is none at all.
    [b'\t', b';', b','].into_iter().max_by_key(|delimiter| count(*delimiter)).unwrap_or(b',')
}

fn row(source: Source, columns: &Columns, record: &ByteRecord, line: u64) -> Row {
    match link(source, columns, record) {
        Ok((link, is_disabled)) => Row::Good(Box::new(Good { line, link, is_disabled })),
        Err(why) => Row::Bad { line, why },
    }
}

fn link(
    source: Source,
    columns: &Columns,
    record: &ByteRecord,
) -> Result<(CreateLink, bool), String> {
    let text = |column: Option<usize>| -> Result<Option<&str>, String> {
        let Some(bytes) = column.and_then(|column| record.get(column)) else { return Ok(None) };
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?.trim();
        let text = if source == Source::Csv { cell::read(text) } else { text };
        // MySQL writes nothing so.
        Ok(Some(text).filter(|text| !matches!(*text, "" | "NULL" | "\\N")))
    };
    let flag = |column| match text(column)? {
        None => Ok(None),
        Some("false" | "0" | "no") => Ok(Some(false)),
        Some("true" | "1" | "yes") => Ok(Some(true)),
        Some(other) => Err(format!("neither true nor false: {other}")),
    };
    fn number<T: std::str::FromStr>(text: Option<&str>) -> Result<Option<T>, String> {
        text.map(|text| text.parse().map_err(|_| format!("not a number: {text}"))).transpose()
    }
    if flag(columns.protected)? == Some(true) {
        return Err("it has a password, which is not in the file; make it by hand".to_owned());
    }
    let alias = match text(columns.custom)? {
        Some(custom) => Some(custom),
        None => text(columns.alias)?,
    };
    let alias = alias.map(|alias| match source {
        // Of several the first; of a link its path.
        Source::Bitly => {
            let first = alias.split([',', '|', ' ']).next().unwrap_or(alias);
            first.trim_end_matches('/').rsplit('/').next().unwrap_or(first).to_owned()
        }
        Source::Csv | Source::Yourls | Source::Shlink => alias.to_owned(),
    });
    let between: &[char] = match source {
        Source::Bitly => &[',', ';', '|'],
        Source::Shlink => &['|', ','],
        Source::Csv | Source::Yourls => &[','],
    };
    let tags = text(columns.tags)?.map(|tags| {
        tags.split(between)
            .map(str::trim)
            .filter(|tag| !tag.is_empty())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    let link = CreateLink {
        target: text(columns.target)?.ok_or("there is no target")?.to_owned(),
        alias,
        title: text(columns.title)?.map(title),
        tags: tags.filter(|tags| !tags.is_empty()),
        status: number(text(columns.status)?)?,
        forward_query: flag(columns.forward_query)?,
        expires: text(columns.expires)?.map(str::to_owned),
        clicks_left: number(text(columns.clicks_left)?)?,
        password: None,
        utm: None,
    };
    Ok((link, flag(columns.disabled)? == Some(true)))
}

/// A title that fits: others allow longer ones, and more lines.
fn title(text: &str) -> String {
    let plain = text.chars().map(|character| match character.is_control() {
        true => ' ',
        false => character,
    });
    plain.take(LONGEST_TITLE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(source: Source, text: &str) -> Vec<Row> {
        let rows = read(source, Box::new(std::io::Cursor::new(text.as_bytes().to_vec())));
        let rows = rows.unwrap_or_else(|error| panic!("{text}: {error}")).rows;
        rows.map(|row| row.expect("it can be read")).collect()
    }

    fn good(line: u64, alias: &str, target: &str, title: Option<&str>) -> Row {
        let link = CreateLink {
            target: target.to_owned(),
            alias: Some(alias.to_owned()).filter(|alias| !alias.is_empty()),
            title: title.map(str::to_owned),
            ..CreateLink::default()
        };
        Row::Good(Box::new(Good { line, link, is_disabled: false }))
    }

    #[test]
    fn own_exports_are_read() {
        let text = "\u{feff}code,target,title,tags,status,expires,clicks_left,disabled,protected\n\
            a,https://a.b/,\"one\nmore, \"\"so\"\"\",\"x,y\",301,2030-01-31T12:00:00Z,5,true,false\n\
            b,https://b.c/,,,,,,,true\n\
            c,,,,,,,,\n\
            d,https://d.e/,,,x,,,,\n\
            ,https://e.f/\n";
        let rows = rows(Source::Csv, text);
        let link = CreateLink {
            target: "https://a.b/".into(),
            alias: Some("a".into()),
            title: Some("one more, \"so\"".into()),
            tags: Some(vec!["x".into(), "y".into()]),
            status: Some(301),
            expires: Some("2030-01-31T12:00:00Z".into()),
            clicks_left: Some(5),
            ..CreateLink::default()
        };
        assert_eq!(rows[0], Row::Good(Box::new(Good { line: 2, link, is_disabled: true })));
        let bad: Vec<_> = rows[1..4]
            .iter()
            .map(|row| match row {
                Row::Bad { line, why } => (*line, why.as_str()),
                good => panic!("{good:?}"),
            })
            .collect();
        assert_eq!(bad[0].0, 4);
        assert!(bad[0].1.contains("password"), "{bad:?}");
        assert_eq!(bad[1..], [(5, "there is no target"), (6, "not a number: x")]);
        assert_eq!(rows[4], good(7, "", "https://e.f/", None));
    }

    #[test]
    fn exports_of_shlink_are_read() {
        let text = "createdAt,domain,longUrl,shortCode,shortUrl,tags,title,visits\n\
            2024-01-02T03:04:05+00:00,s.test,https://a.b/?x=1,abc,https://s.test/abc,one|two,A,3\n\
            2024-01-02T03:04:05+00:00,s.test,https://c.d/,de,https://s.test/de,,,0\n";
        let rows = rows(Source::Shlink, text);
        let Row::Good(first) = &rows[0] else { panic!("{rows:?}") };
        assert_eq!((first.line, first.link.target.as_str()), (2, "https://a.b/?x=1"));
        assert_eq!(first.link.alias.as_deref(), Some("abc"));
        assert_eq!(first.link.tags, Some(vec!["one".to_owned(), "two".to_owned()]));
        assert_eq!(rows[1], good(3, "de", "https://c.d/", None));
    }

    #[test]
    fn a_file_without_names_is_known_for_one() {
        for (text, expect) in [
            ("url,title\nhttps://a.b/,A\n", false),
            ("url,slug\nhttps://a.b/,a\n", true),
            ("target,Custom Back-Half\nhttps://a.b/,a\n", true),
        ] {
            let file = Box::new(std::io::Cursor::new(text.as_bytes().to_vec()));
            let read = read(Source::Csv, file).expect("it has targets");
            assert_eq!(read.has_names, expect, "{text}");
        }
    }

    #[test]
    fn tables_of_yourls_are_read() {
        let expect = || {
            vec![
                good(1, "abc", "https://a.b/?x=1;2", Some("A, \"B\"")),
                good(2, "d-e", "https://c.d/", None),
            ]
        };
        for text in [
            // phpMyAdmin.
            "\"abc\";\"https://a.b/?x=1;2\";\"A, \"\"B\"\"\";\"2020-01-01 00:00:00\";\"1.2.3.4\";\"5\"\n\
             \"d-e\";\"https://c.d/\";NULL;\"2020-01-01 00:00:00\";\"1.2.3.4\";\"0\"\n",
            // SELECT … INTO OUTFILE.
            "\"abc\",\"https://a.b/?x=1;2\",\"A, \\\"B\\\"\",\"2020-01-01 00:00:00\",\"1.2.3.4\",5\n\
             \"d-e\",\"https://c.d/\",\\N,\"2020-01-01 00:00:00\",\"1.2.3.4\",0\n",
        ] {
            assert_eq!(rows(Source::Yourls, text), expect(), "{text}");
        }
        let text = "keyword,url,title,timestamp,ip,clicks\r\nabc,https://a.b/,T,x,y,1\r\n";
        assert_eq!(rows(Source::Yourls, text), [good(2, "abc", "https://a.b/", Some("T"))]);
    }

    #[test]
    fn dumps_of_yourls_are_read() {
        let text = "-- MySQL dump 10.13\nCREATE TABLE `yourls_url` (`keyword` varchar(100));\n\
            INSERT INTO `yourls_options` VALUES (1,'version','506');\n\
            INSERT INTO `yourls_url` VALUES ('abc','https://a.b/','It\\'s ''so''','2020','::1',5),\n\
            ('d','https://c.d/;),(',NULL,'2020','::1',0);\n\
            INSERT INTO yourls_url (`url`, `keyword`) VALUES ('https://e.f/', 'e');\n";
        let expect = [
            good(4, "abc", "https://a.b/", Some("It's 'so'")),
            good(5, "d", "https://c.d/;),(", None),
            good(6, "e", "https://e.f/", None),
        ];
        assert_eq!(rows(Source::Yourls, text), expect);
    }

    #[test]
    fn exports_of_bitly_are_read() {
        let text = "Link,Custom Link,Title,Destination,Created,Tags\n\
            bit.ly/3xYz,,One,https://a.b/,2024-01-01,\n\
            https://bit.ly/4abc/,acme.co/spring,Two,https://c.d/,2024-01-01,\"x|y\"\n";
        let mut second = good(3, "spring", "https://c.d/", Some("Two"));
        if let Row::Good(good) = &mut second {
            good.link.tags = Some(vec!["x".into(), "y".into()]);
        }
        let expect = [good(2, "3xYz", "https://a.b/", Some("One")), second];
        assert_eq!(rows(Source::Bitly, text), expect);
        let text = "long_url,link,title,created_at\nhttps://a.b/,https://bit.ly/x,,1\n";
        assert_eq!(rows(Source::Bitly, text), [good(2, "x", "https://a.b/", None)]);
    }

    #[test]
    fn what_is_no_table_is_refused_and_what_is_empty_is_empty() {
        let read = |text: &'static str| read(Source::Csv, Box::new(text.as_bytes()));
        assert!(read("a,b\nc,d\n").is_err());
        assert_eq!(read("").expect("nothing is wrong").rows.count(), 0);
        let latin = rows_of_bytes(b"target,title\nhttps://a.b/,\xe4\nhttps://c.d/,x\n");
        assert!(matches!(&latin[0], Row::Bad { line: 2, why } if why.contains("UTF-8")));
        assert_eq!(latin[1], good(3, "", "https://c.d/", Some("x")));
    }

    fn rows_of_bytes(text: &'static [u8]) -> Vec<Row> {
        let rows = read(Source::Csv, Box::new(text)).expect("a table").rows;
        rows.map(|row| row.expect("it can be read")).collect()
    }
}
