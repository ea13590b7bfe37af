//! Watchers, and what they must see: every event of their keys, once and in order.
//!
//! Prints a line when all are there, and obeys lines of standard input, each of which it answers with a line:
//! `puts N` puts key 0 N times, each when all watchers have the one before, and times each put until all have it;
//! `wait N MS` reads until N events have come since the start, at most MS milliseconds.

use crate::connection::{Connection, End};
use crate::message::{Event, WatchHead, watch_response};
use crate::process;
use crate::request::{Call, KEY_PREFIX, LEASE_KEY_PREFIX, Requests, key_of, put_bytes};
use crate::streams::{Loop, Streams, WIDE};
use crate::wire::WINDOW_DEFAULT;
use std::io::BufRead;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

const PATH: &str = "/etcdserverpb.Watch/Watch";
const POLL: Duration = Duration::from_millis(5);
const OPEN_WITHIN: Duration = Duration::from_secs(120);
const PUT_WITHIN: Duration = Duration::from_secs(60);

/// What the watchers watch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// Key 0, all of them.
    OneKey,
    /// Watcher n key n.
    EachKey,
    /// All that `put` puts, all of them.
    AllKeys,
    /// All keys with leases, all of them.
    LeaseKeys,
}

impl Watched {
    pub fn of(name: &str) -> Option<Watched> {
        match name {
            "one-key" => Some(Watched::OneKey),
            "each-key" => Some(Watched::EachKey),
            "all-keys" => Some(Watched::AllKeys),
            "lease-keys" => Some(Watched::LeaseKeys),
            _ => None,
        }
    }

    fn request(self, number: u64) -> Vec<u8> {
        let mut create = Vec::new();
        let prefix = match self {
            Watched::OneKey => {
                put_bytes(&mut create, 1, &key_of(KEY_PREFIX, 0));
                return nested(&create);
            }
            Watched::EachKey => {
                put_bytes(&mut create, 1, &key_of(KEY_PREFIX, number));
                return nested(&create);
            }
            Watched::AllKeys => KEY_PREFIX,
            Watched::LeaseKeys => LEASE_KEY_PREFIX,
        };
        put_bytes(&mut create, 1, prefix.as_bytes());
        let end = prefix.replace('/', "0");
        put_bytes(&mut create, 2, end.as_bytes());
        nested(&create)
    }
}

fn nested(create: &[u8]) -> Vec<u8> {
    let mut request = Vec::new();
    put_bytes(&mut request, 1, create);
    request
}

pub struct Settings {
    pub address: SocketAddr,
    pub connections: usize,
    pub streams: usize,
    /// On each stream.
    pub watches: usize,
    pub watched: Watched,
    /// Read nothing between the creation and `wait`, and then on the first so many connections; 0: read always.
    pub drained: usize,
    pub value_bytes: usize,
    pub pid: u32,
    /// When the lease of key n ends, in µs since the epoch.
    pub lease_ends: Vec<u64>,
}

/// What one watcher was told.
#[derive(Clone, Default)]
struct Watcher {
    events: u64,
    mod_revision: u64,
    version: u64,
}

/// What all of them were told.
struct Told {
    settings: Settings,
    watchers: Vec<Watcher>,
    created: usize,
    events: u64,
    /// Events that were missed, came again or out of order, and watchers that were cancelled.
    wrong: u64,
    /// Of the keys with leases: how much later than its lease's end each was deleted, in µs.
    late_us: Vec<i64>,
    last_event_us: u64,
}

impl Told {
    fn message(&mut self, connection: usize, stream: usize, message: &[u8]) {
        let Settings {
            streams, watches, ..
        } = self.settings;
        let first = (connection * streams + stream) * watches;
        let mut now = 0;
        let head = watch_response(message, |head, event| {
            if now == 0 {
                now = process::epoch_us();
            }
            self.event(first + head.watch_id as usize, head, &event, now);
        });
        self.wrong += u64::from(head.canceled);
        if head.created {
            self.created += 1;
            self.watchers[first + head.watch_id as usize].mod_revision = head.revision;
        }
    }

    fn event(&mut self, watcher: usize, head: &WatchHead, event: &Event<'_>, now: u64) {
        self.events += 1;
        self.last_event_us = now;
        let last = &mut self.watchers[watcher];
        let follows = match self.settings.watched {
            Watched::OneKey | Watched::AllKeys => event.mod_revision == last.mod_revision + 1,
            Watched::EachKey => {
                event.mod_revision > last.mod_revision
                    && (last.version == 0 || event.version == last.version + 1)
            }
            // A lease's keys are deleted in a revision of their own; other keys change between.
            Watched::LeaseKeys => event.delete && event.mod_revision > last.mod_revision,
        };
        self.wrong += u64::from(!follows || event.mod_revision > head.revision);
        last.events += 1;
        last.mod_revision = event.mod_revision;
        last.version = event.version;
        if self.settings.watched == Watched::LeaseKeys {
            let text = std::str::from_utf8(&event.key[LEASE_KEY_PREFIX.len()..]).expect("digits");
            let number: usize = text.parse().expect("a number");
            let end = self.settings.lease_ends[number] as i64;
            self.late_us.push(now as i64 - end);
        }
    }
}

struct Run {
    told: Told,
    connections: Vec<Streams>,
    turns: Loop,
    reading: bool,
    /// Connections that are read while `reading`.
    read_max: usize,
}

/// Runs until standard input ends.
pub fn run(settings: Settings) {
    let total = settings.connections * settings.streams * settings.watches;
    let began = Instant::now();
    let slow = settings.drained > 0;
    let window = if slow { WINDOW_DEFAULT } else { WIDE };
    let mut connections: Vec<Streams> = (0..settings.connections)
        .map(|_| Streams::open(settings.address, PATH, settings.streams, window))
        .collect();
    for at in 0..total {
        let stream = at / settings.watches;
        let connection = &mut connections[stream / settings.streams];
        connection.send(
            stream % settings.streams,
            &settings.watched.request(at as u64),
        );
    }
    for connection in &mut connections {
        connection.flush();
    }
    let turns = Loop::new(&mut connections);
    let mut run = Run {
        told: Told {
            watchers: vec![Watcher::default(); total],
            settings,
            created: 0,
            events: 0,
            wrong: 0,
            late_us: Vec::new(),
            last_event_us: 0,
        },
        read_max: connections.len(),
        connections,
        turns,
        reading: true,
    };
    run.until(OPEN_WITHIN, |told| told.created == total);
    assert!(run.told.created == total, "not all watches were made");
    println!("{{\"openedMs\":{}}}", began.elapsed().as_millis());
    run.reading = !slow;
    run.obey(&commands());
}

/// The lines of standard input, read by a thread.
fn commands() -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Run {
    fn obey(&mut self, commands: &Receiver<String>) {
        loop {
            let line = match commands.try_recv() {
                Ok(line) => line,
                Err(TryRecvError::Empty) => {
                    self.turn();
                    continue;
                }
                Err(TryRecvError::Disconnected) => return,
            };
            let words: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| -> u64 { words[at].parse().expect("a number") };
            match words[0] {
                "puts" => self.puts(number(1)),
                "wait" => self.wait(number(1), Duration::from_millis(number(2))),
                other => panic!("no such command: {other}"),
            }
        }
    }

    fn turn(&mut self) {
        let Run {
            told,
            connections,
            turns,
            reading,
            read_max,
        } = self;
        turns.turn(POLL, |at, readable| {
            if readable && *reading && at < *read_max {
                connections[at].receive(&mut |stream, message| told.message(at, stream, message));
            } else {
                connections[at].flush();
            }
        });
    }

    fn until(&mut self, within: Duration, is_done: impl Fn(&Told) -> bool) {
        let began = Instant::now();
        while !is_done(&self.told) && began.elapsed() < within {
            self.turn();
        }
    }

    fn puts(&mut self, count: u64) {
        let Settings {
            address,
            value_bytes,
            pid,
            ..
        } = self.told.settings;
        let mut puts = Putter::new(address, value_bytes);
        let cpu = process::cpu_ticks(&pid.to_string());
        let own = process::cpu_ticks("self");
        let mut times: Vec<u64> = Vec::new();
        for _ in 0..count {
            let wanted = self.told.events + self.told.watchers.len() as u64;
            let began = Instant::now();
            puts.send();
            self.until(PUT_WITHIN, |told| told.events >= wanted);
            assert!(self.told.events >= wanted, "an event did not reach all");
            times.push(began.elapsed().as_micros() as u64);
            puts.end();
        }
        let seconds = |from: u64, process: &str| {
            (process::cpu_ticks(process) - from) as f64 / process::TICKS_PER_SECOND
        };
        println!(
            "{{\"us\":{times:?},\"cpuSeconds\":{},\"ownCpuSeconds\":{},\"wrong\":{}}}",
            seconds(cpu, &pid.to_string()),
            seconds(own, "self"),
            self.told.wrong
        );
    }

    fn wait(&mut self, events: u64, within: Duration) {
        let began = Instant::now();
        if !self.reading {
            self.read_max = self.told.settings.drained;
            self.reading = true;
            // What came meanwhile has been announced already.
            for at in 0..self.read_max {
                let told = &mut self.told;
                self.connections[at]
                    .receive(&mut |stream, message| told.message(at, stream, message));
            }
        }
        self.until(within, |told| told.events >= events);
        let Told {
            events,
            wrong,
            ref mut late_us,
            last_event_us,
            ref watchers,
            ..
        } = self.told;
        late_us.sort_unstable();
        let late = |share: f64| -> i64 {
            let at = (late_us.len() as f64 * share) as usize;
            *late_us.get(at.min(late_us.len().max(1) - 1)).unwrap_or(&0)
        };
        let fewest = watchers.iter().map(|watcher| watcher.events).min();
        println!(
            "{{\"events\":{events},\"fewest\":{},\"wrong\":{wrong},\"ms\":{},\"lastEventUs\":{last_event_us},\
             \"lateUs\":{{\"min\":{},\"p50\":{},\"p99\":{},\"max\":{}}}}}",
            fewest.unwrap_or(0),
            began.elapsed().as_millis(),
            late(0.0),
            late(0.5),
            late(0.99),
            late(1.0)
        );
    }
}

/// Puts key 0, one at a time.
struct Putter {
    connection: Connection,
    requests: Requests,
    poll: mio::Poll,
    events: mio::Events,
}

impl Putter {
    fn new(address: SocketAddr, value_bytes: usize) -> Putter {
        let mut connection = Connection::open(address);
        let poll = mio::Poll::new().expect("poll");
        poll.registry()
            .register(
                &mut connection.wire.stream,
                mio::Token(0),
                mio::Interest::READABLE,
            )
            .expect("register");
        Putter {
            connection,
            requests: Requests::new(Call::Put, &address.to_string(), value_bytes),
            poll,
            events: mio::Events::with_capacity(4),
        }
    }

    fn send(&mut self) {
        assert!(
            self.connection.send(&self.requests, 0, 0),
            "a put is within the window"
        );
        self.connection.wire.flush();
    }

    /// Takes the answer, which may have come long before.
    fn end(&mut self) {
        let mut ended: Vec<End> = Vec::new();
        while ended.is_empty() {
            self.poll.poll(&mut self.events, Some(POLL)).expect("poll");
            self.connection.receive(&mut ended);
        }
        assert!(ended[0].code == 0, "a put failed: {}", ended[0].code);
        self.connection.wire.flush();
    }
}
