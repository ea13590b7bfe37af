//! A lock that keeps a second process off a data folder.
//!
//! `flock(2)` on a file that stays: the kernel drops the lock when the process ends, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

/// Holds the lock until it is dropped.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

/// Locks the file at `path`, making it if needed. `Ok(None)`: another process holds it.
pub fn try_lock(path: &Path) -> io::Result<Option<DirLock>> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(DirLock { _file: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_refuses_a_second_holder_and_is_free_once_dropped() {
        let path = std::env::temp_dir().join(format!("dir-lock-{}", std::process::id()));
        let held = try_lock(&path).expect("lock");
        assert!(held.is_some());
        assert!(try_lock(&path).expect("second").is_none());
        drop(held);
        assert!(try_lock(&path).expect("third").is_some());
        std::fs::remove_file(&path).expect("remove");
    }
}
