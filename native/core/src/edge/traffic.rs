//! What flows through the server's sockets: bytes in, calls out; replies in, bytes out. The other half of
//! `server.rs`.

use super::batch::{ReplyRecord, call_kind, put_metadata, tag};
use super::connection::{Connection, Out};
use super::frame::PREFACE;
use super::http10;
use super::server::{Server, mark};
use super::socket::{Received, Socket, read_some, write_some};
use super::splice::{Side, Splice};
use std::io;

/// Read at once from one socket, so that one client cannot keep the others waiting.
const READ_BYTES: usize = 64 << 10;
/// The start of a frame that the last read cut off.
const LEFTOVER_BYTES_MAX: usize = 16 << 10 | 16;
/// What the server's buffer for reading must hold.
pub const BUFFER_BYTES: usize = LEFTOVER_BYTES_MAX + READ_BYTES;
/// Calls are handed over when this much has gathered, even within a turn.
const RECORDS_BYTES_MAX: usize = 256 << 10;
/// The replies' buffer goes back to this size after a larger batch.
const REPLY_BYTES_KEPT: usize = 4 << 20;

const LIVE: &str = "the client is there";

/// What a client speaks.
pub enum Peer {
    /// Not known yet; these are the bytes so far.
    Unknown(Vec<u8>),
    Http2(Box<Connection>),
    Http1(Box<Splice>),
    /// HTTP/1.1, but the HTTP server had no room for it; these are the bytes so far.
    Held(Vec<u8>),
    /// It has been sent a GOAWAY for an error and is only listened to.
    Lingering {
        since: u64,
        out: Out,
    },
}

pub struct Client {
    pub socket: Socket,
    pub remote: String,
    /// Which listener it came by.
    pub door: usize,
    pub peer: Peer,
    /// The start of a frame whose rest has not come.
    pub leftover: Vec<u8>,
    /// Its end has been announced, and no further event may come: it is read until the end is found.
    pub ending: bool,
    pub since: u64,
    /// It is in `readable`.
    pub readable: bool,
    /// It is in `dirty`.
    pub dirty: bool,
    /// The socket takes no more bytes for now.
    pub full: bool,
}

impl Server {
    fn client(&mut self, slot: u32) -> &mut Client {
        self.clients[slot as usize].as_mut().expect(LIVE)
    }

    pub(super) fn read_all(&mut self) {
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
        if client.full || matches!(client.peer, Peer::Held(_)) {
            // It takes no replies, so it may send nothing more; or nobody takes what it sends yet. An event, or a
            // new try, marks it again.
            return;
        }
        let kept = client.leftover.len();
        self.buffer[..kept].copy_from_slice(&client.leftover);
        let end = kept + READ_BYTES;
        match read_some(&mut client.socket, &mut self.buffer[kept..end]) {
            Received::Nothing => {}
            Received::End => self.drop_client(slot),
            Received::Bytes(count) => {
                if kept + count == end || client.ending {
                    mark(&mut client.readable, &mut self.readable, slot);
                }
                self.received(slot, kept + count);
            }
        }
    }

    /// `length` bytes of a client are in `buffer`.
    fn received(&mut self, slot: u32, length: usize) {
        let client = self.clients[slot as usize].as_mut().expect(LIVE);
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
            Peer::Http1(_) | Peer::Held(_) => unreachable!("their bytes are not parsed"),
            Peer::Lingering { .. } => {}
        }
    }

    /// Tells HTTP/2 with prior knowledge from anything else by the first bytes.
    fn recognize(&mut self, slot: u32) {
        let client = self.clients[slot as usize].as_mut().expect(LIVE);
        let Peer::Unknown(head) = &mut client.peer else {
            return;
        };
        let head = std::mem::take(head);
        let compared = head.len().min(PREFACE.len());
        if !self.doors[client.door].grpc || head[..compared] != PREFACE[..compared] {
            return self.recognize_http(slot, head);
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

    /// Tells HTTP/1.0 from what the HTTP server speaks itself.
    fn recognize_http(&mut self, slot: u32, head: Vec<u8>) {
        match http10::start(&head) {
            http10::Start::Unknown => self.client(slot).peer = Peer::Unknown(head),
            http10::Start::AsIs => self.splice(slot, &head),
            http10::Start::Instead(head) => self.splice(slot, &head),
        }
    }

    /// Gives an HTTP/1.1 connection to the HTTP server.
    fn splice(&mut self, slot: u32, head: &[u8]) {
        let door = self.client(slot).door;
        let Some(path) = self.doors[door].http_path.as_deref() else {
            return self.drop_client(slot);
        };
        match Splice::open(path, head) {
            Ok(splice) => self.spliced(slot, splice),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // Its backlog is full.
                self.client(slot).peer = Peer::Held(head.to_vec());
                self.held.push(slot);
                self.try_again_later();
            }
            Err(_) => self.drop_client(slot),
        }
    }

    fn spliced(&mut self, slot: u32, mut splice: Splice) {
        let token = self.token(slot, Side::Server);
        let registered = splice.server().register(self.poll.registry(), token);
        if registered.is_err() {
            return self.drop_client(slot);
        }
        let client = self.clients[slot as usize].as_mut().expect(LIVE);
        if client.ending {
            splice.ready(Side::Client, true);
        }
        client.peer = Peer::Http1(Box::new(splice));
        mark(&mut client.readable, &mut self.readable, slot);
    }

    /// Tries once more for a client in `held`.
    pub(super) fn connect_again(&mut self, slot: u32) {
        let Some(client) = self.clients[slot as usize].as_mut() else {
            return;
        };
        if let Peer::Held(head) = &mut client.peer {
            let head = std::mem::take(head);
            self.splice(slot, &head);
        }
    }

    /// Gives the replies that have come to their connections.
    pub(super) fn take_replies(&mut self) {
        let mut replies = std::mem::take(&mut self.replies);
        self.shared.take_replies(&mut replies);
        let mut rest = replies.as_slice();
        while let Some(record) = ReplyRecord::read(rest) {
            rest = &rest[record.length..];
            let Some(call) = self.context.calls.get(record.call_id) else {
                continue;
            };
            let slot = call.connection;
            let client = self.clients[slot as usize].as_mut().expect(LIVE);
            let Peer::Http2(connection) = &mut client.peer else {
                continue;
            };
            connection.reply(record.call_id, &record, &mut self.context);
            mark(&mut client.dirty, &mut self.dirty, slot);
        }
        assert!(rest.is_empty(), "a reply batch is cut short");
        replies.clear();
        if replies.capacity() > REPLY_BYTES_KEPT {
            replies = Vec::new();
        }
        self.replies = replies;
    }

    pub(super) fn write_all(&mut self) {
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
        let over = match &mut client.peer {
            Peer::Http2(connection) => loop {
                connection.pump(&mut self.context);
                if connection.out.waiting() == 0 {
                    break connection.drained();
                }
                if client.full {
                    break false;
                }
                match write_out(&mut client.socket, &mut connection.out) {
                    None => break true,
                    Some(all) => client.full = !all,
                }
                connection.written();
            },
            Peer::Lingering { out, .. } => {
                let all = write_out(&mut client.socket, out);
                if all == Some(true) {
                    client.socket.shutdown_write();
                }
                all.is_none()
            }
            _ => false,
        };
        if over {
            self.drop_client(slot);
        }
    }

    /// The connection has failed and its GOAWAY must still reach the client.
    fn linger(&mut self, slot: u32) {
        let client = self.clients[slot as usize].as_mut().expect(LIVE);
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
}

/// Writes once; whether the socket took all, `None` when it has failed.
fn write_out(socket: &mut Socket, out: &mut Out) -> Option<bool> {
    if out.waiting() > 0 {
        let count = write_some(socket, &out.bytes[out.start..])?;
        out.taken(count);
    }
    Some(out.waiting() == 0)
}
