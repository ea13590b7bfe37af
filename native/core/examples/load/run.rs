//! The loop: keeps requests in flight (closed loop) or sends them when they are due (open loop), and notes
//! what comes back within the measured time.

use crate::connection::{Connection, End};
use crate::process::{self, Sample, TICKS_PER_SECOND, ThreadCpu};
use crate::request::{Call, Requests};
use mio::{Events, Interest, Poll, Token, Waker};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long requests still in flight may take after the measured time.
const DRAIN: Duration = Duration::from_secs(10);
/// The loop looks at the clock at least so often.
const POLL: Duration = Duration::from_millis(5);
/// Requests in flight on one connection in the open loop; further ones wait, their time runs.
const OPEN_STREAMS_MAX: usize = 500;
const GRPC_OK: u8 = 0;
/// Between two looks for a file.
const LOOK: Duration = Duration::from_millis(5);

/// See main.rs.
pub struct Settings {
    pub address: SocketAddr,
    pub call: Call,
    pub connections: usize,
    pub streams: usize,
    pub warmup: Duration,
    pub measure: Duration,
    pub rate: u64,
    pub keys: u64,
    pub value_bytes: usize,
    pub seed: u64,
    pub pid: u32,
    /// Ends after so many requests, and measures from the first to the last; 0: no such end.
    pub total: u64,
    /// The measured time ends when this file is gone, if not before.
    pub while_file: Option<PathBuf>,
}

/// What has come of it.
pub struct Outcome {
    /// The measured time.
    pub seconds: f64,
    /// Succeeded within the measured time.
    pub completed: u64,
    /// Succeeded at all, warm-up and end included.
    pub succeeded_total: u64,
    /// By code: a gRPC status, or one of connection.rs.
    pub failed: BTreeMap<u8, u64>,
    /// Not answered at the end.
    pub unfinished: u64,
    /// Of the successes of the measured time, in 100 ns. In the open loop: of the requests due in that time.
    pub latencies: Vec<u32>,
    /// With `total`: when the request with number n in its key or lease was answered, in µs since the epoch.
    pub answered: Vec<u64>,
    pub server_cpu_seconds: f64,
    pub own_cpu_seconds: f64,
    pub threads: Vec<ThreadCpu>,
}

/// The measured time, in ns since the begin of the run.
struct Window {
    begin: u64,
    end: u64,
    before: Sample,
    own_before: u64,
    after: Sample,
    own_after: u64,
}

struct Run<'a> {
    settings: &'a Settings,
    requests: Requests,
    connections: Vec<Connection>,
    origin: Instant,
    random: u64,
    /// Requests begun so far.
    sent: u64,
    ended: Vec<End>,
    window: Window,
    /// When to look for `while_file` again.
    next_look: u64,
    stopped: bool,
    completed: u64,
    succeeded_total: u64,
    failed: BTreeMap<u8, u64>,
    latencies: Vec<u32>,
    answered: Vec<u64>,
}

/// Runs once.
pub fn run(settings: &Settings) -> Outcome {
    let mut poll = Poll::new().expect("poll");
    let mut run = Run::new(settings);
    for (at, connection) in run.connections.iter_mut().enumerate() {
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry()
            .register(&mut connection.wire.stream, Token(at), interest)
            .expect("register");
    }
    let pacer_token = Token(run.connections.len());
    let pacer = (settings.rate > 0).then(|| {
        let waker = Waker::new(poll.registry(), pacer_token).expect("waker");
        Pacer::start(waker, run.origin, settings.rate)
    });
    let mut events = Events::with_capacity(1024);
    run.begin();
    while !run.is_done() {
        if let Err(error) = poll.poll(&mut events, Some(POLL)) {
            assert!(
                error.kind() == std::io::ErrorKind::Interrupted,
                "poll: {error}"
            );
            continue;
        }
        for event in &events {
            if event.token() != pacer_token {
                run.ready(event.token().0, event.is_readable());
            }
        }
        run.turn();
    }
    drop(pacer);
    run.outcome()
}

impl<'a> Run<'a> {
    fn new(settings: &'a Settings) -> Run<'a> {
        let empty = Sample::default;
        let window = Window {
            begin: u64::MAX,
            end: u64::MAX,
            before: empty(),
            own_before: 0,
            after: empty(),
            own_after: 0,
        };
        Run {
            settings,
            requests: Requests::new(
                settings.call,
                &settings.address.to_string(),
                settings.value_bytes,
            ),
            connections: (0..settings.connections)
                .map(|_| Connection::open(settings.address))
                .collect(),
            origin: Instant::now(),
            random: settings.seed,
            sent: 0,
            ended: Vec::new(),
            window,
            next_look: 0,
            stopped: false,
            completed: 0,
            succeeded_total: 0,
            failed: BTreeMap::new(),
            latencies: Vec::with_capacity(1 << 20),
            answered: vec![0; settings.total as usize],
        }
    }

    fn now(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    fn begin(&mut self) {
        for at in 0..self.connections.len() {
            self.fill(at);
        }
    }

    /// A connection can be read, written, or both.
    fn ready(&mut self, at: usize, readable: bool) {
        if readable {
            self.connections[at].receive(&mut self.ended);
            self.note_ended();
        }
        self.fill(at);
    }

    fn note_ended(&mut self) {
        let now = self.now();
        let mut ended = std::mem::take(&mut self.ended);
        for End { begin, key, code } in ended.drain(..) {
            if code == GRPC_OK {
                self.succeeded(begin, now);
                if let Some(answered) = self.answered.get_mut(key as usize) {
                    *answered = process::epoch_us();
                }
            } else {
                *self.failed.entry(code).or_default() += 1;
            }
        }
        self.ended = ended;
    }

    fn succeeded(&mut self, begin: u64, now: u64) {
        self.succeeded_total += 1;
        let Window {
            begin: from,
            end: to,
            ..
        } = self.window;
        let within = from <= now && now < to;
        if within {
            self.completed += 1;
        }
        let counts = if self.settings.rate == 0 {
            within
        } else {
            from <= begin && begin < to
        };
        if counts {
            self.latencies
                .push(((now - begin) / 100).min(u64::from(u32::MAX)) as u32);
        }
    }

    /// The closed loop: a connection has as many requests in flight as it may.
    fn fill(&mut self, at: usize) {
        if self.settings.rate == 0 && !self.stopped {
            let begin = self.now();
            while self.connections[at].in_flight() < self.settings.streams && !self.is_exhausted() {
                if !self.send(at, begin) {
                    break;
                }
            }
        }
        self.connections[at].wire.flush();
    }

    fn is_exhausted(&self) -> bool {
        self.settings.total > 0 && self.sent == self.settings.total
    }

    fn send(&mut self, at: usize, begin: u64) -> bool {
        let key = match self.settings.call {
            Call::Put => splitmix(self.random) % self.settings.keys,
            Call::Range { .. } => 0,
            Call::PutLease | Call::Grant { .. } => self.sent,
        };
        let sent = self.connections[at].send(&self.requests, key, begin);
        if sent {
            self.random = self.random.wrapping_add(GOLDEN);
            self.sent += 1;
        }
        sent
    }

    /// Once a turn: what is due, and the begin and end of the measured time.
    fn turn(&mut self) {
        if self.settings.rate > 0 && !self.stopped {
            self.send_due();
        }
        let now = self.now();
        let warm = self.settings.warmup.as_nanos() as u64;
        if self.window.begin == u64::MAX && now >= warm {
            self.window.before = process::sample(self.settings.pid);
            self.window.own_before = process::cpu_ticks("self");
            self.window.begin = self.now();
        }
        if self.window.begin != u64::MAX && !self.stopped {
            let end = self.window.begin + self.settings.measure.as_nanos() as u64;
            let all = self.is_exhausted() && self.in_flight() == 0;
            if all || ((now >= end || self.is_cut(now)) && self.settings.total == 0) {
                self.stopped = true;
                self.window.end = self.now();
                self.window.after = process::sample(self.settings.pid);
                self.window.own_after = process::cpu_ticks("self");
            }
        }
    }

    /// Whether the file is gone that the measured time lasts as long as.
    fn is_cut(&mut self, now: u64) -> bool {
        let Some(path) = &self.settings.while_file else {
            return false;
        };
        if now < self.next_look {
            return false;
        }
        self.next_look = now + LOOK.as_nanos() as u64;
        !path.exists()
    }

    /// The open loop: request i is due at i / rate, and goes over the next connection that has room.
    fn send_due(&mut self) {
        let due = (u128::from(self.now()) * u128::from(self.settings.rate) / NANOSECONDS) as u64;
        let count = self.connections.len();
        let mut tried = 0;
        while self.sent < due && tried < count {
            let at = self.sent as usize % count + tried;
            let at = if at < count { at } else { at - count };
            let begin =
                (u128::from(self.sent) * NANOSECONDS / u128::from(self.settings.rate)) as u64;
            if self.connections[at].in_flight() < OPEN_STREAMS_MAX && self.send(at, begin) {
                self.connections[at].wire.flush();
                tried = 0;
            } else {
                tried += 1;
            }
        }
    }

    fn in_flight(&self) -> u64 {
        self.connections
            .iter()
            .map(|connection| connection.in_flight() as u64)
            .sum()
    }

    fn is_done(&self) -> bool {
        self.stopped
            && (self.in_flight() == 0 || self.now() > self.window.end + DRAIN.as_nanos() as u64)
    }

    fn outcome(self) -> Outcome {
        let unfinished = self.in_flight();
        let Window {
            begin,
            end,
            before,
            own_before,
            after,
            own_after,
        } = self.window;
        let seconds = |ticks: u64| ticks as f64 / TICKS_PER_SECOND;
        Outcome {
            seconds: (end - begin) as f64 / 1e9,
            completed: self.completed,
            succeeded_total: self.succeeded_total,
            failed: self.failed,
            unfinished,
            latencies: self.latencies,
            answered: self.answered,
            server_cpu_seconds: seconds(after.cpu_ticks - before.cpu_ticks),
            own_cpu_seconds: seconds(own_after - own_before),
            threads: process::between(&before, after),
        }
    }
}

const NANOSECONDS: u128 = 1_000_000_000;
pub const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The next number of the sequence that goes on with `state + GOLDEN`.
pub fn splitmix(state: u64) -> u64 {
    let mut z = state.wrapping_add(GOLDEN);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Wakes the loop whenever a request is due: a poll's own timeout counts in milliseconds.
struct Pacer {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Pacer {
    fn start(waker: Waker, origin: Instant, rate: u64) -> Pacer {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut due = 0u64;
            while !stopped.load(Ordering::Relaxed) {
                due += 1;
                let at =
                    Duration::from_nanos((u128::from(due) * NANOSECONDS / u128::from(rate)) as u64);
                let now = origin.elapsed();
                if at > now {
                    std::thread::sleep(at - now);
                } else {
                    // Late: one wake-up for all that are due by now.
                    due = (now.as_nanos() * u128::from(rate) / NANOSECONDS) as u64;
                }
                waker.wake().expect("wake");
            }
        });
        Pacer {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the pacer");
        }
    }
}
