//! CPU time of a process and of its threads, from /proc.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// What one thread has used.
pub struct ThreadCpu {
    pub id: u32,
    pub name: String,
    pub cpu_ns: u64,
}

/// A process's use of CPU at one moment.
#[derive(Default)]
pub struct Sample {
    /// utime + stime of the whole process, of threads that have ended too.
    pub cpu_ticks: u64,
    pub threads: Vec<ThreadCpu>,
}

/// Clock ticks a second: fixed on all of Linux's present platforms.
pub const TICKS_PER_SECOND: f64 = 100.0;

/// Samples the process; pid 0 gives nothing.
pub fn sample(pid: u32) -> Sample {
    if pid == 0 {
        return Sample::default();
    }
    Sample {
        cpu_ticks: cpu_ticks(&pid.to_string()),
        threads: threads(pid),
    }
}

/// utime + stime of "self" or of a process ID.
pub fn cpu_ticks(process: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name in parentheses may hold anything.
    let fields = text.rsplit(')').next().unwrap_or_default();
    let ticks = |i: usize| {
        fields
            .split_whitespace()
            .nth(i)
            .and_then(|t| t.parse().ok())
            .unwrap_or(0)
    };
    ticks(11) + ticks(12)
}

fn threads(pid: u32) -> Vec<ThreadCpu> {
    let Ok(folder) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let ids = folder
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter_map(|id| thread(pid, id)).collect()
}

fn thread(pid: u32, id: u32) -> Option<ThreadCpu> {
    let folder = format!("/proc/{pid}/task/{id}");
    let name = fs::read_to_string(format!("{folder}/comm")).ok()?;
    let cpu = fs::read_to_string(format!("{folder}/schedstat")).ok()?;
    let name = name.trim().replace(['"', '\\'], "");
    Some(ThreadCpu {
        id,
        name,
        cpu_ns: cpu.split_whitespace().next()?.parse().ok()?,
    })
}

/// What each thread used between two samples.
pub fn between(before: &Sample, after: Sample) -> Vec<ThreadCpu> {
    let used = |thread: ThreadCpu| {
        let start = before.threads.iter().find(|other| other.id == thread.id);
        let cpu_ns = thread.cpu_ns - start.map_or(0, |start| start.cpu_ns);
        ThreadCpu { cpu_ns, ..thread }
    };
    after.threads.into_iter().map(used).collect()
}

/// Now, in µs since the epoch: what programs of one run have in common.
pub fn epoch_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a clock behind 1970").as_micros() as u64
}
