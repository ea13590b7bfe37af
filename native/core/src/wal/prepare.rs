//! The thread that prepares segments: one zeroed spare is always ready, so that rolling to it costs
//! the writer no file operation, and released segments are recycled or removed.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::PoisonError;

use super::aligned::AlignedBuffer;
use super::disk::{Access, Disk, DiskFile};
use super::error::WalError;
use super::segment::{SegmentId, TEMPORARY_SUFFIX};
use super::shared::{FLAG_SPACE_LOW, Shared, lock, wait};

/// Zeros are written this much at a time, so that a sync of the log waits for no more than one of them.
const ZERO_BYTES: usize = 256 << 10;
/// Released segments kept as they are, to be zeroed when a spare is needed.
const POOL_MAX: usize = 1;

/// A segment open for writing.
pub(crate) struct OpenSegment {
    pub segment: SegmentId,
    pub file: Box<dyn DiskFile>,
    pub size: u64,
    pub direct: bool,
}

/// A segment that the log needs no more.
pub(crate) struct Released {
    pub segment: SegmentId,
    pub size: u64,
}

/// State between writer and preparer.
#[derive(Default)]
pub(crate) struct Spares {
    pub ready: VecDeque<OpenSegment>,
    pub released: VecDeque<Released>,
    /// Temporary files of full size, not zero.
    pool: Vec<PathBuf>,
    pub next_sequence: u64,
    /// Why the last attempt failed; the disk is full.
    no_space: Option<WalError>,
    closing: bool,
}

impl Shared {
    /// The next spare; waits for one that is being made.
    pub fn take_spare(&self) -> Result<OpenSegment, WalError> {
        let mut spares = lock(&self.spares);
        loop {
            if let Some(spare) = spares.ready.pop_front() {
                self.spares_changed.notify_all();
                return Ok(spare);
            }
            if let Some(error) = spares.no_space.clone().or_else(|| self.failure()) {
                return Err(error);
            }
            spares = wait(&self.spares_changed, spares);
        }
    }

    pub fn give_released(&self, released: Released) {
        lock(&self.spares).released.push_back(released);
        self.spares_changed.notify_all();
    }

    /// Ends the preparer; a segment half made is left behind as a temporary file.
    pub fn close_spares(&self) {
        lock(&self.spares).closing = true;
        self.spares_changed.notify_all();
    }

    fn closing(&self) -> bool {
        lock(&self.spares).closing
    }
}

enum Task {
    Release(Released),
    Prepare {
        sequence: u64,
        recycled: Option<PathBuf>,
    },
}

/// The preparer's thread.
pub(crate) fn run(shared: &Arc<Shared>) {
    while let Some(task) = next_task(shared) {
        let done = match task {
            Task::Release(released) => retire(shared, &released),
            Task::Prepare { sequence, recycled } => prepare_spare(shared, sequence, recycled),
        };
        if let Err(error) = done {
            shared.fail(error);
            return;
        }
    }
}

/// Waits for something to do; `None` at the end. On a full disk it comes back from time to time.
fn next_task(shared: &Shared) -> Option<Task> {
    let mut spares = lock(&shared.spares);
    let mut rested = spares.no_space.is_none();
    loop {
        if shared.failed() {
            return None;
        }
        if let Some(released) = spares.released.pop_front() {
            return Some(Task::Release(released));
        }
        if spares.closing {
            return None;
        }
        let can_try = rested || !spares.pool.is_empty();
        if spares.ready.is_empty() && can_try {
            let sequence = spares.next_sequence;
            return Some(Task::Prepare {
                sequence,
                recycled: spares.pool.pop(),
            });
        }
        if rested {
            spares = wait(&shared.spares_changed, spares);
        } else {
            let waited = shared
                .spares_changed
                .wait_timeout(spares, shared.options.space_retry);
            let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            spares = guard;
            rested = timeout.timed_out();
        }
    }
}

/// Renames a released segment for later use, or removes it.
fn retire(shared: &Shared, released: &Released) -> Result<(), WalError> {
    let (disk, dir) = (shared.disk.as_ref(), &shared.options.dir);
    let path = released.segment.path(dir);
    let keep =
        released.size == shared.options.segment_bytes && lock(&shared.spares).pool.len() < POOL_MAX;
    if keep {
        let temporary = temporary_path(dir, released.segment);
        disk.rename(&path, &temporary)
            .map_err(WalError::io("rename", &path))?;
        lock(&shared.spares).pool.push(temporary);
    } else {
        disk.remove(&path).map_err(WalError::io("remove", &path))?;
    }
    disk.sync_dir(dir).map_err(WalError::io("sync", dir))
}

fn prepare_spare(
    shared: &Shared,
    sequence: u64,
    recycled: Option<PathBuf>,
) -> Result<(), WalError> {
    let made = make_segment(
        shared.disk.as_ref(),
        &Plan {
            dir: &shared.options.dir,
            sequence,
            size: shared.options.segment_bytes,
            direct: shared.options.direct,
            recycled,
            stop: &|| shared.closing(),
            finish: &|_| Ok(()),
        },
    );
    let mut spares = lock(&shared.spares);
    match made {
        Ok(Some(spare)) => {
            spares.ready.push_back(spare);
            spares.next_sequence = sequence + 1;
            spares.no_space = None;
            shared.set_flag(FLAG_SPACE_LOW, false);
        }
        Ok(None) => {}
        Err(error) if error.is_no_space() => {
            spares.no_space = Some(error);
            shared.set_flag(FLAG_SPACE_LOW, true);
        }
        Err(error) => return Err(error),
    }
    shared.spares_changed.notify_all();
    Ok(())
}

fn temporary_path(dir: &Path, segment: SegmentId) -> PathBuf {
    dir.join(segment.file_name() + TEMPORARY_SUFFIX)
}

/// How a segment is made.
pub(crate) struct Plan<'a> {
    pub dir: &'a Path,
    pub sequence: u64,
    pub size: u64,
    pub direct: bool,
    /// A temporary file of the right size whose space is used again.
    pub recycled: Option<PathBuf>,
    /// Asked between writes.
    pub stop: &'a dyn Fn() -> bool,
    /// The last step before the segment gets its name.
    pub finish: &'a dyn Fn(&OpenSegment) -> Result<(), WalError>,
}

/// Makes a segment: zero all over and durable before it has its name. `None` if told to stop.
/// Where it fails, it leaves no file behind, for the space is needed.
pub(crate) fn make_segment(
    disk: &dyn Disk,
    plan: &Plan<'_>,
) -> Result<Option<OpenSegment>, WalError> {
    let id = disk.random().map_err(WalError::io("random", plan.dir))?;
    let segment = SegmentId {
        sequence: plan.sequence,
        id,
    };
    let temporary = temporary_path(plan.dir, segment);
    let filled = fill_temporary(disk, plan, segment, &temporary);
    if !matches!(filled, Ok(Some(_))) {
        // Whatever this says, the first error counts.
        let _ = disk.remove(&temporary);
    }
    let Some(open) = filled? else {
        return Ok(None);
    };
    (plan.finish)(&open)?;
    disk.rename(&temporary, &segment.path(plan.dir))
        .map_err(WalError::io("rename", &temporary))?;
    disk.sync_dir(plan.dir)
        .map_err(WalError::io("sync", plan.dir))?;
    Ok(Some(open))
}

fn fill_temporary(
    disk: &dyn Disk,
    plan: &Plan<'_>,
    segment: SegmentId,
    temporary: &Path,
) -> Result<Option<OpenSegment>, WalError> {
    let step = |operation| WalError::io(operation, temporary);
    if let Some(recycled) = &plan.recycled {
        disk.rename(recycled, temporary).map_err(step("rename"))?;
    } else {
        let file = disk
            .create(temporary, Access::Buffered)
            .map_err(step("create"))?;
        file.allocate(plan.size).map_err(step("allocate"))?;
    }
    let (file, direct) = open_for_writing(disk, temporary, plan.direct, 0)?;
    if !write_zeros(file.as_ref(), 0, plan.size, plan.stop).map_err(step("write"))? {
        return Ok(None);
    }
    file.sync_data().map_err(step("sync"))?;
    Ok(Some(OpenSegment {
        segment,
        file,
        size: plan.size,
        direct,
    }))
}

/// Opens past the page cache if that is wanted and works, else through it. Whether it works is only
/// known from a write: a block of zeros goes to `zero_at`, where there must be zeros anyway.
pub(crate) fn open_for_writing(
    disk: &dyn Disk,
    path: &Path,
    direct: bool,
    zero_at: u64,
) -> Result<(Box<dyn DiskFile>, bool), WalError> {
    if direct {
        match open_direct(disk, path, zero_at) {
            Ok(file) => return Ok((file, true)),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            Err(error) => return Err(WalError::io("open", path)(error)),
        }
    }
    Ok((
        disk.open(path, Access::Buffered)
            .map_err(WalError::io("open", path))?,
        false,
    ))
}

fn open_direct(disk: &dyn Disk, path: &Path, zero_at: u64) -> io::Result<Box<dyn DiskFile>> {
    let file = disk.open(path, Access::Direct)?;
    write_zeros(
        file.as_ref(),
        zero_at,
        zero_at + super::codec::BLOCK_BYTES as u64,
        &|| false,
    )?;
    Ok(file)
}

/// Writes zeros to `[from, to)`, both multiples of 4096; false if told to stop.
pub(crate) fn write_zeros(
    file: &dyn DiskFile,
    from: u64,
    to: u64,
    stop: &dyn Fn() -> bool,
) -> io::Result<bool> {
    let mut zeros = AlignedBuffer::new(ZERO_BYTES.min((to - from) as usize));
    zeros.set_len(zeros.capacity());
    let mut at = from;
    while at < to {
        if stop() {
            return Ok(false);
        }
        let length = (zeros.len() as u64).min(to - at) as usize;
        file.write_at(&zeros.as_ref()[..length], at)?;
        at += length as u64;
    }
    Ok(true)
}
