//! Where a page of a list begins and which way it goes, in the words of SQL. Pure.

use crate::link::{LinkQuery, Millis, Order};

/// `(created, code)` of the last link that was seen, or of none; on which side of it the others
/// are; and in which direction they are read.
pub(super) fn bounds(query: &LinkQuery) -> (Millis, &str, char, &'static str) {
    let (side, way, begin) = match query.order {
        Order::Newest => ('<', "DESC", Millis::MAX),
        Order::Oldest => ('>', "ASC", Millis::MIN),
    };
    let (created, code) =
        query.after.as_ref().map_or((begin, ""), |(created, code)| (*created, code.as_str()));
    (created, code, side, way)
}
