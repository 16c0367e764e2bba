//! Declares a section of the file once: its keys with their meaning, type, default and rule.
//!
//! `section!` yields the struct, the reader that collects problems ([`Section::read`]) and the
//! description from which the reference and the JSON Schema are made ([`Section::shape`]). Used by
//! the files below [`crate::config`] and by nothing else.

use toml::de::DeValue;

use crate::name;
use crate::read::{At, Entries, Reader, span_of};
use crate::shape::SectionShape;
use crate::source::Span;

/// A table with keys of ours.
pub(crate) trait Section: Sized {
    /// Takes its keys; reports what is wrong with them, and keys it does not know. `None` when
    /// something it cannot do without is not there or not readable.
    fn read(entries: Entries<'_, '_>, reader: &mut Reader<'_>) -> Option<Self>;

    /// What it looks like.
    fn shape() -> SectionShape;
}

/// A table whose name is the user's, as in `[listen.NAME]`.
#[derive(Debug, Clone)]
pub(crate) struct Named<T> {
    /// Its name and where that stands.
    pub(crate) name: At<String>,
    /// Where it stands: its header, or all of it when it is inline.
    pub(crate) span: Span,
    /// What is in it, when it could be read.
    pub(crate) section: Option<T>,
}

/// Tables of one kind.
#[derive(Debug, Clone)]
pub(crate) struct Tables<T> {
    /// Those that are there, in the order of the file.
    list: Vec<T>,
    /// Whether all that is there is a table, so that what is missing is really missing.
    pub(crate) complete: bool,
}

impl<T> std::ops::Deref for Tables<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.list
    }
}

/// The tables in `[key.NAME]`, in the order of the file.
pub(crate) fn named<T: Section>(
    key: &str,
    entries: &mut Entries<'_, '_>,
    reader: &mut Reader<'_>,
) -> Tables<Named<T>> {
    let (mut list, mut complete) = (Vec::new(), true);
    let Some((span, node)) = entries.take(key) else {
        return Tables { list, complete };
    };
    let DeValue::Table(table) = node.get_ref() else {
        let help = match node.get_ref() {
            DeValue::Array(_) => {
                format!("it has a name: write `[{key}.NAME]` instead of `[[{key}]]`")
            }
            _ => format!("write `[{key}.NAME]`"),
        };
        let message = format!("`{key}` must be tables with names");
        reader.report.error(span, message, Some(help));
        complete = false;
        return Tables { list, complete };
    };
    if table.len() > MOST_NAMED {
        too_many(key, span, table.len(), MOST_NAMED, reader);
        complete = false;
        return Tables { list, complete };
    }
    for (name, span, node) in Entries::of(format!("[{key}]"), span, table).take_all() {
        let DeValue::Table(_) = node.get_ref() else {
            let message = format!("{} is not a table", crate::source::quoted(name));
            let help =
                format!("give it a name of its own: `[{key}.NAME]`, and its keys below that");
            reader.report.error(span, message, Some(help));
            complete = false;
            continue;
        };
        name::check(name, span, "name", &mut reader.report);
        let within = Entries::within(format!("[{key}.{name}]"), node, reader);
        list.push(Named {
            name: At::given(name.to_owned(), span),
            span: span_of(node),
            section: within.and_then(|entries| T::read(entries, reader)),
        });
    }
    Tables { list, complete }
}

/// The tables in `[[key]]`, in order; `None` for one that could not be read.
pub(crate) fn each<T: Section>(
    key: &str,
    entries: &mut Entries<'_, '_>,
    reader: &mut Reader<'_>,
) -> Tables<Option<At<T>>> {
    let (mut list, mut complete) = (Vec::new(), true);
    let Some((span, node)) = entries.take(key) else {
        return Tables { list, complete };
    };
    let DeValue::Array(array) = node.get_ref() else {
        let message = format!("`{key}` must be a list of tables");
        let help = format!("write `[[{key}]]` with two brackets before each of them");
        reader.report.error(span, message, Some(help));
        complete = false;
        return Tables { list, complete };
    };
    if array.len() > MOST_EACH {
        too_many(key, span, array.len(), MOST_EACH, reader);
        complete = false;
        return Tables { list, complete };
    }
    for node in array.iter() {
        let within = Entries::within(format!("[[{key}]]"), node, reader);
        let section = within.and_then(|entries| T::read(entries, reader));
        list.push(section.map(|section| At::given(section, span_of(node))));
    }
    Tables { list, complete }
}

/// The table below `key`; when it is not there, what its defaults say.
pub(crate) fn nested<T: Section>(
    key: &str,
    entries: &mut Entries<'_, '_>,
    reader: &mut Reader<'_>,
) -> Option<At<T>> {
    let title = match entries.title() {
        ROOT => format!("[{key}]"),
        parent => format!("`{key}` of {parent}"),
    };
    let within = match entries.take(key) {
        Some((_, node)) => Entries::within(title.clone(), node, reader),
        None => None,
    };
    let given = within.is_some();
    let entries = within.unwrap_or_else(|| Entries::absent(title, entries.span()));
    let span = entries.span();
    T::read(entries, reader).map(|value| At { value, span, given })
}

fn too_many(key: &str, span: Span, count: usize, most: usize, reader: &mut Reader<'_>) {
    let message = format!("there are {count} tables `{key}`; at most {most} are allowed");
    reader.report.error(span, message, None);
}

/// Most listeners, and most upstreams.
pub(crate) const MOST_NAMED: usize = 10_000;
/// Most routes.
pub(crate) const MOST_EACH: usize = 100_000;

/// The title of the table that is the whole file.
pub(crate) const ROOT: &str = "the file";

/// See the head of this file. The word before each key says what the key is:
/// `required` and `optional` values, values with a `default`, `nested` sections, sections `named`
/// by the user, and lists of sections (`each`).
macro_rules! section {
    (
        $(#[doc = $doc:literal])+
        $name:ident {
            $(
                $(#[doc = $field_doc:literal])+
                $mode:ident $key:literal $field:ident: $type:ty $(= $default:expr)? $(, $rule:expr)?;
            )*
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone)]
        pub(crate) struct $name {
            $(
                $(#[doc = $field_doc])+
                pub(crate) $field: $crate::section::section!(@type $mode $type),
            )*
        }

        impl $crate::section::Section for $name {
            fn read(
                mut entries: $crate::read::Entries<'_, '_>,
                reader: &mut $crate::read::Reader<'_>,
            ) -> Option<Self> {
                $(
                    let $field = $crate::section::section!(
                        @read $mode entries reader $key [$type] [$($default)?] [$($rule)?]
                    );
                )*
                entries.finish(&[$($key),*], reader);
                Some(Self {
                    $($field: $crate::section::section!(@keep $mode $field),)*
                })
            }

            fn shape() -> $crate::shape::SectionShape {
                $crate::shape::SectionShape {
                    doc: $crate::shape::paragraph(&[$($doc),+]),
                    fields: vec![$(
                        $crate::shape::FieldShape {
                            key: $key,
                            doc: $crate::shape::paragraph(&[$($field_doc),+]),
                            shape: $crate::section::section!(@shape $mode [$type] [$($rule)?]),
                            presence: $crate::section::section!(@presence $mode [$($default)?] [$($rule)?]),
                        },
                    )*],
                }
            }
        }
    };

    (@type required $type:ty) => { $crate::read::At<$type> };
    (@type optional $type:ty) => { $crate::read::Given<$type> };
    (@type default $type:ty) => { $crate::read::At<$type> };
    (@type nested $type:ty) => { $crate::read::At<$type> };
    (@type named $type:ty) => { $crate::section::Tables<$crate::section::Named<$type>> };
    (@type each $type:ty) => { $crate::section::Tables<Option<$crate::read::At<$type>>> };

    (@read required $entries:ident $reader:ident $key:literal [$type:ty] [] [$rule:expr]) => {
        $entries.required($key, $rule, $reader)
    };
    (@read optional $entries:ident $reader:ident $key:literal [$type:ty] [] [$rule:expr]) => {
        $entries.optional($key, $rule, $reader)
    };
    (@read default $entries:ident $reader:ident $key:literal [$type:ty] [$default:expr] [$rule:expr]) => {
        $entries.default($key, $rule, $default, $reader)
    };
    (@read nested $entries:ident $reader:ident $key:literal [$type:ty] [] []) => {
        $crate::section::nested::<$type>($key, &mut $entries, $reader)
    };
    (@read named $entries:ident $reader:ident $key:literal [$type:ty] [] []) => {
        $crate::section::named::<$type>($key, &mut $entries, $reader)
    };
    (@read each $entries:ident $reader:ident $key:literal [$type:ty] [] []) => {
        $crate::section::each::<$type>($key, &mut $entries, $reader)
    };

    (@keep required $field:ident) => { $field? };
    (@keep nested $field:ident) => { $field? };
    (@keep $mode:ident $field:ident) => { $field };

    (@shape nested [$type:ty] []) => {
        $crate::shape::Shape::Section(<$type as $crate::section::Section>::shape())
    };
    (@shape named [$type:ty] []) => {
        $crate::shape::Shape::Section(<$type as $crate::section::Section>::shape())
    };
    (@shape each [$type:ty] []) => {
        $crate::shape::Shape::Section(<$type as $crate::section::Section>::shape())
    };
    (@shape $mode:ident [$type:ty] [$rule:expr]) => { $crate::read::Rule::shape(&$rule) };

    (@presence required [] [$rule:expr]) => { $crate::shape::Presence::Required };
    (@presence optional [] [$rule:expr]) => { $crate::shape::Presence::Optional };
    (@presence default [$default:expr] [$rule:expr]) => {
        $crate::shape::Presence::Default($crate::read::Show::show(&$rule, &$default))
    };
    (@presence nested [] []) => { $crate::shape::Presence::Optional };
    (@presence named [] []) => { $crate::shape::Presence::Named };
    (@presence each [] []) => { $crate::shape::Presence::Each };
}

pub(crate) use section;
