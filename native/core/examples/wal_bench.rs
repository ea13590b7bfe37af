//! Measures append → durable as the caller's thread sees it: one append of one 4 KiB batch at a time.
//!
//! `wal_bench <dir> [seconds=5] [spin-us=0] [entry-bytes=3900] [outstanding=1]`
//!
//! In turns of 200 ms with it, the same thread writes and syncs 4 KiB blocks of a zero-filled file by itself:
//! the floor, what `fio --ioengine=sync --direct=1 --fdatasync=1 --bs=4k --rw=write` does on such a file,
//! measured under the same load of the machine. Prints one JSON line.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use etcd_core::wal::{
    Access, AlignedBuffer, Disk, DiskFile, Options, OsDisk, STATS_NUMBERS, Wal, put_entries,
};

const TURN: Duration = Duration::from_millis(200);
const FLOOR_FILE_BYTES: u64 = 64 << 20;
const BLOCK_BYTES: usize = 4096;

/// Wakes the caller, as the addon wakes JavaScript.
#[derive(Default)]
struct Waker {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Waker {
    fn wake(&self) {
        *self.woken.lock().expect("lock") = true;
        self.changed.notify_one();
    }

    fn wait(&self) {
        let mut woken = self.woken.lock().expect("lock");
        while !std::mem::take(&mut *woken) {
            woken = self.changed.wait(woken).expect("lock");
        }
    }
}

struct Settings {
    seconds: u64,
    spin_us: u64,
    entry_bytes: usize,
    outstanding: usize,
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |i: usize, default: u64| {
        args.get(i)
            .map_or(default, |text| text.parse().expect("a number"))
    };
    let settings = Settings {
        seconds: number(2, 5),
        spin_us: number(3, 0),
        entry_bytes: number(4, 3900) as usize,
        outstanding: number(5, 1) as usize,
    };
    let dir = Path::new(args.get(1).expect("usage: wal_bench <dir> ...")).join("wal-bench");
    let _ = std::fs::remove_dir_all(&dir);
    let waker = Arc::new(Waker::default());
    let notify = waker.clone();
    let options = Options {
        spin: Duration::from_micros(settings.spin_us),
        ..Options::new(&dir)
    };
    let (wal, recovered) = Wal::create(
        Arc::new(OsDisk),
        options,
        b"bench",
        Box::new(move || notify.wake()),
    )
    .expect("log");
    let mut load = Load {
        wal: &wal,
        waker: &waker,
        settings: &settings,
        token: 0,
        latencies: Vec::new(),
    };
    let mut floor = Floor::new(&dir);
    // The first spare is made meanwhile.
    std::thread::sleep(Duration::from_millis(300));
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(settings.seconds) {
        floor.turn();
        load.turn();
    }
    let mut stats = [0.0; STATS_NUMBERS];
    wal.stats().read(&mut stats);
    let latencies = load.latencies;
    wal.close();
    report(
        latencies,
        floor.latencies,
        &settings,
        recovered.direct,
        &stats,
    );
    std::fs::remove_dir_all(&dir).expect("remove");
}

/// Writes and syncs without a log.
struct Floor {
    file: Box<dyn DiskFile>,
    block: AlignedBuffer,
    offset: u64,
    latencies: Vec<u64>,
}

impl Floor {
    fn new(dir: &Path) -> Self {
        let path = dir.join("floor");
        let mut zeros = AlignedBuffer::new(1 << 20);
        zeros.set_len(1 << 20);
        let file = OsDisk.create(&path, Access::Buffered).expect("file");
        for at in (0..FLOOR_FILE_BYTES).step_by(1 << 20) {
            file.write_at(zeros.as_ref(), at).expect("write");
        }
        file.sync_data().expect("sync");
        let file = OsDisk
            .open(&path, Access::Direct)
            .or_else(|_| OsDisk.open(&path, Access::Buffered))
            .expect("file");
        let mut block = AlignedBuffer::new(BLOCK_BYTES);
        block.extend(&[7; BLOCK_BYTES]);
        Self {
            file,
            block,
            offset: 0,
            latencies: Vec::new(),
        }
    }

    fn turn(&mut self) {
        let begin = Instant::now();
        while begin.elapsed() < TURN {
            let start = Instant::now();
            self.file
                .write_at(self.block.as_ref(), self.offset)
                .expect("write");
            self.file.sync_data().expect("sync");
            self.latencies.push(start.elapsed().as_nanos() as u64);
            self.offset = (self.offset + BLOCK_BYTES as u64) % FLOOR_FILE_BYTES;
        }
    }
}

/// Appends, with so many outstanding.
struct Load<'a> {
    wal: &'a Wal,
    waker: &'a Waker,
    settings: &'a Settings,
    token: u64,
    latencies: Vec<u64>,
}

impl Load<'_> {
    fn turn(&mut self) {
        let data = vec![7; self.settings.entry_bytes];
        let (mut started, mut records) = (VecDeque::new(), Vec::new());
        let begin = Instant::now();
        loop {
            let more = begin.elapsed() < TURN;
            while more && started.len() < self.settings.outstanding {
                self.token += 1;
                records.clear();
                put_entries(
                    &mut records,
                    1,
                    self.token,
                    &[data.len() as u32],
                    &[0],
                    &data,
                );
                started.push_back((self.token, Instant::now()));
                self.wal.append(&records, self.token);
            }
            if started.is_empty() {
                return;
            }
            self.waker.wait();
            let durable = self.wal.poll().durable;
            assert!(self.wal.failure().is_none(), "{:?}", self.wal.failure());
            while started.front().is_some_and(|&(token, _)| token <= durable) {
                let (_, start) = started.pop_front().expect("checked");
                self.latencies.push(start.elapsed().as_nanos() as u64);
            }
        }
    }
}

fn report(latencies: Vec<u64>, floor: Vec<u64>, settings: &Settings, direct: bool, stats: &[f64]) {
    let appends = latencies.len();
    let (log, floor) = (Percentiles::of(latencies), Percentiles::of(floor));
    println!(
        "{{\"bench\":\"wal\",\"direct\":{direct},\"entryBytes\":{},\"outstanding\":{},\"spinUs\":{},\"appends\":{appends},\
         \"bytes\":{},\"log\":{},\"floor\":{},\"p50Ratio\":{:.3},\"p99Ratio\":{:.3}}}",
        settings.entry_bytes,
        settings.outstanding,
        settings.spin_us,
        stats[STATS_NUMBERS - 1],
        log.json(),
        floor.json(),
        log.p50 / floor.p50,
        log.p99 / floor.p99,
    );
}

/// In microseconds.
struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    mean: f64,
}

impl Percentiles {
    fn of(mut nanoseconds: Vec<u64>) -> Self {
        nanoseconds.sort_unstable();
        let at = |share: f64| {
            nanoseconds[((nanoseconds.len() - 1) as f64 * share) as usize] as f64 / 1000.0
        };
        let mean = nanoseconds.iter().sum::<u64>() as f64 / nanoseconds.len() as f64 / 1000.0;
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            mean,
        }
    }

    fn json(&self) -> String {
        let Self {
            p50,
            p90,
            p99,
            p999,
            mean,
        } = self;
        format!(
            "{{\"p50Us\":{p50:.1},\"p90Us\":{p90:.1},\"p99Us\":{p99:.1},\"p999Us\":{p999:.1},\"meanUs\":{mean:.1}}}"
        )
    }
}
