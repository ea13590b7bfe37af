//! Entries records: a whole entry batch each.

use super::record::{Kind, Malformed, Record, SAFE_INTEGER_MAX, put_record, u32_at, u64_at};

/// Bytes of an entries record's data before `ends`.
pub const ENTRIES_HEAD_BYTES: usize = 16;

/// Appends an entries record. `ends` are positions in `bytes`, as in EntryBatch.
pub fn put_entries(
    out: &mut Vec<u8>,
    term: u64,
    first_index: u64,
    ends: &[u32],
    types: &[u8],
    bytes: &[u8],
) {
    assert!(
        !ends.is_empty() && ends.len() == types.len(),
        "entries: ends and types"
    );
    let mut head = [0; ENTRIES_HEAD_BYTES];
    head[..8].copy_from_slice(&term.to_le_bytes());
    head[8..12].copy_from_slice(&(ends.len() as u32).to_le_bytes());
    head[12..].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
    let ends: Vec<u8> = ends.iter().flat_map(|end| end.to_le_bytes()).collect();
    put_record(
        out,
        Kind::Entries,
        0,
        first_index,
        &[&head, &ends, types, bytes],
    );
}

/// The data of an entries record, checked.
#[derive(Clone, Copy, Debug)]
pub struct Entries<'a> {
    pub term: u64,
    pub first_index: u64,
    /// u32 each, little-endian.
    ends: &'a [u8],
    pub types: &'a [u8],
    pub bytes: &'a [u8],
}

impl<'a> Entries<'a> {
    pub fn read(record: &Record<'a>) -> Result<Self, Malformed> {
        let data = record.data;
        if data.len() < ENTRIES_HEAD_BYTES {
            return Err(Malformed("entries cut short"));
        }
        let (term, count, size) = (
            u64_at(data, 0),
            u32_at(data, 8) as usize,
            u32_at(data, 12) as usize,
        );
        let rest = &data[ENTRIES_HEAD_BYTES..];
        if count == 0 || count > rest.len() / 5 || rest.len() != count * 5 + size {
            return Err(Malformed("entries count"));
        }
        if term > SAFE_INTEGER_MAX
            || record.index == 0
            || record.index + count as u64 > SAFE_INTEGER_MAX
        {
            return Err(Malformed("entries term or index"));
        }
        let (ends, rest) = rest.split_at(count * 4);
        let (types, bytes) = rest.split_at(count);
        let entries = Self {
            term,
            first_index: record.index,
            ends,
            types,
            bytes,
        };
        let mut last = 0;
        for i in 0..count {
            let end = entries.end(i);
            if end < last {
                return Err(Malformed("entries ends"));
            }
            last = end;
        }
        if last != size {
            return Err(Malformed("entries ends"));
        }
        Ok(entries)
    }

    fn end(&self, i: usize) -> usize {
        u32_at(self.ends, i * 4) as usize
    }

    pub fn count(&self) -> usize {
        self.types.len()
    }

    pub fn last_index(&self) -> u64 {
        self.first_index + self.count() as u64 - 1
    }

    /// Data of the entry with this index.
    #[cfg(test)]
    pub fn entry(&self, index: u64) -> &'a [u8] {
        let i = (index - self.first_index) as usize;
        let start = if i == 0 { 0 } else { self.end(i - 1) };
        &self.bytes[start..self.end(i)]
    }

    /// Appends the entries `first..=last` as a record of their own.
    pub fn put_slice(&self, out: &mut Vec<u8>, first: u64, last: u64) {
        let (lo, hi) = (
            (first - self.first_index) as usize,
            (last - self.first_index) as usize + 1,
        );
        let start = if lo == 0 { 0 } else { self.end(lo - 1) };
        let ends: Vec<u32> = (lo..hi).map(|i| (self.end(i) - start) as u32).collect();
        put_entries(
            out,
            self.term,
            first,
            &ends,
            &self.types[lo..hi],
            &self.bytes[start..self.end(hi - 1)],
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::codec::record_at;

    #[test]
    fn a_slice_of_entries_is_a_record_of_its_own() {
        let records = {
            let mut out = Vec::new();
            put_entries(&mut out, 5, 10, &[2, 2, 8], &[0, 1, 0], b"abcdefgh");
            out
        };
        let whole = Entries::read(&record_at(&records, 0).unwrap()).unwrap();
        let mut out = Vec::new();
        whole.put_slice(&mut out, 11, 12);
        let part = Entries::read(&record_at(&out, 0).unwrap()).unwrap();
        assert_eq!(
            (part.first_index, part.last_index(), part.term),
            (11, 12, 5)
        );
        assert_eq!((part.entry(11), part.entry(12)), (&b""[..], &b"cdefgh"[..]));
        assert_eq!(part.types, &[1, 0]);
    }
}
