//! Conversions for `etcd_core::environment`. `src/native/environment.ts` has the same names.

use etcd_core::environment;
use napi::bindgen_prelude::{Error, Result, Uint8ArraySlice};
use napi_derive::napi;
use std::path::Path;

/// Checks the LMDB file at `path`; what is wrong with it, or null.
#[napi]
pub fn environment_fault(path: String) -> Option<String> {
    environment::check_environment(Path::new(&path))
        .err()
        .map(|fault| fault.to_string())
}

/// Writes the checksums of entries behind their values; the sum of those of records.
#[napi]
pub fn environment_stamp(
    keys: &[u8],
    mut values: Uint8ArraySlice<'_>,
    table: &[u32],
) -> Result<f64> {
    // SAFETY: the block is the caller's alone, and no JavaScript runs while it is written here.
    let values = unsafe { values.as_mut() };
    match environment::stamp(keys, values, table) {
        Some(sum) => Ok(sum as f64),
        None => Err(Error::from_reason(
            "an entry to be stamped is outside its block",
        )),
    }
}

/// The checksum of an entry whose stored value is `stored[..length]`; −1 when it is wrong.
#[napi]
pub fn environment_checksum(key: &[u8], stored: &[u8], length: u32) -> f64 {
    let checked = stored
        .get(..length as usize)
        .and_then(|stored| environment::split_checked(key, stored));
    checked.map_or(-1.0, |(_, checksum)| f64::from(checksum))
}
