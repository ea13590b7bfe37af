//! All calls under way, found by their ID, which JavaScript gives back with each reply.
//!
//! An ID is a slot's index and its generation. Slots are reused oldest first, so that an ID comes back only
//! after millions of calls: a late reply to a call that is gone meets no other call.

use super::outgoing::Outgoing;
use std::collections::VecDeque;

const INDEX_BITS: u32 = 20;
const INDEX_MASK: u32 = (1 << INDEX_BITS) - 1;
const GENERATION_MAX: u32 = (1 << (31 - INDEX_BITS)) - 1;
/// Calls under way at once, of all connections.
pub const CALLS_MAX: usize = 1 << INDEX_BITS;
/// So many slots rest before one is used again.
const RESTING_MIN: usize = 1024;
/// A call's buffers keep this much memory when its slot is freed, in the first `WARM_SLOTS` slots.
const BUFFER_BYTES_KEPT: usize = 1024;
/// A burst of calls leaves no more memory behind than their slots.
const WARM_SLOTS: u32 = 16 << 10;
/// What a call holds by being there: its slot, its places in lists.
const CALL_BYTES: usize = 512;

/// How many messages go each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MethodKind {
    #[default]
    Unary,
    ClientStream,
    ServerStream,
    Bidi,
}

impl MethodKind {
    /// The client sends any number of messages.
    pub fn client_streams(self) -> bool {
        matches!(self, MethodKind::ClientStream | MethodKind::Bidi)
    }
}

/// Where a call with reply bytes waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sending {
    /// It has nothing that waits.
    #[default]
    Idle,
    /// In its connection's turn.
    Queued,
    /// Its client must open its window first.
    Blocked,
}

/// How a call ends.
#[derive(Debug, PartialEq, Eq)]
pub struct End {
    pub code: u8,
    pub text: Vec<u8>,
}

/// One call: an HTTP/2 stream that carries an RPC.
#[derive(Default)]
pub struct Call {
    pub connection: u32,
    pub stream: u32,
    pub method: u16,
    pub kind: MethodKind,
    pub flags: u8,
    pub arrival: u32,
    /// Bytes of its one message.
    pub request_bytes: u32,
    /// When that message was whole, in microseconds of the edge's clock.
    pub received: u64,
    /// JavaScript was told that it is slow.
    pub told: bool,
    /// What of its message the log may show.
    pub shown: Vec<u8>,
    /// When its header fields came, in microseconds of the edge's clock.
    pub began: u64,
    /// The client has ended its side.
    pub remote_closed: bool,
    /// JavaScript knows of it.
    pub dispatched: bool,
    /// The one message of a call whose client does not stream is whole.
    pub message_complete: bool,
    /// It counts among its connection's calls that wait for a reply.
    pub in_flight: bool,
    /// Metrics count it as started, so they must count its end.
    pub started: bool,
    pub headers_sent: bool,
    pub sending: Sending,
    /// JavaScript wants a Writable record once little is left to send.
    pub notify: bool,
    /// Bytes that the client may still send.
    pub receive_window: i64,
    /// Bytes to give back to `receive_window`.
    pub receive_credit: u32,
    /// Bytes given beyond the usual window, for one large message.
    pub granted: u32,
    /// It waits until its connection may grant it a large message.
    pub awaits_grant: bool,
    /// It is in its connection's `window_blocked`, if only still.
    pub listed_as_blocked: bool,
    /// What the client lets us send, less its initial window.
    pub send_offset: i64,
    /// The client compresses its messages with gzip.
    pub gzip: bool,
    /// A whole message that waits until the call may be dispatched.
    pub kept: Vec<u8>,
    /// Bytes of a message received so far, gRPC prefix included.
    pub assembly: Vec<u8>,
    /// Encoded for the call record.
    pub metadata: Vec<u8>,
    /// Reply bytes with their gRPC prefixes that are not yet sent.
    pub pending: Outgoing,
    /// A message that comes in parts, as far as it has come.
    pub parts: Outgoing,
    pub end: Option<End>,
    /// What follows "application/grpc+" in the content type and is sent back; usually nothing.
    pub subtype: Option<Box<[u8]>>,
}

impl Call {
    /// Reply bytes that wait to be sent.
    pub fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    /// What it holds beside messages; does not change once it has begun.
    pub fn held_bytes(&self) -> usize {
        CALL_BYTES + self.metadata.len() + self.subtype.as_ref().map_or(0, |subtype| subtype.len())
    }

    fn clear(&mut self, bytes_kept: usize) {
        let mut buffers = [
            &mut self.assembly,
            &mut self.kept,
            &mut self.metadata,
            &mut self.shown,
        ]
        .map(std::mem::take);
        for buffer in &mut buffers {
            buffer.clear();
            if buffer.capacity() > bytes_kept {
                *buffer = Vec::new();
            }
        }
        let [assembly, kept, metadata, shown] = buffers;
        let mut pending = std::mem::take(&mut self.pending);
        pending.reset(bytes_kept);
        *self = Call {
            assembly,
            kept,
            metadata,
            pending,
            shown,
            ..Call::default()
        };
    }
}

struct Slot {
    generation: u32,
    used: bool,
    call: Call,
}

/// See the module.
#[derive(Default)]
pub struct CallTable {
    slots: Vec<Slot>,
    resting: VecDeque<u32>,
    live: usize,
}

impl CallTable {
    /// Calls under way.
    pub fn live(&self) -> usize {
        self.live
    }

    /// A slot for a new call, with empty buffers, and its ID, which is never 0; `None` when all are taken.
    pub fn insert(&mut self) -> Option<(u32, &mut Call)> {
        let index = if self.resting.len() < RESTING_MIN && self.slots.len() < CALLS_MAX {
            self.slots.push(Slot {
                generation: 1,
                used: false,
                call: Call::default(),
            });
            self.slots.len() - 1
        } else {
            self.resting.pop_front()? as usize
        };
        let slot = &mut self.slots[index];
        slot.used = true;
        self.live += 1;
        Some((slot.generation << INDEX_BITS | index as u32, &mut slot.call))
    }

    /// The call named `id`, unless it is gone.
    pub fn get(&mut self, id: u32) -> Option<&mut Call> {
        let slot = self.slots.get_mut((id & INDEX_MASK) as usize)?;
        (slot.used && slot.generation == id >> INDEX_BITS).then_some(&mut slot.call)
    }

    /// The call named `id`, which the caller knows to be there.
    pub fn at(&mut self, id: u32) -> &mut Call {
        self.get(id)
            .expect("a connection's streams name calls under way")
    }

    /// Frees the call's slot.
    pub fn remove(&mut self, id: u32) {
        let index = id & INDEX_MASK;
        let slot = &mut self.slots[index as usize];
        assert!(
            slot.used && slot.generation == id >> INDEX_BITS,
            "a call is freed once"
        );
        slot.used = false;
        slot.generation = slot.generation % GENERATION_MAX + 1;
        let is_warm = index < WARM_SLOTS;
        slot.call.clear(if is_warm { BUFFER_BYTES_KEPT } else { 0 });
        self.live -= 1;
        self.resting.push_back(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_one_call_only() {
        let mut table = CallTable::default();
        let (first, call) = table.insert().expect("room");
        call.stream = 1;
        assert_ne!(first, 0);
        assert_eq!(first >> 31, 0);
        table.remove(first);
        assert!(table.get(first).is_none());
        let mut seen = std::collections::HashSet::from([first]);
        for _ in 0..1_000_000 {
            let (id, _) = table.insert().expect("room");
            assert!(seen.insert(id), "an ID came back too soon");
            table.remove(id);
        }
        assert!(table.slots.len() <= RESTING_MIN + 1);
        assert_eq!(table.live(), 0);
    }

    #[test]
    fn a_freed_call_leaves_nothing_behind() {
        let mut table = CallTable::default();
        let (id, call) = table.insert().expect("room");
        call.pending.extend(&[1; 4096]);
        call.parts.extend(&[1; 4096]);
        call.metadata.extend_from_slice(b"token");
        call.dispatched = true;
        table.remove(id);
        for _ in 0..=RESTING_MIN {
            let (id, call) = table.insert().expect("room");
            assert!(call.pending.is_empty() && call.metadata.is_empty() && !call.dispatched);
            assert!(call.parts.is_empty());
            assert!(call.pending.capacity() <= BUFFER_BYTES_KEPT);
            table.remove(id);
        }
    }

    #[test]
    fn a_burst_of_calls_leaves_no_buffers_behind() {
        let mut table = CallTable::default();
        let ids: Vec<u32> = (0..4 * WARM_SLOTS)
            .map(|_| {
                let (id, call) = table.insert().expect("room");
                call.metadata.extend_from_slice(&[1; 900]);
                id
            })
            .collect();
        for id in ids {
            table.remove(id);
        }
        let kept = table.slots.iter();
        let kept: usize = kept.map(|slot| slot.call.metadata.capacity()).sum();
        assert!(kept <= WARM_SLOTS as usize * BUFFER_BYTES_KEPT, "{kept}");
    }

    #[test]
    fn the_table_is_bounded() {
        let mut table = CallTable::default();
        for _ in 0..CALLS_MAX {
            assert!(table.insert().is_some());
        }
        assert!(table.insert().is_none());
        assert_eq!(table.live(), CALLS_MAX);
    }
}
