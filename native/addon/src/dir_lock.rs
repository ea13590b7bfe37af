//! Conversions for `etcd_core::dir_lock`.

use napi::bindgen_prelude::{Error, Result};
use napi_derive::napi;
use std::path::Path;

/// A held lock; it lasts until `release` or the end of the process.
#[napi]
pub struct DirLock {
    held: Option<etcd_core::dir_lock::DirLock>,
}

#[napi]
impl DirLock {
    /// Locks the file at `path`; null when another process holds it.
    #[napi(factory)]
    pub fn acquire(path: String) -> Result<DirLock> {
        match etcd_core::dir_lock::try_lock(Path::new(&path)) {
            Ok(held) => Ok(DirLock { held }),
            Err(error) => Err(Error::from_reason(format!("lock {path}: {error}"))),
        }
    }

    /// Whether the lock is held by this object.
    #[napi(getter)]
    pub fn held(&self) -> bool {
        self.held.is_some()
    }

    #[napi]
    pub fn release(&mut self) {
        self.held = None;
    }
}
