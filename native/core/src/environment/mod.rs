//! Checks an LMDB environment's file before LMDB maps it: every page that its trees reach, and the checksums and
//! digests that the backend stores beside etcd's data. LMDB itself has no checksums and trusts what it reads: a page
//! number or a length that has rotted leads it outside the file, which ends the process.
//!
//! Reads by `pread`, changes nothing, and knows nothing of transactions: nobody may write the file meanwhile.
//!
//! What the backend stores (`src/storage/backend/checks.ts`): each value ends in the CRC32C of key and value; the
//! database `checks` has `layout`, and `digests`: the consistent index, then of each bucket its name, the count of its
//! entries and the sum of their checksums. `consistent_index` and `term` of `meta` stand outside its digest.

mod digest;
mod page;
mod tree;

#[cfg(test)]
mod tests;

use digest::{Digest, Expected};
use page::{Meta, Tree};
use std::fmt;
use std::fs::File;
use std::path::Path;
use tree::Walk;

/// The version of what is written beside etcd's buckets.
pub const LAYOUT: &[u8] = b"1";
const CHECKS: &[u8] = b"checks";
const CHECKSUM_BYTES: usize = 4;

/// Why a file must not be used.
#[derive(Debug)]
pub enum Fault {
    /// Something in it is not as it was written.
    Damaged(String),
    /// It was written by another version of this server, or by another program.
    UnknownLayout(String),
    Io(std::io::Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(what) => write!(f, "it is damaged: {what}"),
            Self::UnknownLayout(what) => {
                write!(f, "its layout is not known to this version: {what}")
            }
            Self::Io(error) => write!(f, "it cannot be read: {error}"),
        }
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

pub(crate) fn damaged<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Damaged(what.into()))
}

/// What was read: entries of all buckets.
#[derive(Debug)]
pub struct Checked {
    pub entries: u64,
}

/// Checks the file; the path is that of `data.mdb`.
///
/// # Errors
/// The first fault found, with bucket, page and key where it has them.
pub fn check_environment(path: &Path) -> Result<Checked, Fault> {
    let file = File::open(path)?;
    let meta = Meta::choose(&file)?;
    let mut walk = Walk::new(&file, &meta);
    let mut buckets: Vec<(Vec<u8>, Tree)> = Vec::new();
    walk.tree("main", &meta.main, &mut |key, node| {
        // lmdb-js ends a database's name with a zero.
        let name = key.strip_suffix(&[0]).unwrap_or(key);
        buckets.push((name.to_vec(), node.tree()?));
        Ok(())
    })?;
    let expected = read_checks(&mut walk, &buckets)?;
    let mut entries = 0;
    for (name, tree) in buckets.iter().filter(|(name, _)| name != CHECKS) {
        entries += check_bucket(&mut walk, name, tree, &expected)?;
    }
    walk.free_pages(&meta.free)?;
    Ok(Checked { entries })
}

fn read_checks(walk: &mut Walk, buckets: &[(Vec<u8>, Tree)]) -> Result<Expected, Fault> {
    let Some((_, tree)) = buckets.iter().find(|(name, _)| name == CHECKS) else {
        return Err(Fault::UnknownLayout("it has no checksums".into()));
    };
    let mut layout: Option<Vec<u8>> = None;
    let mut digests: Option<Vec<u8>> = None;
    walk.tree("checks", tree, &mut |key, node| {
        let (value, _) = checked_value("checks", key, node.value)?;
        match key {
            b"layout" => layout = Some(value.to_vec()),
            b"digests" => digests = Some(value.to_vec()),
            _ => {}
        }
        Ok(())
    })?;
    match layout {
        Some(layout) if layout == LAYOUT => Expected::decode(digests.as_deref()),
        Some(layout) => Err(Fault::UnknownLayout(format!(
            "layout {}",
            layout.escape_ascii()
        ))),
        None => Err(Fault::UnknownLayout("it has no layout mark".into())),
    }
}

fn check_bucket(
    walk: &mut Walk,
    name: &[u8],
    tree: &Tree,
    expected: &Expected,
) -> Result<u64, Fault> {
    let bucket = name.escape_ascii().to_string();
    let mut found = Digest::default();
    let mut index = None;
    walk.tree(&bucket, tree, &mut |key, node| {
        let (value, checksum) = checked_value(&bucket, key, node.value)?;
        if name == b"meta" && (key == b"consistent_index" || key == b"term") {
            if key == b"consistent_index" {
                index = value.try_into().ok().map(u64::from_be_bytes);
            }
        } else {
            found.add(checksum);
        }
        Ok(())
    })?;
    expected.check(name, &bucket, &found)?;
    if name == b"meta" && index.unwrap_or(0) != expected.consistent_index {
        return damaged(format!(
            "bucket \"meta\" is of entry {}, its digest of entry {}",
            index.unwrap_or(0),
            expected.consistent_index
        ));
    }
    Ok(found.count)
}

/// The value without its checksum, and the checksum, which must be right.
fn checked_value<'a>(bucket: &str, key: &[u8], stored: &'a [u8]) -> Result<(&'a [u8], u32), Fault> {
    match split_checked(key, stored) {
        Some(parts) => Ok(parts),
        None => damaged(format!(
            "the entry \"{}\" of bucket \"{bucket}\" fails its checksum",
            key.escape_ascii()
        )),
    }
}

/// Takes a stored value apart; `None` when its checksum is not that of key and value.
#[must_use]
pub fn split_checked<'a>(key: &[u8], stored: &'a [u8]) -> Option<(&'a [u8], u32)> {
    let end = stored.len().checked_sub(CHECKSUM_BYTES)?;
    let (value, trailer) = stored.split_at(end);
    let checksum = entry_checksum(key, value);
    (trailer == checksum.to_le_bytes()).then_some((value, checksum))
}

/// The checksum of an entry: CRC32C over key and value.
#[must_use]
pub fn entry_checksum(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), value)
}

/// Writes the checksum of each entry behind its value and returns the sum of those that are records.
///
/// `table` has four numbers an entry: where its key starts in `keys`, the key's length (the top bit set: a record of
/// the `key` bucket), and where its value starts and ends in `values`; four bytes behind the end are the checksum's.
/// `None` when the table points outside.
pub fn stamp(keys: &[u8], values: &mut [u8], table: &[u32]) -> Option<u64> {
    const RECORD: u32 = 1 << 31;
    let mut sum = 0;
    for entry in table.chunks_exact(4) {
        let key_start = entry[0] as usize;
        let key = keys.get(key_start..key_start + (entry[1] & !RECORD) as usize)?;
        let (start, end) = (entry[2] as usize, entry[3] as usize);
        let checksum = entry_checksum(key, values.get(start..end)?);
        values
            .get_mut(end..end + CHECKSUM_BYTES)?
            .copy_from_slice(&checksum.to_le_bytes());
        if entry[1] & RECORD != 0 {
            sum += u64::from(checksum);
        }
    }
    Some(sum)
}
