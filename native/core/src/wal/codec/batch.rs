//! Batches: records sealed for one write, and opened again.

use super::record::{
    HEADER_BYTES, Kind, Malformed, RECORD_BYTES_MAX, put_record, record_at, u32_at, u64_at,
};

/// Unit of writing: batches start and end at multiples of it.
pub const BLOCK_BYTES: usize = 4096;
/// What a disk writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;
/// Bytes of the record that opens each batch.
pub const BATCH_HEAD_BYTES: usize = HEADER_BYTES + 24;

const BATCH_MAGIC: u32 = 0x5774_4531;
const PADDING_BYTE: u8 = 0xff;

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
    let mut crc = put_checksums(batch, used, place);
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

/// Fills in the records' checksums and returns the last one.
fn put_checksums(batch: &mut [u8], used: usize, place: Place) -> u32 {
    let mut crc = place.seed();
    let mut at = 0;
    while at < used {
        let length = u32_at(batch, at + 4) as usize;
        crc = crc32c::crc32c_append(crc, &batch[at + 4..at + length]);
        batch[at..at + 4].copy_from_slice(&crc.to_le_bytes());
        at += length;
    }
    assert_eq!(at, used, "seal: records do not fill the batch");
    crc
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
    let crc = put_checksums(batch, used, place);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::codec::{Entries, HardState, put_entries, put_hard_state, read_hard_state};

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
}
