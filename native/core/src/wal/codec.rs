//! Records and batches as they lie on disk. `src/storage/wal/record.ts` is the twin for records.
//!
//! A record, little-endian, its length a multiple of 8:
//!
//! ```text
//!  0 u32 crc      CRC32C of bytes 4.., continued from the record before it in the batch
//!  4 u32 length   of the whole record, this header and the padding included
//!  8 u8  kind     see [`Kind`]
//!  9 u8  padding  zero bytes at the end, 0..=7
//! 10 u16 flags
//! 12 u32 0
//! 16 u64 index    of the record's first entry, of a mark, or what the kind says
//! 24 data
//! ```
//!
//! A batch is what one `pwrite` and one `fdatasync` make durable: a [`Kind::BatchHead`] record, then
//! further records, then `0xff` up to the next 4 KiB. The head's CRC starts from segment ID, sequence
//! and offset, so that a block at the wrong place or left from another life of the file never counts,
//! and the head names the last CRC of the batch before it, across segments.
//!
//! No 512-byte sector of a batch is all zero: where the data would make one, everything behind the
//! first sector is XORed with a mask that the head names. A sector of zeros inside a batch is therefore
//! always one that was never written, which is what tells a torn batch from a damaged one.

use std::fmt;

/// Unit of writing: batches start and end at multiples of it.
pub const BLOCK_BYTES: usize = 4096;
/// What a disk writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;
/// Bytes of a record before its data.
pub const HEADER_BYTES: usize = 24;
/// Bytes of the record that opens each batch.
pub const BATCH_HEAD_BYTES: usize = HEADER_BYTES + 24;
/// Bytes of an entries record's data before `ends`.
pub const ENTRIES_HEAD_BYTES: usize = 16;
/// A record is never longer; a length beyond it is damage.
pub const RECORD_BYTES_MAX: usize = 1 << 30;
/// Indexes and terms are JavaScript numbers.
pub const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;

const BATCH_MAGIC: u32 = 0x5774_4531;
const PADDING_BYTE: u8 = 0xff;
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
pub const FLAG_INSTALL: u16 = 1;

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

/// Where a batch lies; its head's CRC starts from this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub segment_id: u32,
    pub sequence: u64,
    pub offset: u64,
}

impl Place {
    fn seed(&self) -> u32 {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&self.segment_id.to_le_bytes());
        bytes[4..12].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[12..].copy_from_slice(&self.offset.to_le_bytes());
        crc32c::crc32c(&bytes)
    }
}

/// What links a batch to the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Chain {
    /// Number of the next batch.
    pub number: u64,
    /// Last CRC of the batch before it.
    pub crc: u32,
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

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
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

/// `length` up to whole blocks.
pub fn padded(length: usize) -> usize {
    length.next_multiple_of(BLOCK_BYTES)
}

/// Whether all bytes are zero. Ordinary data is known by its first byte, long zeros go by `memcmp`.
pub fn is_zero(bytes: &[u8]) -> bool {
    static ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
    bytes
        .chunks(BLOCK_BYTES)
        .all(|chunk| chunk[0] == 0 && *chunk == ZEROS[..chunk.len()])
}

/// Completes a batch in place: `batch[..used]` holds room for the head and then records without CRC,
/// `batch.len()` is `used` in whole blocks. Returns the chain for the next batch.
pub fn seal(batch: &mut [u8], used: usize, place: Place, chain: Chain) -> Chain {
    assert_eq!(batch.len(), padded(used), "seal: batch length");
    put_batch_head(batch, used, chain);
    let mut crc = place.seed();
    let mut at = 0;
    while at < used {
        let length = u32_at(batch, at + 4) as usize;
        crc = crc32c::crc32c_append(crc, &batch[at + 4..at + length]);
        batch[at..at + 4].copy_from_slice(&crc.to_le_bytes());
        at += length;
    }
    assert_eq!(at, used, "seal: records do not fill the batch");
    batch[used..].fill(PADDING_BYTE);
    if has_zero_sector(batch) {
        crc = seal_masked(batch, used, place);
    }
    Chain {
        number: chain.number + 1,
        crc,
    }
}

fn put_batch_head(batch: &mut [u8], used: usize, chain: Chain) {
    let mut head = Vec::with_capacity(BATCH_HEAD_BYTES);
    let mut data = [0; BATCH_HEAD_BYTES - HEADER_BYTES];
    data[..4].copy_from_slice(&BATCH_MAGIC.to_le_bytes());
    data[4..8].copy_from_slice(&(used as u32).to_le_bytes());
    data[8..12].copy_from_slice(&chain.crc.to_le_bytes());
    put_record(&mut head, Kind::BatchHead, 0, chain.number, &[&data]);
    batch[..BATCH_HEAD_BYTES].copy_from_slice(&head);
}

fn has_zero_sector(batch: &[u8]) -> bool {
    batch.chunks_exact(SECTOR_BYTES).any(is_zero)
}

/// Chooses a mask that leaves no sector zero, and redoes the CRCs, since the head names the mask.
/// At most one mask a sector can fail, so the search ends.
#[cold]
fn seal_masked(batch: &mut [u8], used: usize, place: Place) -> u32 {
    let mut mask = 0x9e37_79b9_7f4a_7c15u64;
    while batch[SECTOR_BYTES..]
        .chunks_exact(SECTOR_BYTES)
        .any(|sector| is_filled_with(sector, mask))
    {
        mask = mask.wrapping_add(0x2545_f491_4f6c_dd1d);
    }
    batch[HEADER_BYTES + 16..HEADER_BYTES + 24].copy_from_slice(&mask.to_le_bytes());
    let mut crc = place.seed();
    let mut at = 0;
    while at < used {
        let length = u32_at(batch, at + 4) as usize;
        crc = crc32c::crc32c_append(crc, &batch[at + 4..at + length]);
        batch[at..at + 4].copy_from_slice(&crc.to_le_bytes());
        at += length;
    }
    apply_mask(batch, mask);
    crc
}

fn is_filled_with(sector: &[u8], word: u64) -> bool {
    sector.chunks_exact(8).all(|bytes| u64_at(bytes, 0) == word)
}

fn apply_mask(batch: &mut [u8], mask: u64) {
    for word in batch[SECTOR_BYTES..].chunks_exact_mut(8) {
        let value = u64_at(word, 0) ^ mask;
        word.copy_from_slice(&value.to_le_bytes());
    }
}

/// What a valid batch head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHead {
    pub chain: Chain,
    /// Bytes of records, the head included.
    pub used: usize,
    mask: u64,
}

impl BatchHead {
    /// Whole blocks.
    pub fn length(&self) -> usize {
        padded(self.used)
    }
}

/// Reads a batch's first sector. It is whole or not there at all, so an error is damage.
pub fn read_batch_head(sector: &[u8], place: Place) -> Result<BatchHead, Malformed> {
    let record = record_at(&sector[..BATCH_HEAD_BYTES], 0)?;
    if record.kind != Kind::BatchHead
        || record.length != BATCH_HEAD_BYTES
        || record.data.len() != 24
    {
        return Err(Malformed("no batch head"));
    }
    if crc32c::crc32c_append(place.seed(), &sector[4..BATCH_HEAD_BYTES]) != u32_at(sector, 0) {
        return Err(Malformed("batch head checksum"));
    }
    if u32_at(record.data, 0) != BATCH_MAGIC {
        return Err(Malformed("batch head magic"));
    }
    let used = u32_at(record.data, 4) as usize;
    if !(BATCH_HEAD_BYTES..=RECORD_BYTES_MAX).contains(&used) {
        return Err(Malformed("batch length"));
    }
    let chain = Chain {
        number: record.index,
        crc: u32_at(record.data, 8),
    };
    Ok(BatchHead {
        chain,
        used,
        mask: u64_at(record.data, 16),
    })
}

/// Whether a sector that belongs to the batch was never written.
pub fn is_torn(batch: &[u8]) -> bool {
    has_zero_sector(batch)
}

/// Unmasks a batch in place and checks every CRC and the padding. Returns the last CRC,
/// or the position of the first damage.
pub fn open_batch(batch: &mut [u8], head: &BatchHead) -> Result<u32, (usize, Malformed)> {
    if head.mask != 0 {
        apply_mask(batch, head.mask);
    }
    let mut crc = u32_at(batch, 0);
    let mut at = BATCH_HEAD_BYTES;
    while at < head.used {
        let record = record_at(&batch[..head.used], at).map_err(|malformed| (at, malformed))?;
        crc = crc32c::crc32c_append(crc, &batch[at + 4..at + record.length]);
        if crc != u32_at(batch, at) {
            return Err((at, Malformed("record checksum")));
        }
        if record.kind == Kind::BatchHead {
            return Err((at, Malformed("batch head within a batch")));
        }
        at += record.length;
    }
    match batch[head.used..]
        .iter()
        .position(|&byte| byte != PADDING_BYTE)
    {
        Some(i) => Err((head.used + i, Malformed("batch padding"))),
        None => Ok(crc),
    }
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

    const PLACE: Place = Place {
        segment_id: 7,
        sequence: 3,
        offset: 8192,
    };

    fn sealed(records: &[u8], place: Place, chain: Chain) -> (Vec<u8>, Chain) {
        let used = BATCH_HEAD_BYTES + records.len();
        let mut batch = vec![0; padded(used)];
        batch[BATCH_HEAD_BYTES..used].copy_from_slice(records);
        let next = seal(&mut batch, used, place, chain);
        (batch, next)
    }

    fn entries_of(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_entries(
            &mut out,
            5,
            10,
            &[2, 2, bytes.len() as u32],
            &[0, 1, 0],
            bytes,
        );
        out
    }

    #[test]
    fn a_sealed_batch_reads_back() {
        let mut records = entries_of(b"abcdefgh!");
        put_hard_state(
            &mut records,
            &HardState {
                term: 5,
                vote: u64::MAX,
                commit: 11,
            },
        );
        let chain = Chain { number: 4, crc: 99 };
        let (mut batch, next) = sealed(&records, PLACE, chain);
        let head = read_batch_head(&batch[..SECTOR_BYTES], PLACE).unwrap();
        assert_eq!(head.chain, chain);
        assert_eq!(head.length(), batch.len());
        assert_eq!(open_batch(&mut batch, &head), Ok(next.crc));
        let record = record_at(&batch, BATCH_HEAD_BYTES).unwrap();
        let entries = Entries::read(&record).unwrap();
        assert_eq!(
            (entries.term, entries.first_index, entries.last_index()),
            (5, 10, 12)
        );
        assert_eq!(
            (entries.entry(10), entries.entry(11), entries.entry(12)),
            (&b"ab"[..], &b""[..], &b"cdefgh!"[..])
        );
        let state =
            read_hard_state(&record_at(&batch, BATCH_HEAD_BYTES + record.length).unwrap()).unwrap();
        assert_eq!(state.vote, u64::MAX);
    }

    #[test]
    fn a_batch_counts_only_at_its_place() {
        let (batch, _) = sealed(&entries_of(b"abc"), PLACE, Chain::default());
        for place in [
            Place {
                segment_id: 8,
                ..PLACE
            },
            Place {
                sequence: 4,
                ..PLACE
            },
            Place {
                offset: 4096,
                ..PLACE
            },
        ] {
            assert_eq!(
                read_batch_head(&batch, place),
                Err(Malformed("batch head checksum"))
            );
        }
    }

    #[test]
    fn zeros_in_the_data_never_make_a_zero_sector() {
        let mut data = vec![0; 20_000];
        // A sector that equals the first mask must not become zero either.
        for word in data[4096..12_000].chunks_exact_mut(8) {
            word.copy_from_slice(&0x9e37_79b9_7f4a_7c15u64.to_le_bytes());
        }
        let records = entries_of(&data);
        let (mut batch, next) = sealed(&records, PLACE, Chain::default());
        assert!(!is_torn(&batch));
        let head = read_batch_head(&batch, PLACE).unwrap();
        assert_ne!(head.mask, 0);
        assert_eq!(open_batch(&mut batch, &head), Ok(next.crc));
        let record = record_at(&batch, BATCH_HEAD_BYTES).unwrap();
        assert_eq!(Entries::read(&record).unwrap().bytes, data);
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let (good, next) = sealed(&entries_of(b"abcdefgh"), PLACE, Chain::default());
        for bit in 0..good.len() * 8 {
            let mut batch = good.clone();
            batch[bit / 8] ^= 1 << (bit % 8);
            let read = read_batch_head(&batch, PLACE)
                .map_err(|malformed| (0, malformed))
                .and_then(|head| open_batch(&mut batch, &head));
            assert_ne!(read, Ok(next.crc), "bit {bit}");
        }
    }

    #[test]
    fn a_slice_of_entries_is_a_record_of_its_own() {
        let records = entries_of(b"abcdefgh");
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
