//! The edge's thread: one loop over all sockets, replies and times.
//!
//! One turn: wait for events; accept, read and parse; hand the calls to JavaScript with at most one wake-up;
//! take the replies; write each connection's bytes with one system call. Sockets are registered once,
//! edge-triggered, so a connection is in `readable` until a read has found it empty.

use super::batch::{ReplyRecord, call_kind, put_metadata, tag};
use super::connection::Connection;
use super::context::Context;
use super::frame::PREFACE;
use super::health::Verdict;
use super::shared::{self, Shared};
use super::socket::{Listener, Received, Socket, read_some, write_some};
use super::splice::Splice;
use mio::event::Event;
use mio::{Events, Poll, Token};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const WAKER_TOKEN: Token = Token(0);
const EVENTS_MAX: usize = 1024;
/// Read at once from one socket, so that one client cannot keep the others waiting.
const READ_BYTES: usize = 64 << 10;
/// The start of a frame that the last read cut off.
const LEFTOVER_BYTES_MAX: usize = 16 << 10 | 16;
/// Calls are handed over when this much has gathered, even within a turn.
const RECORDS_BYTES_MAX: usize = 256 << 10;
/// A client must say within this what it speaks.
const PREFACE_WITHIN: u64 = 120_000_000;
/// After a GOAWAY for an error, a client may read it for this long.
const LINGER: u64 = 1_000_000;
const TICK: u64 = 1_000_000;
/// Accepted at once; more wait a turn.
const ACCEPTS_MAX: usize = 256;
/// When the process has no file descriptor left, accepting is tried again after this.
const ACCEPT_AGAIN_AFTER: u64 = 50_000;

/// What a client speaks.
enum Peer {
    /// Not known yet; these are the bytes so far.
    Unknown(Vec<u8>),
    Http2(Box<Connection>),
    Http1(Box<Splice>),
    /// It has been sent a GOAWAY for an error and is only listened to.
    Lingering {
        since: u64,
        out: super::connection::Out,
    },
}

struct Client {
    socket: Socket,
    remote: String,
    peer: Peer,
    /// The start of a frame whose rest has not come.
    leftover: Vec<u8>,
    since: u64,
    /// It is in `readable`.
    readable: bool,
    /// It is in `dirty`.
    dirty: bool,
    /// The socket takes no more bytes for now.
    full: bool,
}

/// See the module.
pub struct Server {
    poll: Poll,
    listeners: Vec<Listener>,
    clients: Vec<Option<Client>>,
    free: Vec<u32>,
    /// Freed in this turn; events of it may still name them.
    freed: Vec<u32>,
    readable: Vec<u32>,
    dirty: Vec<u32>,
    context: Context,
    shared: Arc<Shared>,
    replies: Vec<u8>,
    buffer: Vec<u8>,
    http_path: Option<PathBuf>,
    started: Instant,
    clock_offset: u64,
    next_connection: u32,
    next_tick: u64,
    accept_again: Option<u64>,
    close_at: Option<u64>,
}

/// Who an event is for.
enum Target {
    Waker,
    Listener(usize),
    Client(u32),
}

impl Server {
    /// `clock_offset`: microseconds since the process started, now.
    pub fn new(
        poll: Poll,
        listeners: Vec<Listener>,
        context: Context,
        shared: Arc<Shared>,
        http_path: Option<PathBuf>,
        clock_offset: u64,
    ) -> Server {
        Server {
            poll,
            listeners,
            clients: Vec::new(),
            free: Vec::new(),
            freed: Vec::new(),
            readable: Vec::new(),
            dirty: Vec::new(),
            context,
            shared,
            replies: Vec::new(),
            buffer: vec![0; LEFTOVER_BYTES_MAX + READ_BYTES],
            http_path,
            started: Instant::now(),
            clock_offset,
            next_connection: 1,
            next_tick: 0,
            accept_again: None,
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
            self.retry_accept();
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
        let clients = self.clients.len() - self.free.len();
        self.close_at
            .is_some_and(|at| clients == 0 || self.context.now >= at)
    }

    fn wait(&mut self, events: &mut Events) {
        let busy = !self.readable.is_empty() && self.shared.may_read();
        let timeout = if busy {
            Some(Duration::ZERO)
        } else {
            self.timeout()
        };
        if timeout == Some(Duration::ZERO) || !self.shared.may_sleep() {
            self.poll_for(events, Some(Duration::ZERO));
        } else {
            self.poll_for(events, timeout);
            self.shared.awake();
        }
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
        let tick = (self.clients.len() > self.free.len()).then_some(self.next_tick);
        let times = [
            tick,
            self.context.deadlines.next(),
            self.accept_again,
            self.close_at,
        ];
        let at = times.into_iter().flatten().min()?;
        let now = self.clock_offset + self.started.elapsed().as_micros() as u64;
        Some(Duration::from_micros(at.saturating_sub(now)))
    }

    fn target(&self, token: Token) -> Target {
        match token.0.checked_sub(1) {
            None => Target::Waker,
            Some(index) if index < self.listeners.len() => Target::Listener(index),
            // A client's own socket and, for HTTP/1.1, its server's lead to the same place.
            Some(index) => Target::Client(((index - self.listeners.len()) / 2) as u32),
        }
    }

    fn token(&self, slot: u32, side: usize) -> Token {
        Token(1 + self.listeners.len() + slot as usize * 2 + side)
    }

    fn event(&mut self, event: &Event) {
        match self.target(event.token()) {
            Target::Waker => {}
            Target::Listener(index) => self.accept(index),
            Target::Client(slot) => {
                let Some(client) = self.clients[slot as usize].as_mut() else {
                    return;
                };
                if event.is_readable() || event.is_error() {
                    mark(&mut client.readable, &mut self.readable, slot);
                }
                if event.is_writable() {
                    client.full = false;
                    mark(&mut client.dirty, &mut self.dirty, slot);
                    // What was held back because of it may be read now.
                    mark(&mut client.readable, &mut self.readable, slot);
                }
            }
        }
    }

    fn retry_accept(&mut self) {
        if self.accept_again.is_some_and(|at| self.context.now >= at) {
            self.accept_again = None;
            for index in 0..self.listeners.len() {
                self.accept(index);
            }
        }
    }

    fn accept(&mut self, index: usize) {
        if self.close_at.is_some() {
            return;
        }
        for _ in 0..ACCEPTS_MAX {
            match self.listeners[index].accept() {
                Ok((socket, remote)) => self.admit(socket, remote),
                Err(error) => match error.kind() {
                    std::io::ErrorKind::WouldBlock => return,
                    std::io::ErrorKind::Interrupted | std::io::ErrorKind::ConnectionAborted => {}
                    // No file descriptor or memory: clients in the backlog wait until there is.
                    _ => break,
                },
            }
        }
        self.accept_again = Some(self.context.now + ACCEPT_AGAIN_AFTER);
    }

    fn admit(&mut self, mut socket: Socket, remote: String) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.clients.push(None);
            self.clients.len() as u32 - 1
        });
        if socket
            .register(self.poll.registry(), self.token(slot, 0))
            .is_err()
        {
            return self.free.push(slot);
        }
        self.clients[slot as usize] = Some(Client {
            socket,
            remote,
            peer: Peer::Unknown(Vec::new()),
            leftover: Vec::new(),
            since: self.context.now,
            readable: false,
            dirty: false,
            full: false,
        });
        self.count_clients();
    }

    fn read_all(&mut self) {
        let mut again = std::mem::take(&mut self.readable);
        let count = again.len();
        for place in 0..count {
            let slot = again[place];
            if !self.shared.may_read() {
                // They stay readable; the drain of the calls wakes this thread.
                self.readable.extend_from_slice(&again[place..count]);
                break;
            }
            self.read(slot);
            if self.context.records.len() > RECORDS_BYTES_MAX {
                self.hand_over();
            }
        }
        if self.readable.is_empty() {
            again.clear();
            self.readable = again;
        }
    }

    fn read(&mut self, slot: u32) {
        let Some(client) = self.clients[slot as usize].as_mut() else {
            return;
        };
        client.readable = false;
        if let Peer::Http1(splice) = &mut client.peer {
            if !splice.run(&mut client.socket, &mut self.buffer) {
                self.drop_client(slot);
            }
            return;
        }
        if client.full {
            // It takes no replies, so it may send nothing more. Writable events mark it again.
            return;
        }
        let kept = client.leftover.len();
        self.buffer[..kept].copy_from_slice(&client.leftover);
        let end = kept + READ_BYTES;
        match read_some(&mut client.socket, &mut self.buffer[kept..end]) {
            Received::Nothing => {}
            Received::End => self.drop_client(slot),
            Received::Bytes(count) => {
                if kept + count == end {
                    mark(&mut client.readable, &mut self.readable, slot);
                }
                self.received(slot, kept + count);
            }
        }
    }

    /// `length` bytes of a client are in `buffer`.
    fn received(&mut self, slot: u32, length: usize) {
        let client = self.clients[slot as usize]
            .as_mut()
            .expect("it was read from");
        client.leftover.clear();
        match &mut client.peer {
            Peer::Unknown(head) => {
                head.extend_from_slice(&self.buffer[..length]);
                self.recognize(slot);
            }
            Peer::Http2(connection) => {
                match connection.receive(&self.buffer[..length], &mut self.context) {
                    Ok(taken) => client
                        .leftover
                        .extend_from_slice(&self.buffer[taken..length]),
                    Err(_) => self.linger(slot),
                }
                self.mark_dirty(slot);
            }
            Peer::Http1(_) => unreachable!("spliced connections are not parsed"),
            Peer::Lingering { .. } => {}
        }
    }

    /// Tells HTTP/2 with prior knowledge from anything else by the first bytes.
    fn recognize(&mut self, slot: u32) {
        let client = self.clients[slot as usize]
            .as_mut()
            .expect("it was read from");
        let Peer::Unknown(head) = &mut client.peer else {
            return;
        };
        let head = std::mem::take(head);
        let compared = head.len().min(PREFACE.len());
        if head[..compared] != PREFACE[..compared] {
            return self.splice(slot, &head);
        }
        if compared < PREFACE.len() {
            client.peer = Peer::Unknown(head);
            return;
        }
        let id = self.next_connection;
        self.next_connection = self.next_connection.wrapping_add(1).max(1);
        let mut connection = Box::new(Connection::new(slot, id, &self.context));
        if self.close_at.is_some() {
            connection.announce_end(&self.context);
        }
        client.peer = Peer::Http2(connection);
        let mut metadata = Vec::new();
        put_metadata(&mut metadata, tag::REMOTE_ADDRESS, client.remote.as_bytes());
        self.context
            .put_connection_record(id, call_kind::CONNECT, &metadata);
        let rest = head.len() - PREFACE.len();
        self.buffer[..rest].copy_from_slice(&head[PREFACE.len()..]);
        self.received(slot, rest);
    }

    fn splice(&mut self, slot: u32, head: &[u8]) {
        let token = self.token(slot, 1);
        let opened = self
            .http_path
            .as_deref()
            .and_then(|path| Splice::open(path, head).ok());
        let Some(mut splice) = opened else {
            return self.drop_client(slot);
        };
        if splice
            .server()
            .register(self.poll.registry(), token)
            .is_err()
        {
            return self.drop_client(slot);
        }
        let client = self.clients[slot as usize]
            .as_mut()
            .expect("it was read from");
        client.peer = Peer::Http1(Box::new(splice));
        mark(&mut client.readable, &mut self.readable, slot);
    }

    /// Gives the calls of this turn to JavaScript.
    fn hand_over(&mut self) {
        if !self.context.records.is_empty() {
            self.shared.calls.append(&mut self.context.records);
            self.shared.calls.wake_if_due();
        }
    }

    fn take_replies(&mut self) {
        let mut replies = std::mem::take(&mut self.replies);
        self.shared.take_replies(&mut replies);
        let mut rest = replies.as_slice();
        while let Some(record) = ReplyRecord::read(rest) {
            rest = &rest[record.length..];
            let Some(call) = self.context.calls.get(record.call_id) else {
                continue;
            };
            let slot = call.connection;
            let client = self.clients[slot as usize]
                .as_mut()
                .expect("a call's connection is there");
            let Peer::Http2(connection) = &mut client.peer else {
                continue;
            };
            connection.reply(record.call_id, &record, &mut self.context);
            mark(&mut client.dirty, &mut self.dirty, slot);
        }
        assert!(rest.is_empty(), "a reply batch is cut short");
        replies.clear();
        if replies.capacity() > 4 << 20 {
            replies = Vec::new();
        }
        self.replies = replies;
    }

    fn keep_time(&mut self) {
        let now = self.context.now;
        while let Some(id) = self.context.deadlines.pop_due(now, &mut self.context.calls) {
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
        self.context.counters.set_calls(self.context.calls.live());
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
                Peer::Http1(_) => false,
                Peer::Http2(connection) => {
                    connection.second_passed();
                    connection.tick(&mut self.context) == Verdict::Close
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
                Peer::Http1(_) => {}
                Peer::Unknown(_) | Peer::Lingering { .. } => {
                    self.drop_client(slot);
                    continue;
                }
            }
            self.mark_dirty(slot);
        }
    }

    fn mark_dirty(&mut self, slot: u32) {
        if let Some(client) = self.clients[slot as usize].as_mut() {
            mark(&mut client.dirty, &mut self.dirty, slot);
        }
    }

    fn write_all(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for slot in dirty.drain(..) {
            self.write(slot);
        }
        if self.dirty.is_empty() {
            self.dirty = dirty;
        }
        // Writing may have let waiting calls go.
        self.hand_over();
    }

    fn write(&mut self, slot: u32) {
        let Some(client) = self.clients[slot as usize].as_mut() else {
            return;
        };
        client.dirty = false;
        let (out, connection) = match &mut client.peer {
            Peer::Http2(connection) => {
                if connection.drained() && connection.out.waiting() == 0 {
                    return self.drop_client(slot);
                }
                (None, Some(connection))
            }
            Peer::Lingering { out, .. } => (Some(out), None),
            _ => return,
        };
        let mut connection = connection;
        let mut out = out;
        while !client.full {
            let waiting = match (&mut connection, &mut out) {
                (Some(connection), _) => {
                    connection.pump(&mut self.context);
                    &mut connection.out
                }
                (_, Some(out)) => out,
                _ => return,
            };
            if waiting.waiting() == 0 {
                break;
            }
            match write_some(&mut client.socket, &waiting.bytes[waiting.start..]) {
                None => return self.drop_client(slot),
                Some(count) => {
                    client.full = count < waiting.waiting();
                    waiting.taken(count);
                }
            }
        }
        if out.is_some_and(|out| out.waiting() == 0) {
            client.socket.shutdown_write();
        } else if connection
            .is_some_and(|connection| connection.drained() && connection.out.waiting() == 0)
        {
            self.drop_client(slot);
        }
    }

    /// The connection has failed and its GOAWAY must still reach the client.
    fn linger(&mut self, slot: u32) {
        let client = self.clients[slot as usize]
            .as_mut()
            .expect("it was read from");
        let Peer::Http2(connection) = &mut client.peer else {
            return;
        };
        let id = connection.id;
        let out = std::mem::take(&mut connection.out);
        client.peer = Peer::Lingering {
            since: self.context.now,
            out,
        };
        self.context
            .put_connection_record(id, call_kind::DISCONNECT, &[]);
    }

    fn drop_client(&mut self, slot: u32) {
        let Some(mut client) = self.clients[slot as usize].take() else {
            return;
        };
        if let Peer::Http2(connection) = &mut client.peer {
            connection.abandon(&mut self.context);
            self.context
                .put_connection_record(connection.id, call_kind::DISCONNECT, &[]);
        }
        self.freed.push(slot);
        self.count_clients();
    }

    fn count_clients(&self) {
        let gone = self.free.len() + self.freed.len();
        self.shared
            .counters
            .set_connections(self.clients.len().saturating_sub(gone));
    }
}

/// Puts a client into a list once.
fn mark(marked: &mut bool, list: &mut Vec<u32>, slot: u32) {
    if !std::mem::replace(marked, true) {
        list.push(slot);
    }
}
