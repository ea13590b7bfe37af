//! Single records: header, and the data of all kinds but entries.

use std::fmt;

/// Bytes of a record before its data.
pub const HEADER_BYTES: usize = 24;
/// No record, and no batch, is longer; a length beyond it is damage.
pub const RECORD_BYTES_MAX: usize = 1 << 30;
/// Indexes and terms are JavaScript numbers.
pub(super) const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;

const FORMAT_VERSION: u64 = 1;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Opens a batch; index = the batch's number.
    BatchHead = 1,
    /// Opens a segment; index = the last entry's index before it.
    SegmentHead = 2,
    /// Cluster and member ID, opaque here.
    Metadata = 3,
    HardState = 4,
    /// Entries up to index are in the store. With [`FLAG_INSTALL`] the log starts anew behind it.
    SnapshotMark = 5,
    /// One whole entry batch; index = that of its first entry.
    Entries = 6,
}

/// Of a snapshot mark: all entries before the mark are void, also those with a higher index.
const FLAG_INSTALL: u16 = 1;

impl Kind {
    fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            1 => Self::BatchHead,
            2 => Self::SegmentHead,
            3 => Self::Metadata,
            4 => Self::HardState,
            5 => Self::SnapshotMark,
            6 => Self::Entries,
            _ => return None,
        })
    }
}

/// Why bytes are not what the format says. Segment and offset are added by the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Raft's hard state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct HardState {
    pub term: u64,
    pub vote: u64,
    pub commit: u64,
}

/// Entries up to `index` are in the store, and the members were `conf_state` there.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SnapshotMark {
    pub index: u64,
    pub term: u64,
    /// The snapshot came from another member: the log starts anew behind it.
    pub install: bool,
    pub conf_state: Vec<u8>,
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// One record as read: a view of its batch.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub kind: Kind,
    pub flags: u16,
    pub index: u64,
    /// Without the padding.
    pub data: &'a [u8],
    /// Where in the batch the record starts.
    pub at: usize,
    /// Its whole length.
    pub length: usize,
}

/// Reads the record at `at` of `bytes` without looking at its CRC.
pub fn record_at(bytes: &[u8], at: usize) -> Result<Record<'_>, Malformed> {
    let rest = bytes
        .get(at..)
        .ok_or(Malformed("record outside its batch"))?;
    if rest.len() < HEADER_BYTES {
        return Err(Malformed("record header cut short"));
    }
    let length = u32_at(rest, 4) as usize;
    if length < HEADER_BYTES
        || length > rest.len()
        || length > RECORD_BYTES_MAX
        || !length.is_multiple_of(8)
    {
        return Err(Malformed("record length"));
    }
    let kind = Kind::from_u8(rest[8]).ok_or(Malformed("record kind"))?;
    let padding = rest[9] as usize;
    if padding > 7 || HEADER_BYTES + padding > length {
        return Err(Malformed("record padding"));
    }
    let index = u64_at(rest, 16);
    if index > SAFE_INTEGER_MAX {
        return Err(Malformed("record index"));
    }
    let data = &rest[HEADER_BYTES..length - padding];
    Ok(Record {
        kind,
        flags: u16_at(rest, 10),
        index,
        data,
        at,
        length,
    })
}

/// Appends a record whose CRC is filled in when its batch is sealed.
pub fn put_record(out: &mut Vec<u8>, kind: Kind, flags: u16, index: u64, parts: &[&[u8]]) {
    let data: usize = parts.iter().map(|part| part.len()).sum();
    let padding = (8 - data % 8) % 8;
    let length = HEADER_BYTES + data + padding;
    assert!(length <= RECORD_BYTES_MAX, "record too long");
    out.extend_from_slice(&0u32.to_le_bytes());
    out.extend_from_slice(&(length as u32).to_le_bytes());
    out.extend_from_slice(&[kind as u8, padding as u8]);
    out.extend_from_slice(&flags.to_le_bytes());
    out.extend_from_slice(&0u32.to_le_bytes());
    out.extend_from_slice(&index.to_le_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
    out.resize(out.len() + padding, 0);
}

pub fn put_hard_state(out: &mut Vec<u8>, state: &HardState) {
    let parts = [
        state.term.to_le_bytes(),
        state.vote.to_le_bytes(),
        state.commit.to_le_bytes(),
    ];
    put_record(
        out,
        Kind::HardState,
        0,
        0,
        &[&parts[0], &parts[1], &parts[2]],
    );
}

pub fn put_snapshot_mark(out: &mut Vec<u8>, mark: &SnapshotMark) {
    let flags = if mark.install { FLAG_INSTALL } else { 0 };
    put_record(
        out,
        Kind::SnapshotMark,
        flags,
        mark.index,
        &[&mark.term.to_le_bytes(), &mark.conf_state],
    );
}

/// The head of a segment of `segment_bytes`; `last_index` is the log's last index before it.
pub fn put_segment_head(out: &mut Vec<u8>, segment_bytes: u64, last_index: u64) {
    let parts = [FORMAT_VERSION.to_le_bytes(), segment_bytes.to_le_bytes()];
    put_record(
        out,
        Kind::SegmentHead,
        0,
        last_index,
        &[&parts[0], &parts[1]],
    );
}

pub fn read_hard_state(record: &Record<'_>) -> Result<HardState, Malformed> {
    if record.data.len() != 24 {
        return Err(Malformed("hard state length"));
    }
    let state = HardState {
        term: u64_at(record.data, 0),
        vote: u64_at(record.data, 8),
        commit: u64_at(record.data, 16),
    };
    if state.term > SAFE_INTEGER_MAX || state.commit > SAFE_INTEGER_MAX {
        return Err(Malformed("hard state term or commit"));
    }
    Ok(state)
}

pub fn read_snapshot_mark(record: &Record<'_>) -> Result<SnapshotMark, Malformed> {
    if record.data.len() < 8 {
        return Err(Malformed("snapshot mark length"));
    }
    let term = u64_at(record.data, 0);
    if term > SAFE_INTEGER_MAX {
        return Err(Malformed("snapshot mark term"));
    }
    let install = record.flags & FLAG_INSTALL != 0;
    Ok(SnapshotMark {
        index: record.index,
        term,
        install,
        conf_state: record.data[8..].to_vec(),
    })
}

/// A segment's size as its head says.
pub fn read_segment_head(record: &Record<'_>) -> Result<u64, Malformed> {
    if record.data.len() != 16 {
        return Err(Malformed("segment head length"));
    }
    if u64_at(record.data, 0) != FORMAT_VERSION {
        return Err(Malformed("segment format is of another version"));
    }
    Ok(u64_at(record.data, 8))
}

/// Walks the records after the head of a batch that `open_batch` has checked, or of an unsealed one.
pub fn for_each_record<'a, E>(
    records: &'a [u8],
    mut visit: impl FnMut(Record<'a>) -> Result<(), E>,
) -> Result<(), E>
where
    E: From<Malformed>,
{
    let mut at = 0;
    while at < records.len() {
        let record = record_at(records, at)?;
        at += record.length;
        visit(record)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_segment_heads_read_back() {
        let mark = SnapshotMark {
            index: 9,
            term: 2,
            install: true,
            conf_state: b"voters".to_vec(),
        };
        let mut out = Vec::new();
        put_snapshot_mark(&mut out, &mark);
        assert_eq!(read_snapshot_mark(&record_at(&out, 0).unwrap()), Ok(mark));
        out.clear();
        put_segment_head(&mut out, 65536, 17);
        let record = record_at(&out, 0).unwrap();
        assert_eq!((read_segment_head(&record), record.index), (Ok(65536), 17));
    }
}
