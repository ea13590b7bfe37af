//! Reading a log at start: every batch of every segment is checked, the end is found, a torn batch is
//! told from damage. Nothing is changed here; `open.rs` zeroes what the scan wants cut.
//!
//! At most one batch was in flight when the process ended, at the log's end, and segments are zero
//! before use. So a torn batch has a sector of zeros inside, and nothing behind it. Everything else
//! that does not read is damage to what may have been acknowledged, and is refused.

use std::path::Path;

use super::codec::{
    BATCH_HEAD_BYTES, Chain, Kind, Malformed, Record, for_each_record, read_segment_head,
};
use super::disk::Disk;
use super::error::WalError;
use super::segment::{Found, SegmentId, SegmentReader, TEMPORARY_SUFFIX};
use super::state::{LogState, Rewrite};

/// A segment that holds batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedSegment {
    pub segment: SegmentId,
    pub size: u64,
    /// Where its last batch ends.
    pub end: u64,
    /// No entry in it has a higher index.
    pub max_index: u64,
}

/// Where a torn batch lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    pub segment: SegmentId,
    pub from: u64,
    pub to: u64,
}

/// Where in the log a record is: number of the segment in the list, offset.
pub type Position = (usize, u64);

/// What the scan found.
#[derive(Debug, Default)]
pub struct Scan {
    pub segments: Vec<UsedSegment>,
    /// All zero, behind the used ones.
    pub spares: Vec<(SegmentId, u64)>,
    pub temporary: Vec<String>,
    pub chain: Chain,
    pub state: LogState,
    /// Index of the first entry that the log still has, were it not for the mark.
    pub first_index: u64,
    pub rewrites: Rewrites,
    pub cut: Option<Cut>,
}

/// Which entries were voided by a later record. Only those that matter are kept: positions and indexes
/// both rise, as an earlier rewrite from a higher index says nothing more.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rewrites(Vec<(Position, u64)>);

impl Rewrites {
    fn push(&mut self, position: Position, rewrite: Rewrite) {
        while self
            .0
            .last()
            .is_some_and(|&(_, first)| first >= rewrite.first)
        {
            self.0.pop();
        }
        self.0.push((position, rewrite.first));
    }

    /// The highest index that counts of a record at `position`.
    pub fn last_valid(&self, position: Position) -> u64 {
        let next = self.0.partition_point(|&(at, _)| at <= position);
        self.0.get(next).map_or(u64::MAX, |&(_, first)| first - 1)
    }
}

/// Reads the whole log in `dir`.
pub fn scan(disk: &dyn Disk, dir: &Path) -> Result<Scan, WalError> {
    let (found, temporary) = list(disk, dir)?;
    let mut scan = Scan {
        temporary,
        ..Scan::default()
    };
    let used = used_count(disk, dir, &found)?;
    if used == 0 {
        return Err(match found.first() {
            Some(segment) => {
                WalError::corrupt(&segment.file_name(), 0, "the log's first segment is empty")
            }
            None => WalError::Absent {
                dir: dir.to_path_buf(),
            },
        });
    }
    for (i, segment) in found[..used].iter().enumerate() {
        let mut reader = SegmentReader::open(disk, dir, *segment)?;
        SegmentScan {
            scan: &mut scan,
            ordinal: i,
            newest: i + 1 == used,
            segment: *segment,
        }
        .run(&mut reader)?;
    }
    for segment in &found[used..] {
        let size = SegmentReader::open(disk, dir, *segment)?.size();
        scan.spares.push((*segment, size));
    }
    if scan.segments.is_empty() {
        return Err(WalError::corrupt(
            &found[0].file_name(),
            0,
            "the log's first segment is empty",
        ));
    }
    check_start(&scan)?;
    Ok(scan)
}

/// Entries before the oldest segment must be covered by the mark.
fn check_start(scan: &Scan) -> Result<(), WalError> {
    if scan.first_index > scan.state.mark_index() + 1 {
        let reason = format!(
            "entries {} to {} are missing: no segment before this one",
            scan.state.mark_index() + 1,
            scan.first_index - 1
        );
        return Err(WalError::corrupt(
            &scan.segments[0].segment.file_name(),
            0,
            reason,
        ));
    }
    Ok(())
}

/// The segments in order, and left-over temporary files.
fn list(disk: &dyn Disk, dir: &Path) -> Result<(Vec<SegmentId>, Vec<String>), WalError> {
    let names = disk.list(dir).map_err(WalError::io("list", dir))?;
    let mut segments: Vec<SegmentId> = names
        .iter()
        .filter_map(|name| SegmentId::parse(name))
        .collect();
    segments.sort_unstable();
    for pair in segments.windows(2) {
        if pair[1].sequence != pair[0].sequence + 1 {
            let reason = format!(
                "the segment before it is missing, {:016x} is there",
                pair[0].sequence
            );
            return Err(WalError::corrupt(&pair[1].file_name(), 0, reason));
        }
    }
    Ok((
        segments,
        names
            .into_iter()
            .filter(|name| name.ends_with(TEMPORARY_SUFFIX))
            .collect(),
    ))
}

/// How many segments hold anything; those behind must be all zero.
fn used_count(disk: &dyn Disk, dir: &Path, segments: &[SegmentId]) -> Result<usize, WalError> {
    for (i, segment) in segments.iter().enumerate().rev() {
        let mut reader = SegmentReader::open(disk, dir, *segment)?;
        if reader.size() == 0 {
            return Err(WalError::corrupt(
                &segment.file_name(),
                0,
                "segment is shorter than it was made",
            ));
        }
        if reader.first_nonzero(0)?.is_some() {
            return Ok(i + 1);
        }
    }
    Ok(0)
}

/// The scan of one segment.
struct SegmentScan<'a> {
    scan: &'a mut Scan,
    ordinal: usize,
    /// No later segment holds anything.
    newest: bool,
    segment: SegmentId,
}

impl SegmentScan<'_> {
    fn run(&mut self, reader: &mut SegmentReader) -> Result<(), WalError> {
        let (mut offset, mut max_index) = (0, 0);
        let size = reader.size();
        loop {
            let first_of_all = self.ordinal == 0 && offset == 0;
            let chain = (!first_of_all).then_some(self.scan.chain);
            match reader.read(offset, chain)? {
                Found::Batch {
                    bytes,
                    next,
                    length,
                } => {
                    if offset == 0 {
                        self.head(bytes, size)?;
                    } else {
                        max_index = max_index.max(self.records(bytes, offset)?);
                    }
                    self.scan.chain = next;
                    offset += length;
                }
                Found::Torn { length } => {
                    self.torn(reader, offset, length)?;
                    break;
                }
                Found::End => break,
                Found::Damaged { at, reason } => return Err(self.corrupt(at, reason)),
            }
        }
        if offset == 0 {
            self.scan.spares.push((self.segment, size));
        } else {
            self.scan.segments.push(UsedSegment {
                segment: self.segment,
                size,
                end: offset,
                max_index,
            });
        }
        Ok(())
    }

    fn corrupt(&self, at: u64, reason: &str) -> WalError {
        WalError::corrupt(&self.segment.file_name(), at, reason)
    }

    /// The batch that opens the segment.
    fn head(&mut self, bytes: &[u8], size: u64) -> Result<(), WalError> {
        let mut records: Vec<Record<'_>> = Vec::new();
        let read = for_each_record(&bytes[BATCH_HEAD_BYTES..], |record| {
            records.push(record);
            Ok::<(), Malformed>(())
        });
        let head = read
            .and_then(|()| LogState::from_head(&records))
            .map_err(|Malformed(r)| self.corrupt(0, r))?;
        if read_segment_head(&records[0]).map_err(|Malformed(r)| self.corrupt(0, r))? != size {
            return Err(self.corrupt(size, "segment has not the size that it was made with"));
        }
        if self.ordinal == 0 {
            self.scan.first_index = head.last_index + 1;
            self.scan.state = head;
        } else if !self.scan.state.is_head(&head) {
            return Err(self.corrupt(0, "segment head does not repeat the state of the log"));
        }
        Ok(())
    }

    /// A further batch; returns the highest index of its entries.
    fn records(&mut self, bytes: &[u8], offset: u64) -> Result<u64, WalError> {
        let mut max_index = 0;
        let mut at = offset + BATCH_HEAD_BYTES as u64;
        let read = for_each_record(&bytes[BATCH_HEAD_BYTES..], |record| {
            at = offset + (BATCH_HEAD_BYTES + record.at) as u64;
            if let Some(rewrite) = self.scan.state.apply(&record)? {
                self.scan.rewrites.push((self.ordinal, at), rewrite);
            }
            if record.kind == Kind::Entries {
                max_index = max_index.max(self.scan.state.last_index);
            }
            Ok(())
        });
        read.map_err(|Malformed(r)| self.corrupt(at, r))?;
        Ok(max_index)
    }

    /// A sector of the batch at `offset` was never written: cut it if nothing can follow it.
    fn torn(
        &mut self,
        reader: &mut SegmentReader,
        offset: u64,
        length: Option<u64>,
    ) -> Result<(), WalError> {
        if !self.newest {
            return Err(self.corrupt(offset, "torn batch, but a later segment is in use"));
        }
        if self.ordinal == 0 && offset == 0 {
            return Err(self.corrupt(offset, "head of the only segment is torn"));
        }
        let survey = reader.survey(offset)?;
        let follows = match length {
            Some(length) => survey.used_end > offset + length,
            None => survey.valid_head.is_some(),
        };
        if follows {
            return Err(self.corrupt(offset, "torn batch, but more follows it"));
        }
        self.scan.cut = Some(Cut {
            segment: self.segment,
            from: offset,
            to: survey.used_end,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lowest_later_rewrite_counts() {
        let mut rewrites = Rewrites::default();
        for (at, first) in [(10, 50), (20, 70), (30, 60), (40, 80)] {
            rewrites.push((0, at), Rewrite { first });
        }
        assert_eq!(
            rewrites,
            Rewrites(vec![((0, 10), 50), ((0, 30), 60), ((0, 40), 80)])
        );
        assert_eq!(rewrites.last_valid((0, 0)), 49);
        assert_eq!(rewrites.last_valid((0, 10)), 59);
        assert_eq!(rewrites.last_valid((0, 35)), 79);
        assert_eq!(rewrites.last_valid((1, 0)), u64::MAX);
    }
}
