//! Files that are looked at over and over: whether one holds something else than before, whichever
//! way it was changed.
//!
//! Never says what a file means. A file is read whole, since neither its times nor its size say
//! surely that it is the same; elsewhere than on the control thread, since a file system may hang.
//! Called by [`crate::run`].

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// How often files are looked at.
const EVERY: Duration = Duration::from_millis(250);

/// What is in a file, or why that is not known.
pub(crate) type Content = Result<Vec<u8>, String>;

/// A file that is to be watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watched {
    pub(crate) path: PathBuf,
    /// Bytes beyond this are not read.
    pub(crate) most: usize,
    /// What is known to be in it.
    pub(crate) content: Content,
}

/// A file that holds something else than before.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) path: PathBuf,
    pub(crate) content: Content,
    /// It held the same when it was looked at again. Who writes a file in place may have got no
    /// further than half of it, so nothing should be said against one that is not settled.
    pub(crate) settled: bool,
}

/// Looks at files until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    files: watch::Sender<Vec<Watched>>,
    changes: mpsc::Receiver<Change>,
    task: AbortHandle,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    /// Watches nothing yet.
    pub(crate) fn start() -> Watch {
        let (files, wanted) = watch::channel(Vec::new());
        let (told, changes) = mpsc::channel(16);
        let task = tokio::spawn(look(wanted, told)).abort_handle();
        Watch { files, changes, task }
    }

    /// Watches these files from now on, and no others.
    pub(crate) fn follow(&self, files: Vec<Watched>) {
        self.files.send_replace(files);
    }

    /// The next change: once when it is seen, and once more when it has settled. Can be dropped
    /// without losing one.
    pub(crate) async fn change(&mut self) -> Change {
        match self.changes.recv().await {
            Some(change) => change,
            // The task lives as long as `self` does.
            None => std::future::pending().await,
        }
    }
}

/// What was seen of a file.
struct Seen {
    most: usize,
    content: Content,
    settled: bool,
}

async fn look(mut wanted: watch::Receiver<Vec<Watched>>, told: mpsc::Sender<Change>) {
    let mut seen: HashMap<PathBuf, Seen> = HashMap::new();
    loop {
        if wanted.has_changed().unwrap_or(false) {
            let known = |file: &Watched| {
                let content = file.content.clone();
                (file.path.clone(), Seen { most: file.most, content, settled: true })
            };
            seen = wanted.borrow_and_update().iter().map(known).collect();
        }
        if seen.is_empty() {
            if wanted.changed().await.is_err() {
                return;
            }
            wanted.mark_changed();
            continue;
        }
        for (path, before) in &mut seen {
            let (file, most) = (path.clone(), before.most);
            let reading = tokio::task::spawn_blocking(move || content(&file, most));
            let Ok(now) = reading.await else { continue };
            let same = now == before.content;
            if same && before.settled {
                continue;
            }
            *before = Seen { most, content: now.clone(), settled: same };
            let change = Change { path: path.clone(), content: now, settled: same };
            if told.send(change).await.is_err() {
                return;
            }
        }
        sleep(EVERY).await;
    }
}

/// What is in a file: at most `most` bytes of it and one more, from which one sees that there are
/// more.
pub(crate) fn content(path: &Path, most: usize) -> Content {
    crate::source::read(path, most.saturating_add(1)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_way_of_changing_a_file_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        std::fs::write(&path, "one").expect("to write");
        let mut watch = Watch::start();
        let content = content(&path, 100);
        watch.follow(vec![Watched { path: path.clone(), most: 100, content }]);
        let mut next = async |expect: Content| {
            for settled in [false, true] {
                let change = watch.change().await;
                assert_eq!((&change.path, &change.content), (&path, &expect));
                assert_eq!(change.settled, settled);
            }
        };
        // In place, with the same length.
        std::fs::write(&path, "two").expect("to write");
        next(Ok(b"two".to_vec())).await;
        std::fs::remove_file(&path).expect("to remove");
        next(Err("there is no such file".to_owned())).await;
        std::fs::write(folder.path().join("g"), "three").expect("to write");
        std::fs::rename(folder.path().join("g"), &path).expect("to rename");
        next(Ok(b"three".to_vec())).await;
        std::fs::remove_file(&path).expect("to remove");
        std::fs::create_dir(&path).expect("a folder");
        next(Err("it is not a file".to_owned())).await;
    }

    #[tokio::test]
    async fn what_is_known_already_is_not_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, content: &str| Watched {
            path: folder.path().join(name),
            most: 100,
            content: Ok(content.as_bytes().to_vec()),
        };
        for name in ["a", "b"] {
            std::fs::write(folder.path().join(name), "same").expect("to write");
        }
        let mut watch = Watch::start();
        watch.follow(vec![file("a", "same")]);
        // Another file, of which something else is known than it holds.
        watch.follow(vec![file("a", "same"), file("b", "other")]);
        let change = watch.change().await;
        assert_eq!((change.path, change.content), (folder.path().join("b"), Ok(b"same".to_vec())));
    }
}
