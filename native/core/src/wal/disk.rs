//! The file layer: what the log asks of a disk, and the real one. Tests put a faulty one in its place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Through the page cache, read only.
    Read,
    /// Past the page cache; `InvalidInput` where the file system refuses.
    Direct,
    /// Through the page cache.
    Buffered,
}

/// A directory of files with the few operations that the log needs.
pub trait Disk: Send + Sync {
    /// Makes the directory (mode 0700) with its parents, durably.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Names of the files in a directory, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Keeps the directory from other processes until the guard is dropped; `WouldBlock` if another has it.
    fn lock_dir(&self, dir: &Path) -> io::Result<Box<dyn Send + Sync>>;
    /// Makes an empty file; it must not exist.
    fn create(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>>;
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in the directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Random bits for segment IDs.
    fn random(&self) -> io::Result<u32>;
}

/// One open file.
pub trait DiskFile: Send {
    fn size(&self) -> io::Result<u64>;
    /// Fills `into` or fails.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes` or fails.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Asks for space up to `size`; does nothing where that is not supported.
    fn allocate(&self, size: u64) -> io::Result<()>;
    /// fdatasync.
    fn sync_data(&self) -> io::Result<()>;
}

/// The disk of the operating system.
pub struct OsDisk;

impl Disk for OsDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        let parent = dir
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        self.create_dir(parent)?;
        fs::DirBuilder::new().mode(0o700).create(dir)?;
        self.sync_dir(parent)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(dir)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn lock_dir(&self, dir: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let dir = File::open(dir)?;
        dir.try_lock()?;
        Ok(Box::new(dir))
    }

    fn create(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(
            options(access).create_new(true).mode(0o600).open(path)?,
        ))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        if access == Access::Direct && cfg!(not(target_os = "linux")) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Box::new(options(access).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn random(&self) -> io::Result<u32> {
        let mut bytes = [0; 4];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }
}

fn options(access: Access) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(access != Access::Read);
    #[cfg(target_os = "linux")]
    if access == Access::Direct {
        options.custom_flags(libc::O_DIRECT);
    }
    options
}

impl DiskFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    #[cfg(target_os = "linux")]
    fn allocate(&self, size: u64) -> io::Result<()> {
        // SAFETY: the descriptor belongs to `self`, which lives across the call.
        if unsafe { libc::fallocate(self.as_raw_fd(), 0, 0, size as libc::off_t) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL | libc::EINTR) => Ok(()),
            _ => Err(error),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn allocate(&self, _size: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }
}

/// Whether the error says that the disk, or the owner's share of it, is full.
pub fn is_no_space(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT))
}
