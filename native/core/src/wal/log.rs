//! Making and opening a log, and the handle through which it is used.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::codec::{BLOCK_BYTES, Chain, HardState, SnapshotMark, padded, seal};
use super::disk::{Access, Disk};
use super::error::WalError;
use super::prepare::{
    self, OpenSegment, Plan, Spares, make_segment, open_for_writing, write_zeros,
};
use super::replay::Replay;
use super::scan::{Cut, Scan, scan};
use super::segment::TEMPORARY_SUFFIX;
use super::shared::{Notify, Options, Progress, Shared, lock};
use super::state::LogState;
use super::stats::Stats;
use super::writer::{self, Writer, head_buffer};

/// Largest size of a new log's first segment: its maker waits until it is zero all over (64 MiB: 0.1 s), and the
/// preparer zeroes one of full size while it is in use.
const FIRST_SEGMENT_BYTES: u64 = 8 << 20;

/// What a log held when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    pub metadata: Vec<u8>,
    pub hard_state: Option<HardState>,
    /// Replay begins behind it.
    pub mark: Option<SnapshotMark>,
    /// Of the newest entry, or the mark's.
    pub last_index: u64,
    /// A torn batch that was cut: segment, offset, bytes.
    pub cut: Option<(String, u64, u64)>,
    /// Whether writes go past the page cache.
    pub direct: bool,
}

/// An open log. Its threads end with [`Wal::close`].
pub struct Wal {
    shared: Arc<Shared>,
    writer: Arc<Mutex<Writer>>,
    threads: Mutex<Option<Threads>>,
}

struct Threads {
    writer: JoinHandle<()>,
    preparer: JoinHandle<()>,
    /// Keeps other processes out.
    _lock: Box<dyn Send + Sync>,
}

impl Wal {
    /// Makes a new log that begins at entry 1.
    pub fn create(
        disk: Arc<dyn Disk>,
        options: Options,
        metadata: &[u8],
        notify: Notify,
    ) -> Result<(Self, Recovered), WalError> {
        options.check()?;
        let dir = &options.dir;
        disk.create_dir(dir).map_err(WalError::io("create", dir))?;
        let guard = lock_dir(disk.as_ref(), &options)?;
        let names = disk.list(dir).map_err(WalError::io("list", dir))?;
        if names
            .iter()
            .any(|name| name.ends_with(".seg") || name.ends_with(".wal"))
        {
            return Err(WalError::Exists { dir: dir.clone() });
        }
        let temporary: Vec<_> = names
            .into_iter()
            .filter(|name| name.ends_with(TEMPORARY_SUFFIX))
            .collect();
        remove_files(disk.as_ref(), &options, &temporary)?;
        let state = LogState {
            metadata: metadata.to_vec(),
            ..LogState::default()
        };
        let (current, offset, chain) = first_segment(disk.as_ref(), &options, &state)?;
        let recovered = Recovered {
            metadata: metadata.to_vec(),
            hard_state: None,
            mark: None,
            last_index: 0,
            cut: None,
            direct: current.direct,
        };
        let mut spares = Spares::default();
        spares.next_sequence = current.segment.sequence + 1;
        let shared = Arc::new(Shared::new(disk, options, spares, notify));
        let older = VecDeque::new();
        let writer = Writer {
            shared: shared.clone(),
            current,
            offset,
            max_index: 0,
            older,
            chain,
            state,
            quick: 0,
        };
        Ok((Self::start(shared, writer, guard)?, recovered))
    }

    /// Opens a log: checks all of it, cuts a torn batch, and goes on behind the last whole one.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: Options,
        notify: Notify,
    ) -> Result<(Self, Recovered, Replay), WalError> {
        options.check()?;
        match disk.list(&options.dir) {
            Ok(names) if !names.is_empty() => {}
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(WalError::io("list", &options.dir)(error));
            }
            _ => return Err(WalError::Absent { dir: options.dir }),
        }
        let guard = lock_dir(disk.as_ref(), &options)?;
        let mut scan = scan(disk.as_ref(), &options.dir)?;
        remove_files(disk.as_ref(), &options, &scan.temporary)?;
        if let Some(cut) = &scan.cut {
            zero_cut(disk.as_ref(), &options, cut)?;
        }
        let spares = open_spares(disk.as_ref(), &options, &mut scan)?;
        let newest = scan.segments.last().expect("a scan has a segment").clone();
        let current = open_newest(disk.as_ref(), &options, &scan)?;
        let recovered = recovered(&scan, current.direct);
        let replay = replay(disk.clone(), &options, &mut scan);
        let mut older: VecDeque<_> = replay.segments.clone().into();
        older.pop_back();
        let shared = Arc::new(Shared::new(disk, options, spares, notify));
        let writer = Writer {
            shared: shared.clone(),
            current,
            offset: newest.end,
            max_index: newest.max_index,
            older,
            chain: scan.chain,
            state: scan.state,
            quick: 0,
        };
        Ok((Self::start(shared, writer, guard)?, recovered, replay))
    }

    fn start(
        shared: Arc<Shared>,
        writer: Writer,
        guard: Box<dyn Send + Sync>,
    ) -> Result<Self, WalError> {
        let dir = shared.options.dir.clone();
        let spawn = |name: &str| thread::Builder::new().name(name.to_owned());
        let for_preparer = shared.clone();
        let preparer = spawn("wal-prepare")
            .spawn(move || prepare::run(&for_preparer))
            .map_err(WalError::io("start thread for", &dir))?;
        let (for_writer, its_own) = (shared.clone(), Arc::new(Mutex::new(writer)));
        let writer_state = its_own.clone();
        let writer = spawn("wal")
            .spawn(move || writer::run(&for_writer, &its_own))
            .map_err(WalError::io("start thread for", &dir))?;
        Ok(Self {
            shared,
            writer: writer_state,
            threads: Mutex::new(Some(Threads {
                writer,
                preparer,
                _lock: guard,
            })),
        })
    }

    /// Queues whole records (see `codec.rs`; CRCs are filled in later), which go to disk in one batch.
    /// `token` must rise from append to append. Returns the bytes that wait. Never blocks on the disk.
    pub fn append(&self, records: &[u8], token: u64) -> usize {
        self.shared.append(records, token)
    }

    /// Like `append`, but when the log rests, its disk has been quick lately and the segment has room, this writes and
    /// syncs the records itself, which saves two changes of threads. True: they are durable, and no wake-up tells of
    /// it. A disk that stalls holds the caller once; after that it is not asked to wait until the disk is quick again.
    pub fn append_here(&self, records: &[u8], token: u64) -> bool {
        let Some(mut chunk) = self.shared.claim(records, token) else {
            self.shared.append(records, token);
            return false;
        };
        let written = lock(&self.writer).write_claimed(&mut chunk);
        match written {
            Ok(done) => {
                self.shared.end_claim(chunk, done);
                done
            }
            Err(error) => {
                // From here on appends are dropped: the chunk is the last one.
                self.shared.fail(error);
                self.shared.drop_claim();
                false
            }
        }
    }

    /// Entries up to `index` are not needed from this log any more.
    pub fn release(&self, index: u64) {
        self.shared.release(index);
    }

    /// How far the log is. To be called after each wake-up.
    pub fn poll(&self) -> Progress {
        self.shared.poll()
    }

    /// The error that ended the log's work.
    pub fn failure(&self) -> Option<WalError> {
        self.shared.failure()
    }

    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// Writes what is queued and ends the threads. The second call does nothing.
    pub fn close(&self) {
        let Some(threads) = lock(&self.threads).take() else {
            return;
        };
        self.shared.close_queue();
        // A thread that panicked has ended the process.
        let _ = threads.writer.join();
        self.shared.close_spares();
        let _ = threads.preparer.join();
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        self.close();
    }
}

fn lock_dir(disk: &dyn Disk, options: &Options) -> Result<Box<dyn Send + Sync>, WalError> {
    let dir = &options.dir;
    disk.lock_dir(dir).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => WalError::Locked { dir: dir.clone() },
        _ => WalError::io("lock", dir)(error),
    })
}

fn remove_files(disk: &dyn Disk, options: &Options, names: &[String]) -> Result<(), WalError> {
    for name in names {
        let path = options.dir.join(name);
        disk.remove(&path).map_err(WalError::io("remove", &path))?;
    }
    if !names.is_empty() {
        disk.sync_dir(&options.dir)
            .map_err(WalError::io("sync", &options.dir))?;
    }
    Ok(())
}

/// The first segment has its head before it has its name: a log that exists is a whole one.
fn first_segment(
    disk: &dyn Disk,
    options: &Options,
    state: &LogState,
) -> Result<(OpenSegment, u64, Chain), WalError> {
    let size = options.segment_bytes.min(FIRST_SEGMENT_BYTES);
    let mut head = head_buffer(state, size);
    let used = head.len();
    head.set_len(padded(used));
    let head = std::cell::RefCell::new(head);
    let chain = std::cell::Cell::new(Chain::default());
    let made = make_segment(
        disk,
        &Plan {
            dir: &options.dir,
            sequence: 1,
            size,
            direct: options.direct,
            recycled: None,
            stop: &|| false,
            finish: &|open| {
                let path = open.segment.path(&options.dir);
                let mut head = head.borrow_mut();
                chain.set(seal(
                    (*head).as_mut(),
                    used,
                    open.segment.place(0),
                    Chain::default(),
                ));
                open.file
                    .write_at((*head).as_ref(), 0)
                    .map_err(WalError::io("write", &path))?;
                open.file.sync_data().map_err(WalError::io("sync", &path))
            },
        },
    )?;
    let current = made.expect("nobody stops the first segment");
    Ok((current, padded(used) as u64, chain.get()))
}

/// Zeroes a torn batch, durably, before anything is written behind it.
fn zero_cut(disk: &dyn Disk, options: &Options, cut: &Cut) -> Result<(), WalError> {
    let path = cut.segment.path(&options.dir);
    let file = disk
        .open(&path, Access::Buffered)
        .map_err(WalError::io("open", &path))?;
    write_zeros(file.as_ref(), cut.from, cut.to, &|| false)
        .map_err(WalError::io("write", &path))?;
    file.sync_data().map_err(WalError::io("sync", &path))
}

/// Spares left by the last run are used, unless segments now have another size.
fn open_spares(disk: &dyn Disk, options: &Options, scan: &mut Scan) -> Result<Spares, WalError> {
    let good = scan
        .spares
        .iter()
        .take_while(|&&(_, size)| size == options.segment_bytes)
        .count();
    for (segment, _) in scan.spares.drain(good..).rev() {
        remove_files(disk, options, &[segment.file_name()])?;
    }
    let mut spares = Spares::default();
    for &(segment, size) in &scan.spares {
        let (file, direct) =
            open_for_writing(disk, &segment.path(&options.dir), options.direct, 0)?;
        spares.ready.push_back(OpenSegment {
            segment,
            file,
            size,
            direct,
        });
    }
    let newest = spares
        .ready
        .back()
        .map(|spare| spare.segment)
        .or(scan.segments.last().map(|used| used.segment));
    spares.next_sequence = newest.map_or(1, |segment| segment.sequence + 1);
    Ok(spares)
}

fn open_newest(disk: &dyn Disk, options: &Options, scan: &Scan) -> Result<OpenSegment, WalError> {
    let newest = scan.segments.last().expect("a scan has a segment");
    let path = newest.segment.path(&options.dir);
    // A full segment has no block for the trial write; nothing will be written to it either.
    let room = newest.end + BLOCK_BYTES as u64 <= newest.size;
    let (file, direct) = open_for_writing(disk, &path, options.direct && room, newest.end)?;
    Ok(OpenSegment {
        segment: newest.segment,
        file,
        size: newest.size,
        direct: direct || !room,
    })
}

fn recovered(scan: &Scan, direct: bool) -> Recovered {
    Recovered {
        metadata: scan.state.metadata.clone(),
        hard_state: scan.state.hard_state,
        mark: scan.state.mark.clone(),
        last_index: scan.state.last_index,
        cut: scan
            .cut
            .as_ref()
            .map(|cut| (cut.segment.file_name(), cut.from, cut.to - cut.from)),
        direct,
    }
}

pub(crate) fn replay(disk: Arc<dyn Disk>, options: &Options, scan: &mut Scan) -> Replay {
    Replay {
        disk,
        dir: options.dir.clone(),
        segments: std::mem::take(&mut scan.segments),
        rewrites: std::mem::take(&mut scan.rewrites),
        next_index: scan.state.mark_index() + 1,
        last_index: scan.state.last_index,
        ordinal: 0,
        offset: 0,
        chain: None,
        reader: None,
    }
}
