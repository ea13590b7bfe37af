//! What the edge counts for metrics. Only the edge's thread writes; any thread reads.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers kept for each method: started, messages received, messages sent, ended by code 0 to 16, ended by how
/// long they took (`HANDLING_BOUNDS` and beyond), and how long they took together, in microseconds.
pub const PER_METHOD: usize = 33;
/// Upper bounds, in microseconds, of the counts of how long calls took.
const HANDLING_BOUNDS: [u64; 11] = [
    5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];
/// Numbers kept for all: message bytes received, message bytes sent, connections, calls under way.
pub const TOTALS: usize = 4;
/// Different client API versions that are told apart; further ones count as "other".
const VERSIONS_MAX: usize = 32;
const VERSION_BYTES_MAX: usize = 64;

const STARTED: usize = 0;
const RECEIVED: usize = 1;
const SENT: usize = 2;
const ENDED: usize = 3;
const HANDLING: usize = 20;
const HANDLING_SUM: usize = 32;

/// Calls of clients that sent the same `client-api-version`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionCount {
    pub version: String,
    pub unary: u64,
    pub stream: u64,
}

/// See the module.
pub struct Counters {
    methods: Box<[AtomicU64]>,
    bytes_received: AtomicU64,
    bytes_sent: AtomicU64,
    connections: AtomicU64,
    calls: AtomicU64,
    /// Not among the totals: see `pending`.
    pending: AtomicU64,
    versions: Mutex<Vec<VersionCount>>,
}

impl Counters {
    pub fn new(methods: usize) -> Counters {
        Counters {
            methods: (0..methods * PER_METHOD)
                .map(|_| AtomicU64::new(0))
                .collect(),
            bytes_received: AtomicU64::new(0),
            bytes_sent: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            pending: AtomicU64::new(0),
            versions: Mutex::default(),
        }
    }

    pub fn started(&self, method: u16) {
        self.add(method, STARTED);
    }

    pub fn received(&self, method: u16, bytes: usize) {
        self.add(method, RECEIVED);
        add(&self.bytes_received, bytes as u64);
    }

    pub fn sent(&self, method: u16, bytes: usize) {
        self.add(method, SENT);
        add(&self.bytes_sent, bytes as u64);
    }

    /// `took`: microseconds since the call's header fields came.
    pub fn ended(&self, method: u16, code: u8, took: u64) {
        self.add(method, ENDED + usize::from(code.min(16)));
        let bounds = HANDLING_BOUNDS.iter();
        self.add(
            method,
            HANDLING + bounds.take_while(|&&bound| took > bound).count(),
        );
        add(
            &self.methods[usize::from(method) * PER_METHOD + HANDLING_SUM],
            took,
        );
    }

    pub fn set_connections(&self, count: usize) {
        self.connections.store(count as u64, Ordering::Relaxed);
    }

    pub fn set_pending(&self, bytes: usize) {
        self.pending.store(bytes as u64, Ordering::Relaxed);
    }

    /// Of replies that the edge has in hand, until its turn ends.
    pub fn add_pending(&self, bytes: usize) {
        add(&self.pending, bytes as u64);
    }

    /// Reply bytes that wait for their clients, as of the edge's last turn.
    pub fn pending(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }

    pub fn set_calls(&self, count: usize) {
        self.calls.store(count as u64, Ordering::Relaxed);
    }

    /// One more call of a client with this version. The list is short and its order is kept by use.
    pub fn version(&self, version: &str, unary: bool) {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let place = versions
            .iter()
            .position(|known| known.version == version)
            .unwrap_or_else(|| {
                let full = versions.len() >= VERSIONS_MAX || version.len() > VERSION_BYTES_MAX;
                let version = if full { "other" } else { version };
                versions
                    .iter()
                    .position(|known| known.version == version)
                    .unwrap_or_else(|| {
                        versions.push(VersionCount {
                            version: version.to_owned(),
                            unary: 0,
                            stream: 0,
                        });
                        versions.len() - 1
                    })
            });
        let count = &mut versions[place];
        if unary {
            count.unary += 1
        } else {
            count.stream += 1
        }
    }

    /// The counts by client API version.
    pub fn versions(&self) -> Vec<VersionCount> {
        self.versions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Copies all numbers: methods in order, then the totals. `into` may be shorter.
    pub fn read(&self, into: &mut [f64]) {
        let totals = [
            &self.bytes_received,
            &self.bytes_sent,
            &self.connections,
            &self.calls,
        ];
        for (number, counter) in into.iter_mut().zip(self.methods.iter().chain(totals)) {
            *number = counter.load(Ordering::Relaxed) as f64;
        }
    }

    fn add(&self, method: u16, what: usize) {
        add(&self.methods[usize::from(method) * PER_METHOD + what], 1);
    }
}

/// There is one writer, so no atomic addition is needed.
fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed) + count, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_laid_out_by_method() {
        let counters = Counters::new(2);
        counters.started(1);
        counters.received(1, 300);
        counters.sent(1, 20);
        counters.ended(1, 0, 5_000);
        counters.ended(1, 14, 5_001);
        counters.ended(1, 14, 10_000_001);
        counters.set_connections(3);
        let mut numbers = [0.0; 2 * PER_METHOD + TOTALS];
        counters.read(&mut numbers);
        let second = &numbers[PER_METHOD..2 * PER_METHOD];
        assert_eq!(second[..4], [1.0, 1.0, 1.0, 1.0]);
        assert_eq!(second[ENDED + 14], 2.0);
        assert_eq!(second[HANDLING..HANDLING + 3], [1.0, 1.0, 0.0]);
        assert_eq!(second[HANDLING_SUM - 1..], [1.0, 10_010_002.0]);
        assert_eq!(numbers[2 * PER_METHOD..], [300.0, 20.0, 3.0, 0.0]);
        assert_eq!(numbers[..PER_METHOD], [0.0; PER_METHOD]);
    }

    #[test]
    fn versions_are_bounded() {
        let counters = Counters::new(1);
        for version in 0..100 {
            counters.version(&format!("3.{version}"), true);
        }
        counters.version("3.0", false);
        let versions = counters.versions();
        assert_eq!(versions.len(), VERSIONS_MAX + 1);
        assert_eq!(
            versions[0],
            VersionCount {
                version: "3.0".into(),
                unary: 1,
                stream: 1
            }
        );
        assert_eq!(versions[VERSIONS_MAX].unary, 68);
    }
}
