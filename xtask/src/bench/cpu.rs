//! CPU time and memory of a process with its threads and children, from `/proc` (Linux).

use std::fs;
use std::time::Duration;

use anyhow::{Context, bail};

/// CPU time used so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cpu {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

impl Cpu {
    /// What was used since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }

    /// Both parts together.
    pub(crate) fn total(self) -> Duration {
        self.user + self.system
    }
}

/// CPU time of a process with all its threads and all living descendants.
pub(crate) fn of_tree(root: u32) -> anyhow::Result<Cpu> {
    let mut sum = Cpu::default();
    for pid in tree(root)? {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
            .with_context(|| format!("process {pid} of the proxy is gone"))?;
        let one = parse_stat(&stat).with_context(|| format!("cannot read {stat:?}"))?;
        sum.user += one.cpu.user;
        sum.system += one.cpu.system;
    }
    Ok(sum)
}

/// CPU time of a process with all its threads, without its children.
pub(crate) fn of_process(pid: u32) -> anyhow::Result<Cpu> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_stat(&stat).map(|stat| stat.cpu).with_context(|| format!("cannot read {stat:?}"))
}

/// CPU time of several processes with all their threads, living descendants, and children that have
/// ended.
pub(crate) fn of_trees(roots: &[u32]) -> anyhow::Result<Cpu> {
    let mut sum = Cpu::default();
    for root in roots {
        let one = of_tree(*root)?;
        sum.user += one.user;
        sum.system += one.system + of_ended_children_of(&format!("/proc/{root}/stat"))?;
    }
    Ok(sum)
}

/// CPU time that all processes of the machine used so far, interrupts included.
pub(crate) fn of_machine() -> anyhow::Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    parse_machine(&stat).context("cannot read /proc/stat")
}

/// CPU time of the kernel's own threads, which write to disks what programs have written to files.
/// Nothing where they cannot be seen, as in a container.
pub(crate) fn of_kernel_threads() -> anyhow::Result<Duration> {
    /// `kthreadd`, the parent of all of them.
    const ROOT: u32 = 2;
    let is_root = fs::read_to_string(format!("/proc/{ROOT}/comm"))
        .is_ok_and(|name| name.trim_end() == "kthreadd");
    if !is_root {
        return Ok(Duration::ZERO);
    }
    // They come and go.
    let stats = tree(ROOT)?.into_iter().map(|pid| fs::read_to_string(format!("/proc/{pid}/stat")));
    Ok(stats.flatten().filter_map(|stat| parse_stat(&stat)).map(|stat| stat.cpu.total()).sum())
}

/// CPU time of this process alone.
pub(crate) fn of_this() -> anyhow::Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let stat = parse_stat(&stat).with_context(|| format!("cannot read {stat:?}"))?;
    Ok(stat.cpu.total())
}

/// CPU time of the children of this process that have ended.
pub(crate) fn of_ended_children() -> anyhow::Result<Duration> {
    of_ended_children_of("/proc/self/stat")
}

fn of_ended_children_of(file: &str) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(file)?;
    parse_ended_children(&stat).with_context(|| format!("cannot read {stat:?}"))
}

/// See proc(5): user, nice, system, idle, iowait, irq, softirq, steal.
fn parse_machine(stat: &str) -> Option<Duration> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let fields: Vec<u64> = fields.take(8).map(|field| field.parse().ok()).collect::<Option<_>>()?;
    let [user, nice, system, _, _, irq, softirq, steal] = fields.try_into().ok()?;
    Some(ticks(user + nice + system + irq + softirq + steal))
}

/// `cutime` and `cstime` are the 14th and 15th after the name.
fn parse_ended_children(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(13).map(str::parse::<u64>);
    Some(ticks(fields.next()?.ok()? + fields.next()?.ok()?))
}

/// CPU time of each thread of one process, by thread id.
pub(crate) fn of_threads(pid: u32) -> anyhow::Result<Vec<(u32, Duration)>> {
    let mut threads = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = entry?.path();
        let Some(Ok(id)) = path.file_name().and_then(|name| name.to_str()).map(str::parse) else {
            continue;
        };
        // A thread may end between the listing and the reading.
        let stat = fs::read_to_string(path.join("stat")).ok();
        if let Some(stat) = stat.as_deref().and_then(parse_stat) {
            threads.push((id, stat.cpu.total()));
        }
    }
    Ok(threads)
}

/// Resident memory of a process and all living descendants, in bytes.
pub(crate) fn resident_of_tree(root: u32) -> anyhow::Result<u64> {
    sum_of_tree(root, "status", "VmRSS:")
}

/// The same, but what processes share is divided among them.
pub(crate) fn proportional_of_tree(root: u32) -> anyhow::Result<u64> {
    sum_of_tree(root, "smaps_rollup", "Pss:")
}

/// The most resident memory that a process and each of its living descendants ever had, in bytes.
pub(crate) fn peak_of_tree(root: u32) -> anyhow::Result<u64> {
    sum_of_tree(root, "status", "VmHWM:")
}

fn sum_of_tree(root: u32, file: &str, name: &str) -> anyhow::Result<u64> {
    let mut sum = 0;
    for pid in tree(root)? {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}"))?;
        sum += parse_size(&text, name).with_context(|| format!("no {name} of process {pid}"))?;
    }
    Ok(sum)
}

fn tree(root: u32) -> anyhow::Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(Ok(pid)) = name.to_str().map(str::parse::<u32>) else {
            continue;
        };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok();
        if let Some(stat) = stat.as_deref().and_then(parse_stat) {
            parents.push((pid, stat.parent));
        }
    }
    if !parents.iter().any(|(pid, _)| *pid == root) {
        bail!("process {root} of the proxy is gone");
    }
    let mut found = vec![root];
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    Ok(found)
}

struct Stat {
    parent: u32,
    cpu: Cpu,
}

/// See proc(5): after the name in parentheses, which may itself hold some, come state, parent, …;
/// `utime` and `stime` are the 12th and 13th.
fn parse_stat(stat: &str) -> Option<Stat> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let parent = fields.nth(1)?.parse().ok()?;
    let user = fields.nth(9)?.parse().ok()?;
    let system = fields.next()?.parse().ok()?;
    Some(Stat { parent, cpu: Cpu { user: ticks(user), system: ticks(system) } })
}

fn ticks(count: u64) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_micros(count * 1_000_000 / per_second)
}

fn parse_size(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_lines_with_odd_names_are_read() {
        let line = "7 (a) b (c)) S 3 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 1 1 1";
        let stat = parse_stat(line).expect("a good line");
        assert_eq!(stat.parent, 3);
        assert_eq!(stat.cpu.user, ticks(250));
        assert_eq!(stat.cpu.system, ticks(50));
        assert!(parse_stat("7 (a").is_none());
    }

    #[test]
    fn time_of_the_machine_and_of_children_is_read() {
        let stat = "cpu  1 2 3 1000 1000 4 5 6 7 7\ncpu0 1 2 3 4 5 6 7 8 9 9\n";
        assert_eq!(parse_machine(stat), Some(ticks(21)));
        assert_eq!(parse_machine("cpu  1 2\n"), None);
        let line = "7 (a) b) S 3 7 7 0 -1 4194560 1 0 0 0 250 50 30 4 20 0 1 0 1 1 1";
        assert_eq!(parse_ended_children(line), Some(ticks(34)));
        assert!(of_machine().expect("a time") > of_ended_children().expect("a time"));
    }

    #[test]
    fn this_process_has_memory_and_a_child() {
        let child = std::process::Command::new("sleep").arg("60").spawn();
        let mut child = child.expect("sleep");
        let pids = tree(std::process::id()).expect("a tree");
        let found = pids.contains(&child.id());
        child.kill().expect("to kill it");
        child.wait().expect("to wait for it");
        assert!(found, "{pids:?}");
        assert!(resident_of_tree(std::process::id()).expect("memory") > 100_000);
        assert!(proportional_of_tree(std::process::id()).expect("memory") > 100_000);
        assert_eq!(parse_size("VmPeak:\t 9 kB\nVmRSS:\t    12 kB\n", "VmRSS:"), Some(12288));
    }

    #[test]
    fn time_that_was_used_is_seen() {
        let this = std::process::id();
        let start = of_tree(this).expect("a time");
        // Looking uses time itself, so that both must come to see some.
        // A thread or a child that ends just now makes a look fail, so look again.
        while !of_tree(this).is_ok_and(|now| !now.since(start).total().is_zero()) {}
        let some = |threads: Vec<(u32, Duration)>| threads.iter().any(|(_, time)| !time.is_zero());
        while !of_threads(this).is_ok_and(some) {}
    }
}
