//! A disk in memory that forgets what was not synced, sector by sector, and fails on request.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::random::Random;
use crate::wal::codec::SECTOR_BYTES;
use crate::wal::disk::{Access, Disk, DiskFile};
use crate::wal::shared::lock;

#[derive(Clone, Default)]
struct Inode {
    /// What a reader sees.
    data: Vec<u8>,
    /// What survives for certain.
    durable: Vec<u8>,
    /// Sectors written since the last sync, in order; any of them may survive.
    pending: Vec<(usize, Vec<u8>)>,
    /// Sectors that were ever written, not only allocated.
    written: BTreeSet<usize>,
}

#[derive(Clone)]
enum DirChange {
    Link(String, u64),
    Rename(String, String),
    Remove(String),
}

/// What goes wrong, and when.
#[derive(Clone, Default)]
pub struct Faults {
    /// The sync with this number fails (counted from 0).
    pub sync: Option<u64>,
    /// The write with this number fails with this error.
    pub write: Option<(u64, i32)>,
    /// Bytes that files may take in all.
    pub capacity: Option<u64>,
    /// Direct access is refused.
    pub no_direct: bool,
    /// The folder cannot be listed, for this reason.
    pub list: Option<i32>,
    /// At the operation with this number an image of the disk is kept.
    pub capture: Option<u64>,
}

#[derive(Clone, Default)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    dir_changes: Vec<DirChange>,
    next_inode: u64,
    locked: bool,
    faults: Faults,
    syncs: u64,
    writes: u64,
    operations: u64,
    captured: Option<Box<State>>,
    /// Names that were opened with direct access, for tests of it.
    direct: BTreeSet<String>,
}

type OnCapture = Box<dyn FnMut() + Send>;

#[derive(Clone, Default)]
pub struct MemDisk {
    state: Arc<Mutex<State>>,
    /// Called just before the image is taken; must not use the disk.
    on_capture: Arc<Mutex<Option<OnCapture>>>,
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .expect("a file name")
        .to_string_lossy()
        .into_owned()
}

fn apply(names: &mut BTreeMap<String, u64>, change: &DirChange) {
    match change {
        DirChange::Link(name, inode) => {
            names.insert(name.clone(), *inode);
        }
        DirChange::Rename(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
        DirChange::Remove(name) => {
            names.remove(name);
        }
    }
}

impl State {
    fn change_dir(&mut self, change: DirChange) {
        apply(&mut self.names, &change);
        self.dir_changes.push(change);
    }

    fn used(&self) -> u64 {
        self.names
            .values()
            .map(|inode| self.inodes[inode].data.len() as u64)
            .sum()
    }

    /// What a power cut leaves: synced data, any of the unsynced sectors, some first part of the
    /// changes of the directory.
    fn crashed(&self, random: &mut Random) -> State {
        let mut after = State {
            next_inode: self.next_inode,
            ..State::default()
        };
        let mut names = self.durable_names.clone();
        let survive = random.below(self.dir_changes.len() as u64 + 1) as usize;
        for change in &self.dir_changes[..survive] {
            apply(&mut names, change);
        }
        for (&number, inode) in &self.inodes {
            let mut data = inode.durable.clone();
            let chance = random.below(101);
            for (at, sector) in &inode.pending {
                if random.below(100) < chance {
                    data.resize(data.len().max(at + sector.len()), 0);
                    data[*at..at + sector.len()].copy_from_slice(sector);
                }
            }
            after.inodes.insert(
                number,
                Inode {
                    durable: data.clone(),
                    data,
                    ..Inode::default()
                },
            );
        }
        after.names = names.clone();
        after.durable_names = names;
        after
    }
}

impl MemDisk {
    pub fn set_faults(&self, faults: Faults) {
        lock(&self.state).faults = faults;
    }

    pub fn counts(&self) -> (u64, u64) {
        let state = lock(&self.state);
        (state.writes, state.syncs)
    }

    pub fn operations(&self) -> u64 {
        lock(&self.state).operations
    }

    pub fn on_capture(&self, call: OnCapture) {
        *lock(&self.on_capture) = Some(call);
    }

    /// The disk as a power cut at the captured moment leaves it.
    pub fn captured(&self, random: &mut Random) -> Option<MemDisk> {
        let state = lock(&self.state);
        state
            .captured
            .as_ref()
            .map(|captured| Self::of(captured.crashed(random)))
    }

    /// The disk as a power cut now leaves it.
    pub fn crashed(&self, random: &mut Random) -> MemDisk {
        Self::of(lock(&self.state).crashed(random))
    }

    /// A copy to be damaged, with everything durable.
    pub fn copy(&self) -> MemDisk {
        let mut state = lock(&self.state).clone();
        (state.locked, state.faults) = (false, Faults::default());
        Self::of(state)
    }

    fn of(state: State) -> Self {
        Self {
            state: Arc::new(Mutex::new(state)),
            on_capture: Arc::default(),
        }
    }

    pub fn names(&self) -> Vec<String> {
        lock(&self.state).names.keys().cloned().collect()
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let state = lock(&self.state);
        state.inodes[&state.names[name]].data.clone()
    }

    pub fn set_bytes(&self, name: &str, bytes: Vec<u8>) {
        let mut state = lock(&self.state);
        let inode = state.names[name];
        state.inodes.insert(
            inode,
            Inode {
                durable: bytes.clone(),
                data: bytes,
                ..Inode::default()
            },
        );
    }

    /// How many bytes of a file were written at least once.
    pub fn written_bytes(&self, name: &str) -> usize {
        let state = lock(&self.state);
        state.inodes[&state.names[name]].written.len() * SECTOR_BYTES
    }

    pub fn opened_direct(&self) -> usize {
        lock(&self.state).direct.len()
    }

    fn operation(&self) {
        let mut state = lock(&self.state);
        let number = state.operations;
        state.operations += 1;
        if state.faults.capture == Some(number) && state.captured.is_none() {
            // What was acknowledged is asked for first: another thread may go on meanwhile.
            if let Some(call) = lock(&self.on_capture).as_mut() {
                call();
            }
            let image = State {
                captured: None,
                ..state.clone()
            };
            state.captured = Some(Box::new(image));
        }
    }

    fn file(&self, inode: u64, direct: bool) -> Box<dyn DiskFile> {
        Box::new(MemFile {
            disk: self.clone(),
            inode,
            direct,
        })
    }
}

struct MemLock(MemDisk);

impl Drop for MemLock {
    fn drop(&mut self) {
        lock(&self.0.state).locked = false;
    }
}

impl Disk for MemDisk {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, _dir: &Path) -> io::Result<Vec<String>> {
        if let Some(error) = lock(&self.state).faults.list {
            return Err(io::Error::from_raw_os_error(error));
        }
        Ok(self.names())
    }

    fn lock_dir(&self, _dir: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let mut state = lock(&self.state);
        if std::mem::replace(&mut state.locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(MemLock(self.clone())))
    }

    fn create(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        self.operation();
        let mut state = lock(&self.state);
        assert!(!state.names.contains_key(&name_of(path)), "create: exists");
        let inode = state.next_inode;
        state.next_inode += 1;
        state.inodes.insert(inode, Inode::default());
        state.change_dir(DirChange::Link(name_of(path), inode));
        drop(state);
        self.open(path, access)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut state = lock(&self.state);
        if access == Access::Direct {
            if state.faults.no_direct {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            state.direct.insert(name_of(path));
        }
        let inode = *state
            .names
            .get(&name_of(path))
            .ok_or(io::ErrorKind::NotFound)?;
        drop(state);
        Ok(self.file(inode, access == Access::Direct))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operation();
        let mut state = lock(&self.state);
        assert!(state.names.contains_key(&name_of(from)), "rename: absent");
        state.change_dir(DirChange::Rename(name_of(from), name_of(to)));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.operation();
        let mut state = lock(&self.state);
        if !state.names.contains_key(&name_of(path)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_dir(DirChange::Remove(name_of(path)));
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        self.operation();
        let mut state = lock(&self.state);
        state.durable_names = state.names.clone();
        state.dir_changes.clear();
        Ok(())
    }

    fn random(&self) -> io::Result<u32> {
        Ok((lock(&self.state).operations as u32).wrapping_mul(0x9e37_79b9) ^ 0x5bd1)
    }
}

struct MemFile {
    disk: MemDisk,
    inode: u64,
    direct: bool,
}

impl MemFile {
    fn grow(&self, state: &mut State, size: usize) -> io::Result<()> {
        let old = state.inodes[&self.inode].data.len();
        let more = size.saturating_sub(old) as u64;
        if state
            .faults
            .capacity
            .is_some_and(|capacity| more > 0 && state.used() + more > capacity)
        {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        let inode = state.inodes.get_mut(&self.inode).expect("an inode");
        inode.data.resize(size.max(old), 0);
        Ok(())
    }
}

impl DiskFile for MemFile {
    fn size(&self) -> io::Result<u64> {
        Ok(lock(&self.disk.state).inodes[&self.inode].data.len() as u64)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let state = lock(&self.disk.state);
        let data = &state.inodes[&self.inode].data;
        let from = offset as usize;
        into.copy_from_slice(
            data.get(from..from + into.len())
                .ok_or(io::ErrorKind::UnexpectedEof)?,
        );
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.direct {
            assert_eq!(
                bytes.as_ptr() as usize % 4096,
                0,
                "direct write from unaligned memory"
            );
            assert_eq!(
                (bytes.len() % 4096, offset % 4096),
                (0, 0),
                "direct write of unaligned extent"
            );
        }
        self.disk.operation();
        let mut state = lock(&self.disk.state);
        let number = state.writes;
        state.writes += 1;
        if let Some((at, error)) = state.faults.write
            && at == number
        {
            return Err(io::Error::from_raw_os_error(error));
        }
        self.grow(&mut state, offset as usize + bytes.len())?;
        let inode = state.inodes.get_mut(&self.inode).expect("an inode");
        inode.data[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
        for (i, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
            inode
                .pending
                .push((offset as usize + i * SECTOR_BYTES, sector.to_vec()));
            inode.written.insert(offset as usize / SECTOR_BYTES + i);
        }
        Ok(())
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        self.disk.operation();
        let mut state = lock(&self.disk.state);
        self.grow(&mut state, size as usize)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.operation();
        let mut state = lock(&self.disk.state);
        let number = state.syncs;
        state.syncs += 1;
        if state.faults.sync == Some(number) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let inode = state.inodes.get_mut(&self.inode).expect("an inode");
        inode.durable = inode.data.clone();
        inode.pending.clear();
        Ok(())
    }
}
