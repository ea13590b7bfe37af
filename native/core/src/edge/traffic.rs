//! What flows through the server's sockets: bytes in, calls out, and the replies' bytes out. With `replies.rs` the
//! other half of `server.rs`.

use super::batch::{call_kind, put_metadata, tag};
use super::connection::{Connection, Out, RECORDS_BYTES_MAX};
use super::context::Context;
use super::frame::PREFACE;
use super::http_head::HEAD_BYTES_MAX;
use super::server::{Server, mark};
use super::socket::{Received, Socket, read_some, write_some};
use super::splice::{Side, Splice, Step};
use mio::net::UnixStream;
use std::io::{self, Write};

/// Read at once from one socket, so that one client cannot keep the others waiting.
const READ_BYTES: usize = 64 << 10;
/// The start of a frame that the last read cut off.
const LEFTOVER_BYTES_MAX: usize = 16 << 10 | 16;
/// What the server's buffer for reading must hold.
pub const BUFFER_BYTES: usize = LEFTOVER_BYTES_MAX + READ_BYTES;
/// Written at once to one socket, for the same reason.
const WRITE_BYTES: usize = 1 << 20;
/// Bytes of HTTP/1.1 requests that wait here; with more, heads must be short.
const HTTP_BYTES_MAX: usize = 64 << 20;

pub(super) const LIVE: &str = "the client is there";

/// What a client speaks.
pub enum Peer {
    /// Not known yet; these are the bytes so far.
    Unknown(Vec<u8>),
    Http2(Box<Connection>),
    Http1(Box<Splice>),
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
    /// The start of a frame whose rest has not come, or all that has come since `paused`.
    pub leftover: Vec<u8>,
    /// Whole frames are in `leftover`: they come before what the socket has.
    pub paused: bool,
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
            let pressed = self.http_bytes >= HTTP_BYTES_MAX;
            let head_bytes_max = if pressed { READ_BYTES } else { HEAD_BYTES_MAX };
            self.http_bytes -= splice.held_bytes();
            let step = splice.run(&mut client.socket, &mut self.buffer, head_bytes_max);
            self.http_bytes += splice.held_bytes();
            return match step {
                Step::Over => self.drop_client(slot),
                Step::More => self.read_again(slot),
                Step::Waits if splice.wants_server() => self.connect(slot),
                Step::Waits => {}
            };
        }
        if client.full {
            // It takes no replies, so it may send nothing more. An event marks it again.
            return;
        }
        let kept = client.leftover.len();
        self.buffer[..kept].copy_from_slice(&client.leftover);
        if client.paused {
            mark(&mut client.readable, &mut self.readable, slot);
            return self.received(slot, kept);
        }
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
                    Ok(taken) => {
                        client
                            .leftover
                            .extend_from_slice(&self.buffer[taken.bytes..length]);
                        client.paused = taken.paused;
                        if taken.paused {
                            mark(&mut client.readable, &mut self.readable, slot);
                        }
                    }
                    Err(_) => self.linger(slot),
                }
                self.mark_dirty(slot);
            }
            Peer::Http1(_) => unreachable!("it is read elsewhere"),
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
        self.http2_clients += 1;
        let mut metadata = Vec::new();
        put_metadata(&mut metadata, tag::REMOTE_ADDRESS, client.remote.as_bytes());
        self.context
            .put_connection_record(id, call_kind::CONNECT, &metadata);
        self.has_more_room();
        let rest = head.len() - PREFACE.len();
        self.buffer[..rest].copy_from_slice(&head[PREFACE.len()..]);
        self.received(slot, rest);
    }

    /// What is not HTTP/2 with prior knowledge is HTTP/1.1, or refused as such.
    fn recognize_http(&mut self, slot: u32, head: Vec<u8>) {
        let client = self.clients[slot as usize].as_mut().expect(LIVE);
        if self.doors[client.door].http_path.is_none() {
            return self.drop_client(slot);
        }
        self.http_bytes += head.len();
        let mut splice = Box::new(Splice::new(head));
        splice.ready(Side::Client, client.ending);
        client.peer = Peer::Http1(splice);
        mark(&mut client.readable, &mut self.readable, slot);
    }

    /// Lets a connection go on, also one in `held`.
    pub(super) fn read_again(&mut self, slot: u32) {
        if let Some(client) = self.clients[slot as usize].as_mut() {
            mark(&mut client.readable, &mut self.readable, slot);
        }
    }

    /// Connects an HTTP/1.1 client to the HTTP server.
    fn connect(&mut self, slot: u32) {
        let door = self.client(slot).door;
        let path = self.doors[door]
            .http_path
            .as_deref()
            .expect("served by HTTP");
        let mut server = match UnixStream::connect(path) {
            Ok(stream) => Socket::Unix(stream),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // Its backlog is full.
                self.held.push(slot);
                return self.try_again_later();
            }
            Err(_) => return self.drop_client(slot),
        };
        let token = self.token(slot, Side::Server);
        if server.register(self.poll.registry(), token).is_err() {
            return self.drop_client(slot);
        }
        if let Peer::Http1(splice) = &mut self.client(slot).peer {
            splice.connected(server);
        }
        self.read_again(slot);
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
        let step = match &mut client.peer {
            Peer::Http2(connection) => write_replies(
                connection,
                &mut client.socket,
                &mut client.full,
                &mut self.context,
            ),
            Peer::Lingering { out, .. } => match write_out(&mut client.socket, out) {
                None => Step::Over,
                Some(all) => {
                    if all {
                        client.socket.shutdown_write();
                    }
                    Step::Waits
                }
            },
            _ => Step::Waits,
        };
        match step {
            Step::Over => self.drop_client(slot),
            Step::More => mark(&mut client.dirty, &mut self.dirty, slot),
            Step::Waits => {}
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
        client.paused = false;
        client.peer = Peer::Lingering {
            since: self.context.now,
            out,
        };
        self.context
            .put_connection_record(id, call_kind::DISCONNECT, &[]);
    }
}

/// Writes what waits, `WRITE_BYTES` at most: a client that takes replies as fast as they are written would hold up the
/// others.
fn write_replies(
    connection: &mut Connection,
    socket: &mut impl Write,
    full: &mut bool,
    context: &mut Context,
) -> Step {
    let mut written = 0;
    loop {
        connection.pump(context);
        let waiting = connection.out.waiting();
        if waiting == 0 {
            return if connection.drained() {
                Step::Over
            } else {
                Step::Waits
            };
        }
        if *full {
            return Step::Waits;
        }
        if written >= WRITE_BYTES {
            return Step::More;
        }
        match write_out(socket, &mut connection.out) {
            None => return Step::Over,
            Some(all) => *full = !all,
        }
        written += waiting - connection.out.waiting();
        connection.written();
    }
}

/// Writes once; whether the socket took all, `None` when it has failed.
fn write_out(socket: &mut impl Write, out: &mut Out) -> Option<bool> {
    if out.waiting() > 0 {
        let count = write_some(socket, &out.bytes[out.start..])?;
        out.taken(count);
    }
    Some(out.waiting() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::tests::{Rig, SNAPSHOT, framed};

    #[test]
    fn a_client_that_takes_replies_as_they_are_written_leaves_others_their_turn() {
        let mut rig = Rig::new(|_| {});
        rig.frame(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff])
            .frame(8, 0, 0, &0x7000_0000u32.to_be_bytes())
            .open(1, SNAPSHOT)
            .data(1, true, &framed(b""));
        rig.deliver().expect("valid");
        let id = rig.calls()[0];
        rig.reply(id, 1, 0, &vec![9; 10 << 20], b"");
        let (mut taken, mut full, mut turns) = (Vec::new(), false, 0);
        loop {
            let before = taken.len();
            let step = write_replies(&mut rig.connection, &mut taken, &mut full, &mut rig.context);
            let written = taken.len() - before;
            assert!(written <= WRITE_BYTES + (512 << 10), "{written} in a turn");
            turns += 1;
            match step {
                Step::More => {}
                Step::Waits => break,
                Step::Over => panic!("the connection goes on"),
            }
        }
        assert!(turns >= 7 && taken.len() > 10 << 20, "{turns} turns");
    }
}
