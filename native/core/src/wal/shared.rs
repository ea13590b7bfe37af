//! What the log's threads and its caller share.
//!
//! The caller appends into the newest chunk of a queue; the writer thread takes chunks off its other end,
//! so everything that comes while a sync runs goes together in the next one. The caller learns of
//! progress by [`Shared::poll`] after a wake-up; at most one wake-up is outstanding.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::aligned::AlignedBuffer;
use super::codec::{BATCH_HEAD_BYTES, BLOCK_BYTES};
use super::disk::Disk;
use super::error::WalError;
use super::prepare::Spares;
use super::stats::Stats;

/// A buffer starts with this size and doubles up to `batch_bytes_max`.
const BUFFER_BYTES_MIN: usize = 64 << 10;
/// Buffers kept for further batches.
const BUFFERS_KEPT_MAX: usize = 4;

/// How a log is kept.
#[derive(Clone, Debug)]
pub struct Options {
    pub dir: PathBuf,
    /// Size of a segment; a batch that needs more gets a larger one.
    pub segment_bytes: u64,
    /// Appends go together up to this size; one append alone may be larger.
    pub batch_bytes_max: usize,
    /// Answer before the disk has it: `--unsafe-no-fsync`.
    pub no_fsync: bool,
    /// Try to write past the page cache.
    pub direct: bool,
    /// How long the writer looks for more work before it sleeps.
    pub spin: Duration,
    /// Between attempts to prepare a segment on a full disk.
    pub space_retry: Duration,
}

impl Options {
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes: 64 << 20,
            batch_bytes_max: 4 << 20,
            no_fsync: false,
            direct: true,
            spin: Duration::ZERO,
            space_retry: Duration::from_secs(1),
        }
    }

    pub(crate) fn check(&self) -> Result<(), WalError> {
        let whole = self.segment_bytes.is_multiple_of(BLOCK_BYTES as u64);
        if !whole || self.segment_bytes < 4 * BLOCK_BYTES as u64 {
            return Err(WalError::Invalid {
                reason: "segment size must be a multiple of 4096, at least 16384",
            });
        }
        Ok(())
    }
}

/// Appends that go to disk together.
pub(crate) struct Chunk {
    /// Room for the batch head, then records.
    pub buffer: AlignedBuffer,
    /// Token of the newest append in it.
    pub token: u64,
}

#[derive(Default)]
pub(crate) struct Queue {
    chunks: VecDeque<Chunk>,
    free: Vec<AlignedBuffer>,
    queued_bytes: usize,
    release: Option<u64>,
    closing: bool,
    /// Somebody holds what was taken, the writer's thread or a caller that writes by itself, and has not done with it.
    busy: bool,
    /// The writer sleeps and must be woken.
    parked: bool,
}

/// What the writer has to do next.
pub(crate) enum Work {
    Write(Chunk),
    Release(u64),
    Close,
}

/// Called on the log's threads when [`Shared::poll`] has news; must not block.
pub type Notify = Box<dyn Fn() + Send + Sync>;

/// Bits of [`Progress::flags`].
pub const FLAG_FAILED: u32 = 1;
/// No spare segment could be made: the disk is full.
pub const FLAG_SPACE_LOW: u32 = 2;

/// What `poll` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Everything up to this token is on disk.
    pub durable: u64,
    pub flags: u32,
}

pub(crate) struct Shared {
    pub disk: Arc<dyn Disk>,
    pub options: Options,
    pub stats: Stats,
    pub spares: Mutex<Spares>,
    pub spares_changed: Condvar,
    queue: Mutex<Queue>,
    queue_changed: Condvar,
    /// Counts changes of the queue, for the spinning writer.
    queue_version: AtomicU64,
    durable: AtomicU64,
    flags: AtomicU32,
    wake_pending: AtomicBool,
    notify: Notify,
    failure: Mutex<Option<WalError>>,
}

/// A lock whose holder panicked is of no further interest: a panic aborts the process.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub fn new(disk: Arc<dyn Disk>, options: Options, spares: Spares, notify: Notify) -> Self {
        Self {
            disk,
            options,
            stats: Stats::default(),
            spares: Mutex::new(spares),
            spares_changed: Condvar::new(),
            queue: Mutex::new(Queue::default()),
            queue_changed: Condvar::new(),
            queue_version: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            flags: AtomicU32::new(0),
            wake_pending: AtomicBool::new(false),
            notify,
            failure: Mutex::new(None),
        }
    }

    /// Queues records; returns the bytes that wait. After a failure they are dropped.
    pub fn append(&self, records: &[u8], token: u64) -> usize {
        let mut queue = lock(&self.queue);
        if self.failed() || queue.closing {
            return queue.queued_bytes;
        }
        queue.push(records, token, self.options.batch_bytes_max);
        let waiting = queue.queued_bytes;
        self.wake_writer(queue);
        waiting
    }

    /// A chunk for a caller who writes `records` itself. None: the log has something else to do first.
    pub fn claim(&self, records: &[u8], token: u64) -> Option<Chunk> {
        let mut queue = lock(&self.queue);
        if !queue.rests() || self.failed() {
            return None;
        }
        queue.busy = true;
        queue.push(records, token, self.options.batch_bytes_max);
        match queue.take() {
            Some(Work::Write(chunk)) => Some(chunk),
            _ => unreachable!("a chunk was pushed"),
        }
    }

    /// Ends a claim; the chunk is durable, or goes to the writer's thread.
    pub fn end_claim(&self, chunk: Chunk, done: bool) {
        if done {
            self.durable.store(chunk.token, Ordering::Release);
        }
        let mut queue = lock(&self.queue);
        queue.busy = false;
        if done {
            queue.keep(chunk.buffer, self.options.batch_bytes_max);
        } else {
            queue.queued_bytes += chunk.buffer.len() - BATCH_HEAD_BYTES;
            queue.chunks.push_front(chunk);
            self.wake_writer(queue);
        }
    }

    /// Ends the claim of a chunk that could not be written.
    pub fn drop_claim(&self) {
        let mut queue = lock(&self.queue);
        queue.busy = false;
        self.wake_writer(queue);
    }

    pub fn release(&self, index: u64) {
        let mut queue = lock(&self.queue);
        queue.release = Some(queue.release.unwrap_or(0).max(index));
        self.wake_writer(queue);
    }

    /// Lets the writer finish what is queued, and then end.
    pub fn close_queue(&self) {
        let mut queue = lock(&self.queue);
        queue.closing = true;
        self.wake_writer(queue);
    }

    fn wake_writer(&self, mut queue: MutexGuard<'_, Queue>) {
        self.queue_version.fetch_add(1, Ordering::Release);
        if std::mem::take(&mut queue.parked) {
            drop(queue);
            self.queue_changed.notify_one();
        }
    }

    /// Waits for work.
    pub fn next_work(&self) -> Work {
        let mut queue = lock(&self.queue);
        queue.busy = false;
        let mut spun = self.options.spin.is_zero();
        loop {
            // What a caller has claimed comes before all else.
            if !queue.busy
                && let Some(work) = queue.take()
            {
                queue.busy = true;
                return work;
            }
            if spun {
                queue.parked = true;
                queue = wait(&self.queue_changed, queue);
            } else {
                let seen = self.queue_version.load(Ordering::Acquire);
                drop(queue);
                self.spin_until_change(seen);
                spun = true;
                queue = lock(&self.queue);
            }
        }
    }

    fn spin_until_change(&self, seen: u64) {
        let start = Instant::now();
        while self.queue_version.load(Ordering::Acquire) == seen
            && start.elapsed() < self.options.spin
        {
            std::hint::spin_loop();
        }
    }

    /// The chunk is on disk; its buffer may be used again.
    pub fn written(&self, chunk: Chunk) {
        self.durable.store(chunk.token, Ordering::Release);
        self.wake_caller();
        lock(&self.queue).keep(chunk.buffer, self.options.batch_bytes_max);
    }

    /// Nothing is acknowledged from here on.
    pub fn fail(&self, error: WalError) {
        let mut failure = lock(&self.failure);
        if failure.is_none() {
            *failure = Some(error);
            self.set_flag(FLAG_FAILED, true);
        }
        drop(failure);
        // A writer that waits for a spare has looked for a failure under this lock: without it the call could come
        // between its look and its sleep, and nobody would wake it.
        let spares = lock(&self.spares);
        self.spares_changed.notify_all();
        drop(spares);
    }

    pub fn failure(&self) -> Option<WalError> {
        lock(&self.failure).clone()
    }

    pub fn failed(&self) -> bool {
        self.flags.load(Ordering::Acquire) & FLAG_FAILED != 0
    }

    /// Sets or clears a flag, and tells the caller if that changes it.
    pub fn set_flag(&self, flag: u32, on: bool) {
        let old = if on {
            self.flags.fetch_or(flag, Ordering::AcqRel)
        } else {
            self.flags.fetch_and(!flag, Ordering::AcqRel)
        };
        if (old & flag != 0) != on {
            self.wake_caller();
        }
    }

    fn wake_caller(&self) {
        if !self.wake_pending.swap(true, Ordering::AcqRel) {
            (self.notify)();
        }
    }

    /// How far the log is; a change after this call leads to another wake-up.
    pub fn poll(&self) -> Progress {
        self.wake_pending.swap(false, Ordering::AcqRel);
        Progress {
            durable: self.durable.load(Ordering::Acquire),
            flags: self.flags.load(Ordering::Acquire),
        }
    }
}

impl Queue {
    fn push(&mut self, records: &[u8], token: u64, batch_bytes_max: usize) {
        let room = batch_bytes_max.saturating_sub(records.len());
        if let Some(chunk) = self
            .chunks
            .back_mut()
            .filter(|chunk| chunk.buffer.len() <= room)
        {
            chunk.buffer.extend(records);
            chunk.token = token;
        } else {
            let room = BATCH_HEAD_BYTES + records.len();
            let mut buffer = self
                .free
                .pop()
                .unwrap_or_else(|| AlignedBuffer::new(room.max(BUFFER_BYTES_MIN)));
            buffer.set_len(BATCH_HEAD_BYTES);
            buffer.extend(records);
            self.chunks.push_back(Chunk { buffer, token });
        }
        self.queued_bytes += records.len();
    }

    /// Nothing waits and nothing is under way.
    fn rests(&self) -> bool {
        !self.busy && !self.closing && self.chunks.is_empty() && self.release.is_none()
    }

    fn keep(&mut self, buffer: AlignedBuffer, bytes_max: usize) {
        if self.free.len() < BUFFERS_KEPT_MAX && buffer.capacity() <= bytes_max {
            self.free.push(buffer);
        }
    }

    fn take(&mut self) -> Option<Work> {
        if let Some(chunk) = self.chunks.pop_front() {
            self.queued_bytes -= chunk.buffer.len() - BATCH_HEAD_BYTES;
            return Some(Work::Write(chunk));
        }
        if let Some(index) = self.release.take() {
            return Some(Work::Release(index));
        }
        self.closing.then_some(Work::Close)
    }
}
