//! A large file from the disk tier: CPU time for its bytes, and the most memory it ever took.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Context, ensure};
use seawall_testkit::{PATIENCE, RawClient};

use super::origin::{HUGE, HUGE_PATH, Origin};
use super::proxies::{Proxy, Room};
use crate::bench::balance::stay_on;
use crate::bench::cpu;
use crate::bench::options::Setting;
use crate::bench::peers::Server;

/// Far less memory than the file is large.
pub(super) const ROOM: Room = Room { memory: 64, disk: 4096 };

/// How often a round reads it: once takes less than half a second, and time is counted in
/// hundredths.
pub(super) const READS: u32 = 4;

/// Those that have a disk tier.
pub(super) const PROXIES: [Proxy; 2] = [Proxy::Seawall, Proxy::Nginx];

/// One of them, and its rounds.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    pub(super) proxy: Proxy,
    /// Bytes for each second of CPU time.
    pub(super) per_cpu: Vec<f64>,
    /// Bytes for each second.
    pub(super) rate: Vec<f64>,
    /// The most resident bytes, storing the file included.
    pub(super) peak: u64,
}

/// Measures them in turns.
pub(super) fn case(setting: &Setting, proxies: &BTreeSet<Proxy>) -> anyhow::Result<Vec<Disk>> {
    let origin = Origin::start(&setting.load_cores)?;
    let mut running = Vec::new();
    for proxy in PROXIES.into_iter().filter(|proxy| proxies.contains(proxy)) {
        let server = proxy.start(setting, &origin, ROOM, 1)?;
        store(&server, &origin).with_context(|| format!("{} does not store it", proxy.name()))?;
        running.push((server, Disk { proxy, per_cpu: Vec::new(), rate: Vec::new(), peak: 0 }));
    }
    let before = origin.asked()?;
    for round in 0..setting.rounds {
        for (server, disk) in &mut running {
            let idle = cpu::of_tree(server.id())?;
            let start = Instant::now();
            for _ in 0..READS {
                read(setting, server.address)?;
            }
            let seconds = start.elapsed().as_secs_f64();
            let used = cpu::of_tree(server.id())?.since(idle).total().as_secs_f64();
            eprintln!(
                "  round {} {:<8} {used:.2} s of CPU time in {seconds:.2} s",
                round + 1,
                disk.proxy.name()
            );
            disk.per_cpu.push(f64::from(READS) * HUGE as f64 / used);
            disk.rate.push(f64::from(READS) * HUGE as f64 / seconds);
            disk.peak = cpu::peak_of_tree(server.id())?;
        }
        running.reverse();
    }
    ensure!(origin.asked()? == before, "the origin was asked in between");
    let mut results: Vec<Disk> = running.into_iter().map(|(_, disk)| disk).collect();
    results.sort_by_key(|disk| disk.proxy);
    Ok(results)
}

/// Has the file fetched, and waits until it comes from the cache.
fn store(server: &Server, origin: &Origin) -> anyhow::Result<()> {
    let mut client = RawClient::connect(server.address)?;
    client.send(request())?;
    let head = client.read_head()?;
    ensure!(head.status == 200, "status {}", head.status);
    ensure!(client.count_body(&head)? == HUGE, "not all of it came");
    super::wait_for_hit(origin, || {
        client.send(request().replace("GET", "HEAD"))?;
        let status = client.read_response_to("HEAD")?.status;
        ensure!(status == 200, "status {status} for its head");
        Ok(())
    })
}

fn request() -> String {
    format!("GET {HUGE_PATH} HTTP/1.1\r\nhost: bench\r\n\r\n")
}

/// Reads the whole file, with as little work as possible, on the core of the load.
fn read(setting: &Setting, server: SocketAddr) -> anyhow::Result<()> {
    let core = setting.load_cores.parse().context("the load has one core")?;
    let reader = std::thread::spawn(move || -> anyhow::Result<()> {
        stay_on(core)?;
        let mut stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request().as_bytes())?;
        let mut buffer = vec![0; 256 << 10];
        let mut count = 0;
        // The head is the little that is more; the last bytes are known by their number.
        while count < HUGE {
            let some = stream.read(&mut buffer)?;
            ensure!(some > 0, "the file ends after {count} bytes");
            count += some as u64;
        }
        Ok(())
    });
    reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?
}
