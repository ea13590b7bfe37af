//! Segment files: their names, and reading them batch by batch.
//!
//! A segment is `<sequence>-<id>.seg`, both in hexadecimal. Sequences have no gaps. The ID is random
//! and goes into every batch's checksum, so that no bytes of another file, or of an earlier life of this
//! one, are taken for its own. Files `*.tmp` are segments being made; they hold nothing.

use std::path::{Path, PathBuf};

use super::codec::{
    BLOCK_BYTES, BatchHead, Chain, Malformed, Place, SECTOR_BYTES, is_torn, is_zero, open_batch,
    read_batch_head,
};
use super::disk::{Access, Disk, DiskFile};
use super::error::WalError;

/// Bytes read at a time.
const WINDOW_BYTES: usize = 1 << 20;
const SUFFIX: &str = ".seg";
pub const TEMPORARY_SUFFIX: &str = ".tmp";

/// Which segment a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentId {
    pub sequence: u64,
    pub id: u32,
}

impl SegmentId {
    pub fn file_name(&self) -> String {
        format!("{:016x}-{:08x}{SUFFIX}", self.sequence, self.id)
    }

    pub fn path(&self, dir: &Path) -> PathBuf {
        dir.join(self.file_name())
    }

    pub fn parse(name: &str) -> Option<Self> {
        let (sequence, id) = name.strip_suffix(SUFFIX)?.split_once('-')?;
        let parsed = Self {
            sequence: u64::from_str_radix(sequence, 16).ok()?,
            id: u32::from_str_radix(id, 16).ok()?,
        };
        (parsed.file_name() == name).then_some(parsed)
    }

    pub fn place(&self, offset: u64) -> Place {
        Place {
            segment_id: self.id,
            sequence: self.sequence,
            offset,
        }
    }
}

/// What is at an offset of a segment.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A whole, valid batch; `bytes` are its records with the head, without the padding.
    Batch {
        bytes: &'a [u8],
        next: Chain,
        length: u64,
    },
    /// Zeros from here to the end.
    End,
    /// A batch of which at least one sector was never written; `length` is known if its head was.
    Torn { length: Option<u64> },
    /// Anything else.
    Damaged { at: u64, reason: &'static str },
}

/// Reads one segment through a window, from its start on.
pub struct SegmentReader {
    segment: SegmentId,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    size: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl SegmentReader {
    pub fn open(disk: &dyn Disk, dir: &Path, segment: SegmentId) -> Result<Self, WalError> {
        let path = segment.path(dir);
        let file = disk
            .open(&path, Access::Read)
            .map_err(WalError::io("open", &path))?;
        let size = file.size().map_err(WalError::io("stat", &path))?;
        Ok(Self {
            segment,
            path,
            file,
            size,
            window: Vec::new(),
            window_at: 0,
        })
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes at `[at, at + length)`; the caller keeps within the file.
    fn view(&mut self, at: u64, length: usize) -> Result<&mut [u8], WalError> {
        if at < self.window_at || at + length as u64 > self.window_at + self.window.len() as u64 {
            let wanted = length.max(WINDOW_BYTES).min((self.size - at) as usize);
            self.window.resize(wanted, 0);
            self.window_at = at;
            self.file
                .read_at(&mut self.window, at)
                .map_err(WalError::io("read", &self.path))?;
        }
        let from = (at - self.window_at) as usize;
        Ok(&mut self.window[from..from + length])
    }

    /// Reads what is at `offset`, a multiple of 4096, where a batch linked to `chain` is expected;
    /// without a chain any link is right.
    pub fn read(&mut self, offset: u64, chain: Option<Chain>) -> Result<Found<'_>, WalError> {
        if offset == self.size {
            return Ok(Found::End);
        }
        if offset + BLOCK_BYTES as u64 > self.size {
            return Ok(Found::Damaged {
                at: offset,
                reason: "segment ends within a block",
            });
        }
        let place = self.segment.place(offset);
        let sector = self.view(offset, SECTOR_BYTES)?;
        if is_zero(sector) {
            let end = self.first_nonzero(offset)?.is_none();
            return Ok(if end {
                Found::End
            } else {
                Found::Torn { length: None }
            });
        }
        let head = match read_batch_head(sector, place) {
            Ok(head) => head,
            Err(Malformed(reason)) => return Ok(Found::Damaged { at: offset, reason }),
        };
        if chain.is_some_and(|chain| chain != head.chain) {
            return Ok(Found::Damaged {
                at: offset,
                reason: "batch does not follow the one before it",
            });
        }
        if offset + head.length() as u64 > self.size {
            return Ok(Found::Damaged {
                at: offset,
                reason: "batch is longer than its segment",
            });
        }
        self.read_body(offset, head)
    }

    fn read_body(&mut self, offset: u64, head: BatchHead) -> Result<Found<'_>, WalError> {
        let length = head.length() as u64;
        let bytes = self.view(offset, head.length())?;
        if is_torn(bytes) {
            return Ok(Found::Torn {
                length: Some(length),
            });
        }
        // The window must not be read again behind this: the batch is unmasked in place.
        let opened = open_batch(bytes, &head);
        let bytes = &bytes[..head.used];
        Ok(match opened {
            Ok(crc) => Found::Batch {
                bytes,
                next: Chain {
                    number: head.chain.number + 1,
                    crc,
                },
                length,
            },
            Err((at, Malformed(reason))) => Found::Damaged {
                at: offset + at as u64,
                reason,
            },
        })
    }

    /// Position of the first sector at or after `from` that is not all zero.
    pub fn first_nonzero(&mut self, from: u64) -> Result<Option<u64>, WalError> {
        let mut at = from;
        while at < self.size {
            let length = (WINDOW_BYTES as u64).min(self.size - at) as usize;
            let bytes = self.view(at, length)?;
            if let Some(i) = bytes
                .chunks(SECTOR_BYTES)
                .position(|sector| !is_zero(sector))
            {
                return Ok(Some(at + (i * SECTOR_BYTES) as u64));
            }
            at += length as u64;
        }
        Ok(None)
    }

    /// Looks at every block from `from` on: where the last one ends that is not all zero, and the first
    /// that opens with a valid batch head.
    pub fn survey(&mut self, from: u64) -> Result<Survey, WalError> {
        let mut survey = Survey {
            used_end: from,
            valid_head: None,
        };
        let mut at = from;
        while at < self.size {
            let length = (BLOCK_BYTES as u64).min(self.size - at) as usize;
            let place = self.segment.place(at);
            let block = self.view(at, length)?;
            if !is_zero(block) {
                survey.used_end = at + length as u64;
                if survey.valid_head.is_none()
                    && length == BLOCK_BYTES
                    && read_batch_head(block, place).is_ok()
                {
                    survey.valid_head = Some(at);
                }
            }
            at += length as u64;
        }
        Ok(survey)
    }
}

/// See [`SegmentReader::survey`].
#[derive(Debug, PartialEq, Eq)]
pub struct Survey {
    pub used_end: u64,
    pub valid_head: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        let segment = SegmentId {
            sequence: 0x1f,
            id: 0xdead_beef,
        };
        assert_eq!(segment.file_name(), "000000000000001f-deadbeef.seg");
        assert_eq!(
            SegmentId::parse("000000000000001f-deadbeef.seg"),
            Some(segment)
        );
        for name in [
            "",
            "1f-deadbeef.seg",
            "000000000000001F-deadbeef.seg",
            "000000000000001f-deadbeef.wal",
            "x.tmp",
        ] {
            assert_eq!(SegmentId::parse(name), None, "{name}");
        }
    }
}
