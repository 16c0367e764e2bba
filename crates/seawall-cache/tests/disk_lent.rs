//! Content that is sent straight from the disk tier: it is what was written, to the last byte, also
//! when its place has been taken by something else before the client reads it.

use std::fs;
use std::io::Read;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use bytes::Bytes;
use seawall_cache::disk::{Blob, Disk, Landed, Lent};
use seawall_config::plan::CacheDisk;

/// Four segments of 4 MiB.
const SIZE: u64 = 18 << 20;
const LONG: Duration = Duration::from_secs(60);

fn open(path: &Path) -> Disk {
    let plan = CacheDisk { path: path.to_owned(), size: SIZE };
    let disk = Disk::open(&plan, 1 << 10).expect("a directory of its own");
    assert!(disk.recovered(LONG));
    disk
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Content of which every part says where it belongs.
fn content(key: u64, length: usize) -> Vec<u8> {
    let words = (0..=length as u64 / 8).flat_map(|at| (key << 40 | at).to_le_bytes());
    words.take(length).collect()
}

fn write(disk: &Disk, key: u64, length: usize) {
    let blob = Blob { head: Bytes::new(), content: content(key, length).into() };
    assert!(disk.write(&key.to_le_bytes(), blob));
}

/// Writes so much that every segment is used for something else.
fn overwrite_all(disk: &Disk) {
    for number in 0..64 {
        write(disk, 1 << 20 | number, 700_000);
        assert!(disk.flush(LONG));
    }
}

fn lend(disk: &Disk, key: u64) -> Option<Landed> {
    wait(disk.lend(&key.to_le_bytes()))
}

fn lent(disk: &Disk, key: u64) -> Lent {
    match lend(disk, key) {
        Some(Landed::Lent(lent)) => lent,
        other => panic!("{key} is not lent: {other:?}"),
    }
}

/// Both ends of a connection whose buffers hold much.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let from = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    rustix::net::sockopt::set_socket_send_buffer_size(&from, 4 << 20).expect("set");
    (from, listener.accept().expect("accepted").0)
}

/// Hands it to a socket, as much as that takes without waiting.
fn send(lent: &Lent, to: &TcpStream) -> Option<usize> {
    to.set_nonblocking(true).expect("set");
    let mut sent = 0;
    while sent < lent.len() {
        let part = lent.part(sent, 100_000);
        let some =
            part.with(|log, mut at, length| rustix::fs::sendfile(to, log, Some(&mut at), length))?;
        match some {
            Ok(some) => sent += some,
            Err(rustix::io::Errno::AGAIN) => break,
            Err(error) => panic!("{error}"),
        }
    }
    Some(sent)
}

/// All that comes, once nothing more is sent.
fn received(from: TcpStream, mut to: TcpStream) -> Vec<u8> {
    from.shutdown(Shutdown::Write).expect("shut down");
    let mut all = Vec::new();
    to.read_to_end(&mut all).expect("read");
    all
}

#[test]
fn what_is_lent_is_what_was_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = open(directory.path());
    let lengths = [1, 63, 4096, 70_000, 1 << 20];
    for (key, length) in (0..).zip(lengths) {
        write(&disk, key, length);
        // Not on disk yet, or just there.
        assert!(matches!(lend(&disk, key), Some(Landed::Blob(_) | Landed::Lent(_))));
    }
    assert!(disk.flush(LONG));
    for disk in [disk, open_again(directory.path())] {
        for (key, length) in (0..).zip(lengths) {
            let expect = content(key, length);
            // The second time it was checked before.
            for _ in 0..2 {
                let lent = lent(&disk, key);
                assert_eq!(lent.len(), length);
                assert!(lent.is_resident());
                assert_eq!(lent.copy().as_ref(), Some(&expect));
                let part = lent.part(length / 3, length / 2);
                assert_eq!(part.copy().as_deref(), Some(&expect[length / 3..][..part.len()]));
            }
            let blob = wait(disk.read(&key.to_le_bytes())).expect("it is read too");
            assert_eq!(blob.content, expect);
        }
        assert!(lend(&disk, 99).is_none());
        // What has a head cannot be lent without it.
        let blob = Blob { head: Bytes::from("head"), content: content(7, 500).into() };
        assert!(disk.write(&7u64.to_le_bytes(), blob.clone()) && disk.flush(LONG));
        assert!(matches!(lend(&disk, 7), Some(Landed::Blob(read)) if read == blob));
        disk.remove(&7u64.to_le_bytes());
    }
}

/// As soon as the one before is gone.
fn open_again(path: &Path) -> Disk {
    let copy = path.with_extension("copy");
    fs::create_dir(&copy).expect("made");
    for name in ["store", "stamps", "log"] {
        fs::copy(path.join(name), copy.join(name)).expect("copied");
    }
    open(&copy)
}

#[test]
fn what_a_socket_has_stays_what_it_was_when_its_segment_is_written_anew() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = open(directory.path());
    // From the first round on segments are used again that were lent.
    for round in 0..4 {
        let key = 100 + round;
        write(&disk, key, 600_000);
        assert!(disk.flush(LONG));
        let lent = lent(&disk, key);
        let (from, to) = connection();
        let sent = send(&lent, &from).expect("it is there");
        assert!(sent > 60_000, "the socket takes {sent} bytes");
        // It has been read, so it is carried over once; nobody reads it after that.
        overwrite_all(&disk);
        assert!(lend(&disk, key).is_none(), "it is still stored");
        assert_eq!(send(&lent, &from), None, "its place has been taken");
        assert_eq!(lent.copy(), None);
        let expect = content(key, 600_000);
        assert!(received(from, to) == expect[..sent], "the client gets something else");
    }
    assert_eq!((disk.counted().corrupt, disk.counted().errors), (0, 0));
}

#[test]
fn nothing_is_torn_while_segments_are_reclaimed() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = open(directory.path());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|reader| {
                let (disk, done) = (&disk, &done);
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(reader);
                    let (mut whole, mut gone) = (0, 0);
                    while !done.load(SeqCst) || whole == 0 {
                        let key = random.u64(..12);
                        let Some(Landed::Lent(lent)) = lend(disk, key) else { continue };
                        if random.bool() {
                            thread::yield_now();
                        }
                        let (from, to) = connection();
                        let sent = send(&lent, &from);
                        gone += u32::from(sent.is_none());
                        let got = received(from, to);
                        let expect = content(key, 300_000);
                        assert!(expect.starts_with(&got), "{key} is torn after {}", got.len());
                        whole += u32::from(sent == Some(got.len()));
                    }
                    (whole, gone)
                })
            })
            .collect();
        for round in 0..150 {
            for key in 0..12 {
                if !disk.contains(&u64::to_le_bytes(key)) {
                    write(&disk, key, 300_000);
                }
            }
            write(&disk, 1 << 20 | round, 900_000);
            assert!(disk.flush(LONG));
        }
        done.store(true, SeqCst);
        for reader in readers {
            let (whole, _) = reader.join().expect("nothing torn");
            assert!(whole > 0);
        }
    });
    assert!(disk.counted().reclaimed > 50, "{:?}", disk.counted());
    assert_eq!((disk.counted().corrupt, disk.counted().errors), (0, 0));
}

#[test]
fn nothing_is_sent_from_a_directory_that_was_given_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = open(directory.path());
    write(&disk, 1, 300_000);
    assert!(disk.flush(LONG));
    let lent = lent(&disk, 1);
    let (from, to) = connection();
    let sent = send(&lent, &from).expect("it is there");
    drop(disk);
    assert_eq!(lent.copy(), None);
    // What sockets have is theirs, whoever writes there now.
    let disk = open(directory.path());
    overwrite_all(&disk);
    assert!(received(from, to) == content(1, 300_000)[..sent]);
}

#[test]
fn what_is_damaged_is_not_lent() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = open(directory.path());
    write(&disk, 1, 300_000);
    assert!(disk.flush(LONG));
    let log = fs::OpenOptions::new().write(true).open(directory.path().join("log"));
    log.expect("the log").write_all_at(b"x", 200_001).expect("written");
    assert!(lend(&disk, 1).is_none());
    assert_eq!(disk.counted().corrupt, 1);
}

#[test]
fn what_the_kernel_refuses_to_send_is_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = open(directory.path());
    write(&disk, 1, 300_000);
    assert!(disk.flush(LONG));
    lent(&disk, 1).refuse();
    for _ in 0..2 {
        let Some(Landed::Blob(blob)) = lend(&disk, 1) else { panic!("it is not read") };
        assert_eq!(blob.content, content(1, 300_000));
    }
}

#[test]
fn what_is_brought_near_is_lent_and_what_is_not_there_does_no_harm() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = open(directory.path());
    for key in 0..3 {
        write(&disk, key, 300_000);
    }
    assert!(disk.flush(LONG));
    for key in 0..5u64 {
        disk.bring_near(&key.to_le_bytes());
        disk.bring_near(&key.to_le_bytes());
    }
    disk.remove(&2u64.to_le_bytes());
    for key in 0..2 {
        assert_eq!(lent(&disk, key).copy(), Some(content(key, 300_000)));
    }
    assert!(lend(&disk, 2).is_none() && lend(&disk, 3).is_none());
}
