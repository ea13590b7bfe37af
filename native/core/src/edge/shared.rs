//! What the edge's thread and JavaScript's threads share: the calls' queue, the replies' queue, and who sleeps.

use super::batch::{GATEWAY_CALL_BIT, peek};
use super::counters::Counters;
use crate::byte_queue::ByteQueue;
use crate::mailbox::Mailbox;
use mio::Waker;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

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
    replies: Mutex<Vec<u8>>,
    waker: Waker,
    /// One of the states above.
    state: AtomicU8,
    /// The edge reads no connection until `calls` has been drained.
    stalled: AtomicBool,
    /// Milliseconds of grace in which to end, plus 1; 0: go on.
    closing: AtomicU64,
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
    fn push_replies(&self, records: &[u8]) {
        let mut replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        replies.extend_from_slice(records);
        drop(replies);
        self.wake();
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

    /// The edge's side: takes all replies that have come; `into` is empty and its memory is used next.
    pub fn take_replies(&self, into: &mut Vec<u8>) {
        let mut replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *replies, into);
        self.counters.add_pending(into.len());
    }

    /// Reply bytes that are on their way to clients or wait for them.
    fn pending_reply_bytes(&self) -> u64 {
        let replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        replies.len() as u64 + self.counters.pending()
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

/// Replies of any JavaScript thread: runs of records go to the edge or to the gateway, as their call IDs say.
pub fn reply_batch(records: &[u8]) {
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
            shared.push_replies(run);
        }
    }
}
