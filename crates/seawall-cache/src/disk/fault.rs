//! Why the disk tier cannot be used: what failed, where, and how to mend it.
//!
//! Never decides what becomes of it; that is for [`super::Disk`] and for whoever opens it.

use std::io;
use std::path::{Path, PathBuf};

/// Why a directory cannot be used as the disk tier.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskFault {
    /// The size is below what the tier can work with.
    #[error(
        "cache.disk.size is {size} bytes, but the disk tier needs {least}: raise it, or remove \
         cache.disk"
    )]
    TooSmall {
        /// The size, in bytes, as configured.
        size: u64,
        /// The least that works, in bytes.
        least: u64,
    },
    /// Another process holds the directory.
    #[error(
        "{path} is in use as the disk cache of another process: give each process a directory of \
         its own in cache.disk.path"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The directory was removed or replaced while it was in use.
    #[error("{path} was removed or replaced while it was in use: it will be made anew")]
    Gone {
        /// The directory.
        path: PathBuf,
    },
    /// A purge could not be kept there, so that nothing there can be used any more.
    #[error("{path} is made anew, since a purge could not be written there")]
    Unstamped {
        /// The directory.
        path: PathBuf,
    },
    /// The operating system refused an operation.
    #[error("cannot {action} {path}: {source}; {}", advice(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl DiskFault {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DiskFault {
        let path = path.to_owned();
        move |source| DiskFault::Io { action, path, source }
    }
}

/// What to do about an error of the operating system.
pub(super) fn advice(error: &io::Error) -> &'static str {
    use io::ErrorKind::*;
    match error.kind() {
        PermissionDenied => "let the user that Seawall runs as write there",
        ReadOnlyFilesystem => "mount the file system for writing",
        StorageFull | QuotaExceeded | FileTooLarge => {
            "make room on the disk, or make cache.disk.size smaller"
        }
        NotADirectory | AlreadyExists => "name a directory in cache.disk.path",
        NotFound => "see that the directory exists and is mounted",
        _ => "see the kernel's log: the disk may be failing",
    }
}
