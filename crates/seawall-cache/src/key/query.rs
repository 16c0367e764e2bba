//! The query, as far as it belongs to the key.

use seawall_config::plan::CacheQuery;

/// Parameters that are sorted without memory of their own.
const USUAL: usize = 32;

/// Appends what of `query`, which begins with `?` unless it is empty, belongs to the key. Parameters
/// are left as they were written; only their names are compared decoded, and the order of those with
/// one name stays, since it may mean something. Where parameters are chosen or sorted, empty ones
/// (`&&`) are left out.
#[inline]
pub(super) fn write(query: &[u8], rule: &CacheQuery, sort: bool, out: &mut Vec<u8>) {
    let Some(list) = query.strip_prefix(b"?") else { return };
    if *rule == CacheQuery::All && !sort {
        out.extend_from_slice(query);
        return;
    }
    let kept = list.split(|&b| b == b'&').filter(|one| !one.is_empty() && keeps(rule, one));
    if !sort {
        append(kept, out);
        return;
    }
    let mut few: [&[u8]; USUAL] = [b""; USUAL];
    let mut many = Vec::new();
    let mut count = 0;
    for parameter in kept {
        if count < USUAL {
            few[count] = parameter;
        } else {
            if count == USUAL {
                many.extend_from_slice(&few);
            }
            many.push(parameter);
        }
        count += 1;
    }
    if count <= USUAL {
        // Stable, unlike the sorting of slices that takes no memory.
        for at in 1..count {
            let name = name_of(few[at]);
            let place = few[..at].iter().position(|one| decoded(name_of(one)).gt(decoded(name)));
            few[place.unwrap_or(at)..=at].rotate_right(1);
        }
        append(few[..count].iter().copied(), out);
    } else {
        many.sort_by(|one, other| decoded(name_of(one)).cmp(decoded(name_of(other))));
        append(many.into_iter(), out);
    }
}

fn append<'a>(parameters: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    let mut lead = b'?';
    for parameter in parameters {
        out.push(lead);
        out.extend_from_slice(parameter);
        lead = b'&';
    }
}

/// Whether a parameter counts. What some server may read otherwise than we do counts too: what is
/// left out and listened to all the same is a way to put one's own answer in the place of another.
fn keeps(rule: &CacheQuery, parameter: &[u8]) -> bool {
    let name = name_of(parameter);
    // To some servers that is several parameters.
    let is_list = || parameter.contains(&b';');
    match rule {
        CacheQuery::All => true,
        CacheQuery::Only(names) => {
            let is_chosen = names.iter().any(|pattern| is_like(pattern.as_bytes(), name));
            is_chosen || !names.is_empty() && is_list()
        }
        CacheQuery::Except(names) => {
            is_list() || !names.iter().any(|pattern| fits(pattern.as_bytes(), name))
        }
    }
}

/// Whether some server takes a name for one of `pattern`: there are those to whom case does not
/// matter, and those to whom `user.id`, `user id` and `user_id[]` are `user_id`.
fn is_like(pattern: &[u8], name: &[u8]) -> bool {
    fn folded(text: impl Iterator<Item = u8>) -> impl Iterator<Item = u8> {
        text.skip_while(|byte| *byte == b' ').take_while(|byte| !matches!(byte, b'[' | 0)).map(
            |byte| match byte {
                b'.' | b' ' => b'_',
                byte => byte.to_ascii_lowercase(),
            },
        )
    }
    let mut name = folded(decoded(name));
    match pattern.strip_suffix(b"*") {
        Some(start) => folded(start.iter().copied()).all(|byte| name.next() == Some(byte)),
        None => name.eq(folded(pattern.iter().copied())),
    }
}

/// Whether a name, as it was written, is `pattern` or, if that ends in `*`, begins so.
pub(crate) fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.strip_suffix(b"*") {
        Some(start) => {
            let mut name = decoded(name);
            start.iter().all(|byte| name.next() == Some(*byte))
        }
        None => decoded(name).eq(pattern.iter().copied()),
    }
}

/// The name of a parameter, as it was written.
pub(crate) fn name_of(parameter: &[u8]) -> &[u8] {
    parameter.split(|&b| b == b'=').next().unwrap_or_default()
}

/// The bytes that `text` stands for; what is no proper escape stands for itself.
fn decoded(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (&byte, behind) = rest.split_first()?;
        rest = behind;
        match byte {
            b'+' => Some(b' '),
            b'%' => {
                let hex = |digit: &u8| (*digit as char).to_digit(16);
                let code = match behind {
                    [high, low, ..] => hex(high).zip(hex(low)),
                    _ => None,
                };
                let Some((high, low)) = code else { return Some(byte) };
                rest = &behind[2..];
                Some((high << 4 | low) as u8)
            }
            _ => Some(byte),
        }
    })
}
