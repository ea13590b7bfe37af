//! An obvious model of the log, a random member that writes to both, and helpers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, Weak};

use super::mem_disk::MemDisk;
use super::random::Random;
use crate::wal::codec::{
    Entries, HardState, SnapshotMark, for_each_record, put_entries, put_hard_state,
};
use crate::wal::codec::{Malformed, put_snapshot_mark};
use crate::wal::disk::Disk;
use crate::wal::error::WalError;
use crate::wal::log::{Recovered, Wal, replay};
use crate::wal::replay::Replay;
use crate::wal::scan::scan;
use crate::wal::shared::{FLAG_FAILED, Notify, Options, Progress, lock};

/// What the log says: entries behind the mark, and the rest of the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    pub hard_state: Option<HardState>,
    pub mark: Option<SnapshotMark>,
    /// index → (term, type, data).
    pub entries: BTreeMap<u64, (u64, u8, Vec<u8>)>,
}

impl Model {
    fn last_index(&self) -> u64 {
        let mark = self.mark.as_ref().map_or(0, |mark| mark.index);
        self.entries.keys().last().copied().unwrap_or(0).max(mark)
    }

    fn commit(&self) -> u64 {
        self.hard_state.map_or(0, |state| state.commit)
    }

    fn term(&self) -> u64 {
        self.hard_state.map_or(1, |state| state.term)
    }

    fn put_entries(&mut self, records: &mut Vec<u8>, term: u64, first: u64, data: &[Vec<u8>]) {
        let (mut ends, mut bytes) = (Vec::new(), Vec::new());
        self.entries.split_off(&first);
        let types: Vec<u8> = (0..data.len()).map(|i| (i % 3) as u8).collect();
        for (i, entry) in data.iter().enumerate() {
            bytes.extend_from_slice(entry);
            ends.push(bytes.len() as u32);
            self.entries
                .insert(first + i as u64, (term, types[i], entry.clone()));
        }
        put_entries(records, term, first, &ends, &types, &bytes);
    }

    fn put_hard_state(&mut self, records: &mut Vec<u8>, state: HardState) {
        put_hard_state(records, &state);
        self.hard_state = Some(state);
    }

    fn put_mark(&mut self, records: &mut Vec<u8>, mark: SnapshotMark) {
        put_snapshot_mark(records, &mark);
        if mark.install {
            self.entries.clear();
        }
        self.entries = self.entries.split_off(&(mark.index + 1));
        let state = self.hard_state.get_or_insert(HardState {
            term: mark.term,
            vote: 0,
            commit: 0,
        });
        state.commit = state.commit.max(mark.index);
        self.mark = Some(mark);
    }

    /// One append as a member could make it.
    pub fn random_append(&mut self, random: &mut Random, entry_bytes_max: u64) -> Vec<u8> {
        let mut records = Vec::new();
        match random.below(20) {
            0 => self.append_new_term(&mut records, random),
            1 if self.last_index() > 0 => {
                let index = self.mark.as_ref().map_or(0, |mark| mark.index);
                let index = index + random.below(self.last_index() - index + 1);
                let conf_state = random.bytes(9);
                self.put_mark(
                    &mut records,
                    SnapshotMark {
                        index,
                        term: self.term(),
                        install: false,
                        conf_state,
                    },
                );
            }
            2 if random.below(8) == 0 => self.append_install(&mut records, random),
            _ => self.append_entries(&mut records, random, entry_bytes_max),
        }
        records
    }

    /// One entry of 100 bytes.
    pub fn append_one(&mut self, fill: u8) -> Vec<u8> {
        let mut records = Vec::new();
        let first = self.last_index() + 1;
        self.put_entries(&mut records, self.term(), first, &[vec![fill; 100]]);
        records
    }

    fn append_entries(&mut self, records: &mut Vec<u8>, random: &mut Random, entry_bytes_max: u64) {
        let first = self.last_index() + 1;
        let data: Vec<Vec<u8>> = (0..1 + random.below(4))
            .map(|_| {
                let length = random.below(entry_bytes_max) as usize;
                // Zeros are what torn batches are told by, so data is often full of them.
                if random.below(3) == 0 {
                    vec![0; length]
                } else {
                    random.bytes(length)
                }
            })
            .collect();
        self.put_entries(records, self.term(), first, &data);
        if random.below(2) == 0 {
            let commit = self.commit() + random.below(self.last_index() - self.commit() + 1);
            let vote = random.next();
            self.put_hard_state(
                records,
                HardState {
                    term: self.term(),
                    vote,
                    commit,
                },
            );
        }
    }

    /// A new leader rewrites the uncommitted tail.
    fn append_new_term(&mut self, records: &mut Vec<u8>, random: &mut Random) {
        let term = self.term() + 1;
        let first = self.commit() + 1 + random.below(self.last_index() - self.commit() + 1);
        self.put_entries(records, term, first, &[random.bytes(5), Vec::new()]);
        self.put_hard_state(
            records,
            HardState {
                term,
                vote: random.next(),
                commit: self.commit(),
            },
        );
    }

    fn append_install(&mut self, records: &mut Vec<u8>, random: &mut Random) {
        let index = self.commit() + 1 + random.below(40);
        let mark = SnapshotMark {
            index,
            term: self.term() + 1,
            install: true,
            conf_state: random.bytes(30),
        };
        self.put_mark(records, mark);
        self.put_hard_state(
            records,
            HardState {
                term: self.term() + 1,
                vote: 0,
                commit: index,
            },
        );
    }
}

/// What a log says when it is opened.
pub fn model_of(recovered: &Recovered, replay: &mut Replay) -> Result<Model, WalError> {
    let mut entries = BTreeMap::new();
    let mut chunk = Vec::new();
    loop {
        replay.next_chunk(1000, &mut chunk)?;
        if chunk.is_empty() {
            break;
        }
        for_each_record(&chunk, |record| {
            let record = Entries::read(&record)?;
            for index in record.first_index..=record.last_index() {
                let kind = record.types[(index - record.first_index) as usize];
                let old = entries.insert(index, (record.term, kind, record.entry(index).to_vec()));
                assert_eq!(old, None, "replay gave entry {index} twice");
            }
            Ok::<(), Malformed>(())
        })
        .expect("replay gives well-formed records");
    }
    assert_eq!(
        entries
            .keys()
            .last()
            .copied()
            .unwrap_or(recovered.last_index),
        recovered.last_index
    );
    Ok(Model {
        hard_state: recovered.hard_state,
        mark: recovered.mark.clone(),
        entries,
    })
}

/// Models are compared with marks as plain ones: a segment head keeps only that.
pub fn plain(model: &Model) -> Model {
    let mut model = model.clone();
    if let Some(mark) = &mut model.mark {
        mark.install = false;
    }
    model
}

pub fn options() -> Options {
    Options {
        segment_bytes: 64 << 10,
        batch_bytes_max: 24 << 10,
        space_retry: std::time::Duration::from_millis(2),
        ..Options::new("/wal")
    }
}

/// Reads a log without opening it for writing.
pub fn read_log(disk: &MemDisk) -> Result<Model, WalError> {
    let mut scan = scan(disk, Path::new("/wal"))?;
    let recovered = Recovered {
        metadata: scan.state.metadata.clone(),
        hard_state: scan.state.hard_state,
        mark: scan.state.mark.clone(),
        last_index: scan.state.last_index,
        cut: None,
        direct: true,
    };
    model_of(
        &recovered,
        &mut replay(Arc::new(disk.clone()), &options(), &mut scan),
    )
}

/// Follows a log's progress.
#[derive(Default)]
pub struct Follower {
    wal: OnceLock<Weak<Wal>>,
    progress: Mutex<(u64, u32)>,
    changed: Condvar,
    pub acknowledged: AtomicU64,
    wakes: AtomicU64,
}

impl Follower {
    pub fn notify(self: &Arc<Self>) -> Notify {
        let follower = self.clone();
        Box::new(move || {
            follower.wakes.fetch_add(1, Ordering::Relaxed);
            follower.poll();
        })
    }

    pub fn attach(&self, wal: &Arc<Wal>) {
        self.wal
            .set(Arc::downgrade(wal))
            .expect("one log a follower");
        self.poll();
    }

    fn poll(&self) {
        if let Some(wal) = self.wal.get().and_then(Weak::upgrade) {
            // Both threads of a log tell of news: whoever looks first must also note it first.
            let mut progress = lock(&self.progress);
            let Progress { durable, flags } = wal.poll();
            assert!(durable >= progress.0, "durable token went back");
            *progress = (durable, flags);
            self.acknowledged.store(durable, Ordering::SeqCst);
            self.changed.notify_all();
        }
    }

    /// Waits until `wanted` holds of (durable, flags).
    pub fn wait(&self, wanted: impl Fn(u64, u32) -> bool) {
        let mut progress = lock(&self.progress);
        while !wanted(progress.0, progress.1) {
            progress = crate::wal::shared::wait(&self.changed, progress);
        }
    }

    /// Waits until the token is durable, or the log has failed.
    pub fn wait_durable(&self, token: u64) {
        self.wait(|durable, flags| durable >= token || flags & FLAG_FAILED != 0);
    }

    pub fn wakes(&self) -> u64 {
        self.wakes.load(Ordering::Relaxed)
    }
}

/// An open log with its follower.
pub struct Opened {
    pub wal: Arc<Wal>,
    pub follower: Arc<Follower>,
}

impl Drop for Opened {
    /// The follower may hold the log for a moment, so it is closed here, not when the last one drops it.
    fn drop(&mut self) {
        self.wal.close();
    }
}

pub fn create(disk: &MemDisk, options: Options) -> Result<Opened, WalError> {
    let follower = Arc::new(Follower::default());
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let wal = Arc::new(Wal::create(disk, options, b"member 1", follower.notify())?.0);
    follower.attach(&wal);
    Ok(Opened { wal, follower })
}

pub fn open(disk: &MemDisk, options: Options) -> Result<(Opened, Recovered, Replay), WalError> {
    let follower = Arc::new(Follower::default());
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let (wal, recovered, replay) = Wal::open(disk, options, follower.notify())?;
    let wal = Arc::new(wal);
    follower.attach(&wal);
    Ok((Opened { wal, follower }, recovered, replay))
}
