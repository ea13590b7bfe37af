//! What the edge's thread and JavaScript's threads share: the calls' queue, the replies' queue, and who sleeps.

use super::batch::{GATEWAY_CALL_BIT, peek};
use super::counters::Counters;
use crate::byte_queue::ByteQueue;
use crate::mailbox::Mailbox;
use mio::Waker;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Bytes of calls that wait for JavaScript; with more, no connection is read.
pub const CALLS_BYTES_MAX: usize = 8 << 20;

/// States of the edge's thread: it works.
const AWAKE: u8 = 0;
/// It sleeps, or is about to: who brings work must wake it.
const ASLEEP: u8 = 1;
/// Work was brought since it has last looked at anything: it must look again before it sleeps.
const CALLED: u8 = 2;

/// See the module.
pub struct Shared {
    /// From the edge, and the gateway, to JavaScript.
    pub calls: ByteQueue,
    pub counters: Arc<Counters>,
    replies: Mutex<Replies>,
    waker: Waker,
    /// One of the states above.
    state: AtomicU8,
    /// The edge reads no connection until `calls` has been drained.
    stalled: AtomicBool,
    /// Milliseconds of grace in which to end, plus 1; 0: go on.
    closing: AtomicU64,
}

/// Replies on their way to the edge. Those of one call all go the same way.
#[derive(Default)]
struct Replies {
    /// What somebody waits for: all of it is taken in one turn.
    prompt: Vec<u8>,
    /// What may be much (events of watches, a snapshot), batch by batch: taken piece by piece.
    bulk: VecDeque<Vec<u8>>,
    bulk_bytes: usize,
}

/// The edge that replies go to.
static CURRENT: RwLock<Option<Arc<Shared>>> = RwLock::new(None);
/// Where replies to the gateway's calls go.
static GATEWAY: RwLock<Option<Arc<Mailbox>>> = RwLock::new(None);

impl Shared {
    pub fn new(waker: Waker, counters: Arc<Counters>) -> Shared {
        Shared {
            calls: ByteQueue::new(CALLS_BYTES_MAX),
            counters,
            replies: Mutex::default(),
            waker,
            state: AtomicU8::new(AWAKE),
            stalled: AtomicBool::new(false),
            closing: AtomicU64::new(0),
        }
    }

    /// Whatever was brought before is seen by the edge: by its turn under way, or by one more.
    fn wake(&self) {
        if self.state.swap(CALLED, Ordering::SeqCst) == ASLEEP {
            // Fails only if the edge's poll is gone, and then nothing matters any more.
            let _ = self.waker.wake();
        }
    }

    /// JavaScript's side: replies to calls of this edge.
    pub(super) fn push_replies(&self, records: &[u8], is_bulk: bool) {
        if is_bulk {
            let batch = records.to_vec();
            let mut replies = self.lock_replies();
            replies.bulk_bytes += batch.len();
            replies.bulk.push_back(batch);
        } else {
            self.lock_replies().prompt.extend_from_slice(records);
        }
        self.wake();
    }

    fn lock_replies(&self) -> MutexGuard<'_, Replies> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// JavaScript's side: calls have been drained.
    pub fn drained(&self) {
        if self.stalled.load(Ordering::SeqCst)
            && self.calls.waiting() <= CALLS_BYTES_MAX / 2
            && self.stalled.swap(false, Ordering::SeqCst)
        {
            self.wake();
        }
    }

    /// Asks the edge to end within `grace` milliseconds.
    pub fn close(&self, grace: u32) {
        self.closing.store(u64::from(grace) + 1, Ordering::SeqCst);
        self.wake();
    }

    /// The edge's side: the grace, in milliseconds, once it was asked to end.
    pub fn closing(&self) -> Option<u64> {
        self.closing.load(Ordering::SeqCst).checked_sub(1)
    }

    /// The edge's side: takes all prompt replies that have come; `into` is empty and its memory is used next.
    pub fn take_replies(&self, into: &mut Vec<u8>) {
        let mut replies = self.lock_replies();
        std::mem::swap(&mut replies.prompt, into);
        self.counters.add_pending(into.len());
    }

    /// The edge's side: takes the oldest batch of bulk replies.
    pub fn take_bulk(&self) -> Option<Vec<u8>> {
        let mut replies = self.lock_replies();
        let batch = replies.bulk.pop_front()?;
        replies.bulk_bytes -= batch.len();
        self.counters.add_pending(batch.len());
        Some(batch)
    }

    /// Reply bytes that are on their way to clients or wait for them.
    fn pending_reply_bytes(&self) -> u64 {
        let replies = self.lock_replies();
        (replies.prompt.len() + replies.bulk_bytes) as u64 + self.counters.pending()
    }

    /// The edge's side: false when connections must not be read for now.
    pub fn may_read(&self) -> bool {
        if self.calls.waiting() < CALLS_BYTES_MAX {
            return true;
        }
        self.stalled.store(true, Ordering::SeqCst);
        // JavaScript may have drained just before it could see the flag.
        self.calls.waiting() < CALLS_BYTES_MAX
    }

    /// The edge's side, before it sleeps: true when it may, false when work may have come since `awake`.
    pub fn may_sleep(&self) -> bool {
        self.state
            .compare_exchange(AWAKE, ASLEEP, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    /// The edge's side, before it looks for work: it is awake.
    pub fn awake(&self) {
        self.state.store(AWAKE, Ordering::SeqCst);
    }
}

/// Makes this the edge that replies go to.
pub fn set_current(shared: Arc<Shared>) {
    *CURRENT.write().unwrap_or_else(PoisonError::into_inner) = Some(shared);
}

/// Replies go nowhere any more, unless another edge has taken over.
pub fn clear_current(shared: &Arc<Shared>) {
    let mut current = CURRENT.write().unwrap_or_else(PoisonError::into_inner);
    if current
        .as_ref()
        .is_some_and(|other| Arc::ptr_eq(other, shared))
    {
        *current = None;
    }
}

/// Replies to the gateway's calls go into this mailbox, a batch of records as one message.
pub fn set_gateway_mailbox(mailbox: Option<Arc<Mailbox>>) {
    *GATEWAY.write().unwrap_or_else(PoisonError::into_inner) = mailbox;
}

/// Calls of the gateway, for whoever drains the edge's calls. False when there is no room now.
pub fn gateway_submit(records: &[u8]) -> bool {
    let current = CURRENT.read().unwrap_or_else(PoisonError::into_inner);
    current
        .as_ref()
        .is_some_and(|shared| shared.calls.send([records, &[]], 0))
}

/// Reply bytes of the edge that wait for their clients; from any thread.
pub fn pending_reply_bytes() -> u64 {
    let current = CURRENT.read().unwrap_or_else(PoisonError::into_inner);
    current
        .as_ref()
        .map_or(0, |shared| shared.pending_reply_bytes())
}

/// Replies of any JavaScript thread: runs of records go to the edge or to the gateway, as their call IDs say. Bulk ones
/// wait for the others; a call's replies from one thread are all of one kind, for else they would change their order.
pub fn reply_batch(records: &[u8], is_bulk: bool) {
    let mut rest = records;
    while let Some((_, first)) = peek(rest) {
        let gateway = first & GATEWAY_CALL_BIT != 0;
        let mut end = 0;
        while let Some((length, id)) = peek(&rest[end..])
            && (id & GATEWAY_CALL_BIT != 0) == gateway
        {
            end += length;
        }
        let (run, tail) = rest.split_at(end);
        rest = tail;
        if gateway {
            if let Some(mailbox) = GATEWAY
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .as_ref()
            {
                mailbox.send_always(run);
            }
        } else if let Some(shared) = CURRENT
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
        {
            shared.push_replies(run, is_bulk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Poll, Token};

    #[test]
    fn prompt_replies_wait_for_no_bulk_and_batches_of_it_keep_their_order() {
        let poll = Poll::new().expect("poll");
        let waker = Waker::new(poll.registry(), Token(0)).expect("waker");
        let shared = Shared::new(waker, Arc::new(Counters::new(1)));
        let large = vec![1; 3 << 20];
        shared.push_replies(&large, true);
        shared.push_replies(b"second", true);
        shared.push_replies(b"prompt", false);
        shared.push_replies(b"ly", false);
        assert_eq!(shared.pending_reply_bytes(), (3 << 20) + 6 + 8);
        let mut taken = Vec::new();
        shared.take_replies(&mut taken);
        assert_eq!(taken, b"promptly");
        assert_eq!(shared.take_bulk(), Some(large));
        assert_eq!(shared.take_bulk(), Some(b"second".to_vec()));
        assert_eq!(shared.take_bulk(), None);
        // What has been taken counts until the edge has said what of it waits.
        assert_eq!(shared.pending_reply_bytes(), (3 << 20) + 6 + 8);
        shared.counters.set_pending(0);
        assert_eq!(shared.pending_reply_bytes(), 0);
    }
}
