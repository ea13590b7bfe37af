//! What the log says once its records are read in order. The writer keeps it to refuse what must not be
//! written and to fill segment heads; the scan keeps it to refuse what must not have been.

use super::codec::{
    Entries, HardState, Kind, Malformed, Record, SnapshotMark, put_hard_state, put_record,
    put_segment_head, put_snapshot_mark, read_hard_state, read_snapshot_mark,
};

/// The log's state behind some record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    pub metadata: Vec<u8>,
    pub hard_state: Option<HardState>,
    pub mark: Option<SnapshotMark>,
    pub last_index: u64,
}

/// An entries record, or a mark of an installed snapshot, that voids what lies before it from `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    pub first: u64,
}

impl LogState {
    pub fn commit(&self) -> u64 {
        self.hard_state.map_or(0, |state| state.commit)
    }

    pub fn mark_index(&self) -> u64 {
        self.mark.as_ref().map_or(0, |mark| mark.index)
    }

    /// Takes a record into account, unless no correct member could have written it here.
    pub fn apply(&mut self, record: &Record<'_>) -> Result<Option<Rewrite>, Malformed> {
        match record.kind {
            Kind::Entries => return self.apply_entries(&Entries::read(record)?),
            Kind::HardState => self.apply_hard_state(read_hard_state(record)?)?,
            Kind::SnapshotMark => return self.apply_mark(read_snapshot_mark(record)?),
            Kind::BatchHead | Kind::SegmentHead | Kind::Metadata => {
                return Err(Malformed("record out of place"));
            }
        }
        Ok(None)
    }

    fn apply_entries(&mut self, entries: &Entries<'_>) -> Result<Option<Rewrite>, Malformed> {
        let first = entries.first_index;
        if first > self.last_index + 1 {
            return Err(Malformed("entries leave a gap in the log"));
        }
        if first <= self.commit() || first <= self.mark_index() {
            return Err(Malformed("entries rewrite what is committed"));
        }
        let rewrite = (first <= self.last_index).then_some(Rewrite { first });
        self.last_index = entries.last_index();
        Ok(rewrite)
    }

    fn apply_hard_state(&mut self, state: HardState) -> Result<(), Malformed> {
        let old = self.hard_state.unwrap_or_default();
        if state.term < old.term || state.commit < old.commit {
            return Err(Malformed("hard state goes back"));
        }
        if state.commit > self.last_index {
            return Err(Malformed("hard state commits entries that the log has not"));
        }
        self.hard_state = Some(state);
        Ok(())
    }

    fn apply_mark(&mut self, mark: SnapshotMark) -> Result<Option<Rewrite>, Malformed> {
        if mark.index < self.mark_index() {
            return Err(Malformed("snapshot mark goes back"));
        }
        let rewrite = if mark.install {
            self.last_index = mark.index;
            Some(Rewrite {
                first: mark.index + 1,
            })
        } else {
            None
        };
        if mark.index > self.last_index {
            return Err(Malformed("snapshot mark beyond the log"));
        }
        // Only what is committed is ever marked, but the commit index may not have been written yet.
        let state = self.hard_state.get_or_insert(HardState {
            term: mark.term,
            ..HardState::default()
        });
        state.commit = state.commit.max(mark.index);
        self.mark = Some(mark);
        Ok(rewrite)
    }

    /// The records that open a segment of `segment_bytes` at this state.
    pub fn put_head(&self, out: &mut Vec<u8>, segment_bytes: u64) {
        put_segment_head(out, segment_bytes, self.last_index);
        put_record(out, Kind::Metadata, 0, 0, &[&self.metadata]);
        if let Some(state) = &self.hard_state {
            put_hard_state(out, state);
        }
        if let Some(mark) = &self.mark {
            // A copy must not void the entries behind the original.
            put_snapshot_mark(
                out,
                &SnapshotMark {
                    install: false,
                    ..mark.clone()
                },
            );
        }
    }

    /// Reads a segment head's records, the state that the log had there.
    pub fn from_head(records: &[Record<'_>]) -> Result<Self, Malformed> {
        let [head, metadata, rest @ ..] = records else {
            return Err(Malformed("segment head cut short"));
        };
        if head.kind != Kind::SegmentHead || metadata.kind != Kind::Metadata {
            return Err(Malformed("no segment head"));
        }
        let mut state = Self {
            metadata: metadata.data.to_vec(),
            last_index: head.index,
            ..Self::default()
        };
        for record in rest {
            if record.kind == Kind::Entries {
                return Err(Malformed("entries in a segment head"));
            }
            state.apply(record)?;
        }
        Ok(state)
    }

    /// Whether a segment head's state is this one; an installed snapshot is a plain mark in the copy.
    pub fn is_head(&self, head: &Self) -> bool {
        let mark = |state: &Self| {
            state.mark.clone().map(|mark| SnapshotMark {
                install: false,
                ..mark
            })
        };
        self.metadata == head.metadata
            && self.hard_state == head.hard_state
            && self.last_index == head.last_index
            && mark(self) == mark(head)
    }
}
