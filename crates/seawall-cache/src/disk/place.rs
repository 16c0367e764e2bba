//! Where a node stood among the purges of its fleet: a few bytes beside the log, by which the next
//! process knows what it has to catch up on before what is stored may be served.
//!
//! Blocks; never called by a worker.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Bytes of a place; what they mean is the caller's.
pub const PLACE: usize = 32;

/// What is kept in the directory of a disk tier; `None` if there is nothing that can be used.
pub fn read_place(directory: &Path) -> Option<[u8; PLACE]> {
    std::fs::read(directory.join(NAME)).ok()?.try_into().ok()
}

/// Keeps a place, whole or not at all. The purges up to it must have been kept before.
///
/// # Errors
/// When it cannot be written.
pub fn write_place(directory: &Path, place: &[u8; PLACE]) -> io::Result<()> {
    let (name, new) = (directory.join(NAME), directory.join(NAME).with_extension("new"));
    let mut file = File::create(&new)?;
    file.write_all(place)?;
    // Renamed before it is written, it would be there and empty after a power failure.
    file.sync_data()?;
    std::fs::rename(&new, &name)
}

const NAME: &str = "fleet";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_kept_whole_or_not_at_all() {
        let home = tempfile::tempdir().expect("a directory");
        assert_eq!(read_place(home.path()), None);
        for place in [[1; PLACE], [2; PLACE]] {
            write_place(home.path(), &place).expect("to write");
            assert_eq!(read_place(home.path()), Some(place));
        }
        std::fs::write(home.path().join(NAME), [1; PLACE - 1]).expect("to write");
        assert_eq!(read_place(home.path()), None);
        write_place(&home.path().join("missing"), &[1; PLACE]).expect_err("no such directory");
    }
}
