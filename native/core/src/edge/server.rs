//! The edge's thread: one loop over all sockets, replies and times.
//!
//! One turn: wait for events; accept, read and parse; hand the calls to JavaScript with at most one wake-up;
//! take the replies; write each connection's bytes with one system call. Sockets are registered once,
//! edge-triggered, so a connection is in `readable` until a read has found it empty.

use super::Door;
use super::batch::call_kind;
use super::context::Context;
use super::health::Verdict;
use super::shared::{self, Shared};
use super::socket::Listener;
use super::splice::Side;
use super::traffic::{BUFFER_BYTES, Client, Peer};
use mio::event::Event;
use mio::{Events, Poll, Token};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const WAKER_TOKEN: Token = Token(0);
const EVENTS_MAX: usize = 1024;
/// A client must say within this what it speaks.
const PREFACE_WITHIN: u64 = 120_000_000;
/// After a GOAWAY for an error, a client may read it for this long.
const LINGER: u64 = 1_000_000;
const TICK: u64 = 1_000_000;
/// Calls whose deadline has passed that are ended at once; more of them wait a turn.
const EXPIRED_MAX: usize = 1024;
/// See the module.
pub struct Server {
    pub(super) poll: Poll,
    pub(super) listeners: Vec<Listener>,
    /// What the listeners are for, in the same order.
    pub(super) doors: Vec<Door>,
    pub(super) clients: Vec<Option<Client>>,
    pub(super) free: Vec<u32>,
    /// Freed in this turn; events of it may still name them.
    pub(super) freed: Vec<u32>,
    pub(super) readable: Vec<u32>,
    pub(super) dirty: Vec<u32>,
    pub(super) context: Context,
    pub(super) shared: Arc<Shared>,
    pub(super) replies: Vec<u8>,
    /// A batch of the bulk of replies; those from `bulk_start` on are still to be given to their connections.
    pub(super) bulk: Vec<u8>,
    pub(super) bulk_start: usize,
    pub(super) buffer: Vec<u8>,
    started: Instant,
    clock_offset: u64,
    pub(super) next_connection: u32,
    next_tick: u64,
    /// When to accept again, and to connect again for the clients in `held`.
    pub(super) again: Option<u64>,
    pub(super) held: Vec<u32>,
    /// Bytes of HTTP/1.1 requests that wait in their connections.
    pub(super) http_bytes: usize,
    /// Clients known to speak HTTP/2.
    pub(super) http2_clients: usize,
    /// Clients wait to be accepted until others have gone.
    pub(super) crowded: bool,
    /// Tokens of clients start here.
    client_tokens: usize,
    pub(super) close_at: Option<u64>,
}

/// Who an event is for.
enum Target {
    Waker,
    Listener(usize),
    Client(u32, Side),
}

impl Server {
    /// `clock_offset`: microseconds since the process started, now.
    pub fn new(
        poll: Poll,
        listeners: Vec<Listener>,
        doors: Vec<Door>,
        context: Context,
        shared: Arc<Shared>,
        clock_offset: u64,
    ) -> Server {
        Server {
            client_tokens: 1 + listeners.len(),
            poll,
            listeners,
            doors,
            clients: Vec::new(),
            free: Vec::new(),
            freed: Vec::new(),
            readable: Vec::new(),
            dirty: Vec::new(),
            context,
            shared,
            replies: Vec::new(),
            bulk: Vec::new(),
            bulk_start: 0,
            buffer: vec![0; BUFFER_BYTES],
            started: Instant::now(),
            clock_offset,
            next_connection: 1,
            next_tick: 0,
            again: None,
            held: Vec::new(),
            http_bytes: 0,
            http2_clients: 0,
            crowded: false,
            close_at: None,
        }
    }

    /// Serves until it is asked to close and has done so.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        while !self.closed() {
            self.wait(&mut events);
            self.context.now = self.clock_offset + self.started.elapsed().as_micros() as u64;
            for event in &events {
                self.event(event);
            }
            self.retry();
            self.read_all();
            self.hand_over();
            self.take_replies();
            self.keep_time();
            self.hand_over();
            self.write_all();
            self.free.append(&mut self.freed);
        }
        shared::clear_current(&self.shared);
    }

    fn closed(&self) -> bool {
        self.close_at
            .is_some_and(|at| self.live_clients() == 0 || self.context.now >= at)
    }

    fn wait(&mut self, events: &mut Events) {
        let timeout = if self.is_busy() {
            Some(Duration::ZERO)
        } else {
            self.timeout()
        };
        if timeout == Some(Duration::ZERO) || !self.shared.may_sleep() {
            self.poll_for(events, Some(Duration::ZERO));
        } else {
            self.poll_for(events, timeout);
        }
        self.shared.awake();
    }

    /// There is something to do without waiting for it.
    pub(super) fn is_busy(&self) -> bool {
        let can_read = !self.readable.is_empty() && self.shared.may_read();
        can_read || !self.dirty.is_empty() || self.bulk_start < self.bulk.len()
    }

    fn poll_for(&mut self, events: &mut Events, timeout: Option<Duration>) {
        if let Err(error) = self.poll.poll(events, timeout) {
            assert!(
                error.kind() == std::io::ErrorKind::Interrupted,
                "poll failed: {error}"
            );
            events.clear();
        }
    }

    /// Until the next thing that has a time; `None` when there is none.
    fn timeout(&self) -> Option<Duration> {
        let tick = (self.live_clients() > 0).then_some(self.next_tick);
        let times = [
            tick,
            self.context.deadlines.next(),
            self.again,
            self.close_at,
        ];
        let at = times.into_iter().flatten().min()?;
        let now = self.clock_offset + self.started.elapsed().as_micros() as u64;
        Some(Duration::from_micros(at.saturating_sub(now)))
    }

    fn target(&self, token: Token) -> Target {
        match token.0.checked_sub(self.client_tokens) {
            Some(index) => {
                let side = if index % 2 == 0 {
                    Side::Client
                } else {
                    Side::Server
                };
                Target::Client((index / 2) as u32, side)
            }
            None => token
                .0
                .checked_sub(1)
                .map_or(Target::Waker, Target::Listener),
        }
    }

    /// Names a client's own socket or, for HTTP/1.1, the one to the HTTP server.
    pub(super) fn token(&self, slot: u32, side: Side) -> Token {
        Token(self.client_tokens + slot as usize * 2 + usize::from(side == Side::Server))
    }

    fn event(&mut self, event: &Event) {
        match self.target(event.token()) {
            Target::Waker => {}
            Target::Listener(index) => self.accept(index),
            Target::Client(slot, side) => {
                let Some(client) = self.clients[slot as usize].as_mut() else {
                    return;
                };
                if side == Side::Client {
                    client.ending |= event.is_read_closed();
                }
                if let Peer::Http1(splice) = &mut client.peer {
                    splice.ready(side, event.is_read_closed());
                }
                if event.is_writable() {
                    client.full = false;
                    mark(&mut client.dirty, &mut self.dirty, slot);
                }
                // What was held back because the socket was full may be read now, too.
                mark(&mut client.readable, &mut self.readable, slot);
            }
        }
    }

    /// Gives the calls of this turn to JavaScript.
    pub(super) fn hand_over(&mut self) {
        if !self.context.records.is_empty() {
            self.shared.calls.append(&mut self.context.records);
            self.shared.calls.wake_if_due();
        }
    }

    fn keep_time(&mut self) {
        let now = self.context.now;
        for _ in 0..EXPIRED_MAX {
            let Some(id) = self.context.deadlines.pop_due(now, &mut self.context.calls) else {
                break;
            };
            let slot = self.context.calls.at(id).connection;
            if let Some(Peer::Http2(connection)) = self.clients[slot as usize]
                .as_mut()
                .map(|client| &mut client.peer)
            {
                connection.expire(id, &mut self.context);
            }
            self.mark_dirty(slot);
        }
        if self.close_at.is_none()
            && let Some(grace) = self.shared.closing()
        {
            self.begin_close(grace);
        }
        if now >= self.next_tick {
            self.next_tick = now + TICK.min(self.context.limits.probe_timeout / 2);
            self.tick();
        }
        let counters = &self.context.counters;
        counters.set_calls(self.context.calls.live());
        counters.set_pending(self.context.pending_bytes + self.bulk.len() - self.bulk_start);
    }

    fn tick(&mut self) {
        let now = self.context.now;
        for slot in 0..self.clients.len() as u32 {
            let Some(client) = self.clients[slot as usize].as_mut() else {
                continue;
            };
            let gone = match &mut client.peer {
                Peer::Unknown(_) => now >= client.since + PREFACE_WITHIN,
                Peer::Lingering { since, .. } => now >= *since + LINGER,
                Peer::Http1(splice) => !splice.second_passed(),
                Peer::Http2(connection) => {
                    connection.second_passed(&mut self.context);
                    connection.tick(&mut self.context) == Verdict::Close
                        || connection.is_stalled(&self.context)
                }
            };
            if gone {
                self.drop_client(slot);
            } else {
                self.mark_dirty(slot);
            }
        }
    }

    fn begin_close(&mut self, grace: u64) {
        self.close_at = Some(self.context.now + grace * 1000);
        self.listeners.clear();
        for slot in 0..self.clients.len() as u32 {
            let Some(client) = self.clients[slot as usize].as_mut() else {
                continue;
            };
            match &mut client.peer {
                Peer::Http2(connection) => connection.announce_end(&self.context),
                Peer::Http1(splice) => {
                    if !splice.end_soon() {
                        self.drop_client(slot);
                    }
                    continue;
                }
                Peer::Unknown(_) | Peer::Lingering { .. } => {
                    self.drop_client(slot);
                    continue;
                }
            }
            self.mark_dirty(slot);
        }
    }

    pub(super) fn mark_dirty(&mut self, slot: u32) {
        if let Some(client) = self.clients[slot as usize].as_mut() {
            mark(&mut client.dirty, &mut self.dirty, slot);
        }
    }

    pub(super) fn drop_client(&mut self, slot: u32) {
        let Some(mut client) = self.clients[slot as usize].take() else {
            return;
        };
        if let Peer::Http2(connection) = &mut client.peer {
            connection.abandon(&mut self.context);
            self.context
                .put_connection_record(connection.id, call_kind::DISCONNECT, &[]);
        }
        if let Peer::Http1(splice) = &client.peer {
            self.http_bytes -= splice.held_bytes();
        }
        if matches!(client.peer, Peer::Http2(_) | Peer::Lingering { .. }) {
            self.http2_clients -= 1;
        }
        self.freed.push(slot);
        self.count_clients();
        self.has_more_room();
    }
}

/// Puts a client into a list once.
pub(super) fn mark(marked: &mut bool, list: &mut Vec<u32>, slot: u32) {
    if !std::mem::replace(marked, true) {
        list.push(slot);
    }
}
