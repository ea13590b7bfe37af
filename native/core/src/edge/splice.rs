//! An HTTP/1.1 connection on the gRPC port: its requests go to the HTTP server's Unix socket, the answers come back.
//!
//! Requests are read here as far as it takes to know where each ends, so that the HTTP server gets well-formed heads,
//! each whole, and one request at a time: the next waits until the answer before it is with the client. The
//! connection to the HTTP server, which closes it when nothing moves, is made anew when it is wanted.
//!
//! Invariants: in each direction at most one buffer of bytes waits, and a head; until it is gone its source is not
//! read. A source is read only after an event has said that it has something, until a read has found it empty.

use super::http_body::Body;
use super::http_head::{self, Answer, Refusal};
use super::socket::{Received, Socket, read_some, write_some};
use std::mem;

/// Seconds within which a head must be there, as etcd sets it.
const HEAD_WITHIN: u32 = 300;
/// Seconds for a client to read why it was refused.
const LINGER: u32 = 2;
/// The connection to the HTTP server is given up after so many seconds without a request: before that does.
const SERVER_IDLE: u32 = 5;
/// Read ahead of the request under way.
const AHEAD_BYTES_MAX: usize = 64 << 10;

/// One of the two sockets' incoming side.
#[derive(Default)]
struct Source {
    /// It may have bytes.
    ready: bool,
    /// Its end has been announced: a short read does not mean that nothing more comes.
    ending: bool,
    ended: bool,
}

/// Where a connection is.
enum Stage {
    /// A request's head is coming; the search for its end goes on at this offset.
    Head(usize),
    /// A head is there, and goes to the HTTP server once there is a connection to it.
    Whole(http_head::Request),
    /// The request's body is coming.
    Body(Body),
    /// The request is with the HTTP server.
    Sent,
    /// A WebSocket's bytes go both ways as they are.
    Raw,
    /// What waits for the client is the last that it gets.
    Last,
}

/// Where the answer under way is.
enum Reply {
    /// None is wanted, or all of it has come.
    None,
    /// Its head is coming; its request had the method HEAD or not.
    Head {
        bytes: Vec<u8>,
        is_head: bool,
    },
    Body(Body),
}

/// What becomes of a connection after some of its bytes were moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It has ended.
    Over,
    /// There is more, and others come first.
    More,
    /// An event will tell.
    Waits,
}

/// One of the two sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

/// See the module.
pub struct Splice {
    server: Option<Socket>,
    client_source: Source,
    server_source: Source,
    stage: Stage,
    reply: Reply,
    /// Of the client, and looked at by no stage yet.
    received: Vec<u8>,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    /// The request under way is the last.
    closes: bool,
    /// The HTTP server knows that the client has ended.
    told_server: bool,
    /// The client knows that nothing more comes.
    told_client: bool,
    /// What the sockets did not take, of each direction.
    unsent: (usize, usize),
    /// No request of this connection has been read.
    is_first: bool,
    /// Seconds in which the stage has not changed.
    seconds: u32,
}

impl Splice {
    /// `received` is what the client has sent so far.
    pub fn new(received: Vec<u8>) -> Splice {
        Splice {
            server: None,
            client_source: Source {
                ready: true,
                ..Source::default()
            },
            server_source: Source::default(),
            stage: Stage::Head(0),
            reply: Reply::None,
            received,
            to_server: Vec::new(),
            to_client: Vec::new(),
            closes: false,
            told_server: false,
            told_client: false,
            unsent: (0, 0),
            is_first: true,
            seconds: 0,
        }
    }

    /// The connection to the HTTP server that was wanted.
    pub fn connected(&mut self, server: Socket) {
        self.server = Some(server);
        self.server_source = Source::default();
    }

    /// This side may have bytes, or has ended; with `ending` its end is known to be among what waits.
    pub fn ready(&mut self, side: Side, ending: bool) {
        let source = match side {
            Side::Client => &mut self.client_source,
            Side::Server => &mut self.server_source,
        };
        source.ready = true;
        source.ending |= ending;
    }

    /// A second has passed. `false`: the client has had its time.
    pub fn second_passed(&mut self) -> bool {
        self.seconds += 1;
        match self.stage {
            Stage::Head(_) if self.received.is_empty() => {
                if self.seconds >= SERVER_IDLE {
                    self.server = None;
                }
                true
            }
            Stage::Head(_) => self.seconds < HEAD_WITHIN,
            Stage::Last => self.seconds < LINGER,
            _ => true,
        }
    }

    /// The member stops. `false`: nothing is under way.
    pub fn end_soon(&mut self) -> bool {
        self.closes = true;
        !matches!(self.stage, Stage::Head(_)) || !self.to_client.is_empty()
    }

    /// Bytes of requests that wait here.
    pub fn held_bytes(&self) -> usize {
        self.received.len()
    }

    /// A request waits for a connection to the HTTP server.
    pub fn wants_server(&self) -> bool {
        matches!(self.stage, Stage::Whole(_)) && self.server.is_none()
    }

    /// Moves what can be moved both ways, each way a buffer at most: a body that comes and goes as fast as it is moved
    /// would hold up the other connections. A head may have `head_bytes_max` bytes.
    pub fn run(&mut self, client: &mut Socket, buffer: &mut [u8], head_bytes_max: usize) -> Step {
        let (mut client_read, mut server_read) = (false, false);
        loop {
            let Some(mut moved) = self.send(client) else {
                return Step::Over;
            };
            if !client_read && self.may_read_client() {
                client_read = true;
                self.read_client(client, buffer);
            }
            if !server_read && self.may_read_server() {
                server_read = true;
                self.read_server(buffer);
            }
            moved |= self.advance(head_bytes_max);
            if self.is_over(client) {
                return Step::Over;
            }
            let more = (self.may_read_client(), self.may_read_server());
            let goes_on =
                moved || self.may_send() || more.0 && !client_read || more.1 && !server_read;
            if !goes_on {
                return if more.0 || more.1 {
                    Step::More
                } else {
                    Step::Waits
                };
            }
        }
    }

    /// Whether anything was sent; `None` when the client's socket has failed.
    fn send(&mut self, client: &mut Socket) -> Option<bool> {
        let before = (self.to_client.len(), self.to_server.len());
        flush(client, &mut self.to_client)?;
        if let Some(server) = &mut self.server
            && flush(server, &mut self.to_server).is_none()
        {
            // Its answer may be there nevertheless: its end tells.
            self.to_server.clear();
            self.server_source.ready = true;
        }
        let after = (self.to_client.len(), self.to_server.len());
        self.unsent = after;
        Some(before != after)
    }

    /// Something has come to be sent since the last try.
    fn may_send(&self) -> bool {
        let now = (self.to_client.len(), self.to_server.len());
        now != self.unsent && (now.0 > 0 || now.1 > 0 && self.server.is_some())
    }

    fn may_read_client(&self) -> bool {
        let room = match self.stage {
            Stage::Head(_) | Stage::Last => true,
            Stage::Whole(_) => false,
            Stage::Body(_) | Stage::Raw => self.received.is_empty() && self.to_server.is_empty(),
            Stage::Sent => self.received.len() < AHEAD_BYTES_MAX,
        };
        room && self.client_source.ready && !self.client_source.ended
    }

    fn read_client(&mut self, client: &mut Socket, buffer: &mut [u8]) {
        if let Some(count) = self.client_source.read(client, buffer)
            && !matches!(self.stage, Stage::Last)
        {
            if self.received.is_empty() {
                self.seconds = 0;
            }
            self.received.extend_from_slice(&buffer[..count]);
        }
    }

    fn may_read_server(&self) -> bool {
        let source = &self.server_source;
        self.server.is_some() && self.to_client.is_empty() && source.ready && !source.ended
    }

    fn read_server(&mut self, buffer: &mut [u8]) {
        let Some(server) = &mut self.server else {
            return;
        };
        if let Some(count) = self.server_source.read(server, buffer) {
            self.answered(&buffer[..count]);
        }
    }

    /// Bytes of the HTTP server's.
    fn answered(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = match (&self.stage, &mut self.reply) {
                (Stage::Last, _) => return,
                (Stage::Raw, _) => rest.len(),
                // Nobody asked for them.
                (_, Reply::None) => return self.finish(),
                (_, Reply::Head { .. }) => self.answer_head(rest),
                (_, Reply::Body(body)) => match body.take(rest, |_| ()) {
                    Ok(count) => count,
                    Err(_) => return self.finish(),
                },
            };
            self.to_client.extend_from_slice(&rest[..count]);
            rest = &rest[count..];
            if matches!(&self.reply, Reply::Body(body) if body.is_done()) {
                self.reply = Reply::None;
            }
        }
    }

    /// How many of these bytes are an answer's head.
    fn answer_head(&mut self, new: &[u8]) -> usize {
        let Reply::Head { bytes, is_head } = &mut self.reply else {
            return 0;
        };
        let (before, is_head) = (bytes.len(), *is_head);
        bytes.extend_from_slice(new);
        let Ok(end) = http_head::head_end(bytes, before.saturating_sub(3)) else {
            return new.len();
        };
        match http_head::answer(&bytes[..end], is_head) {
            Answer::Interim => bytes.clear(),
            Answer::Final(body) => self.reply = Reply::Body(body),
            Answer::Upgrade => {
                self.reply = Reply::None;
                self.stage = Stage::Raw;
            }
        }
        end - before
    }

    /// Goes from stage to stage as far as what has come allows.
    fn advance(&mut self, head_bytes_max: usize) -> bool {
        let mut moved = false;
        while self.step(head_bytes_max) {
            self.seconds = 0;
            moved = true;
        }
        let all_passed =
            self.client_source.ended && self.received.is_empty() && self.to_server.is_empty();
        if let (Some(server), true, false) = (&self.server, all_passed, self.told_server) {
            self.told_server = true;
            server.shutdown_write();
        }
        moved
    }

    /// One stage further, if that is possible.
    fn step(&mut self, head_bytes_max: usize) -> bool {
        match mem::replace(&mut self.stage, Stage::Last) {
            Stage::Head(from) => self.take_head(from, head_bytes_max),
            Stage::Whole(request) => self.pass_on(request),
            Stage::Body(body) => self.pass_body(body),
            Stage::Sent if matches!(self.reply, Reply::None) && self.to_client.is_empty() => {
                if self.closes {
                    self.finish();
                } else {
                    self.stage = Stage::Head(0);
                }
                true
            }
            Stage::Raw => {
                self.to_server.append(&mut self.received);
                self.stage = Stage::Raw;
                false
            }
            stage => {
                self.stage = stage;
                false
            }
        }
    }

    fn take_head(&mut self, from: usize, bytes_max: usize) -> bool {
        let end = match http_head::head_end(&self.received, from) {
            Ok(end) if end <= bytes_max => end,
            Err(from) if self.received.len() <= bytes_max => {
                self.stage = Stage::Head(from);
                return false;
            }
            _ => return self.refuse(&Refusal::TooLarge),
        };
        match http_head::request(&self.received[..end]) {
            Ok(request) => {
                self.received.drain(..end);
                self.is_first = false;
                self.stage = Stage::Whole(request);
                true
            }
            // Before anything was understood it may be any protocol: etcd says nothing then.
            Err(Refusal::NotHttp) if self.is_first => {
                self.finish();
                true
            }
            Err(refusal) => self.refuse(&refusal),
        }
    }

    fn pass_on(&mut self, request: http_head::Request) -> bool {
        if self.server.is_none() {
            self.stage = Stage::Whole(request);
            return false;
        }
        self.to_server.extend_from_slice(&request.head);
        if request.expects {
            self.to_client
                .extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        self.closes |= request.closes;
        self.reply = Reply::Head {
            bytes: Vec::new(),
            is_head: request.is_head,
        };
        self.stage = Stage::Body(request.body);
        true
    }

    fn pass_body(&mut self, mut body: Body) -> bool {
        let is_chunked = matches!(body, Body::Chunked(_));
        let out = &mut self.to_server;
        let taken = body.take(&self.received, |data| {
            if is_chunked {
                out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
            }
            out.extend_from_slice(data);
            if is_chunked {
                out.extend_from_slice(b"\r\n");
            }
        });
        let count = match taken {
            Ok(count) => count,
            Err(malformed) => return self.refuse(&Refusal::Body(malformed)),
        };
        self.received.drain(..count);
        if !body.is_done() {
            self.stage = Stage::Body(body);
            return false;
        }
        if is_chunked {
            out.extend_from_slice(b"0\r\n\r\n");
        }
        self.stage = Stage::Sent;
        true
    }

    /// Tells the client why, unless an answer is under way.
    fn refuse(&mut self, refusal: &Refusal) -> bool {
        let is_unanswered = match &self.reply {
            Reply::None => true,
            Reply::Head { bytes, .. } => bytes.is_empty(),
            Reply::Body(_) => false,
        };
        if is_unanswered {
            self.to_client.extend_from_slice(&refusal.bytes());
        }
        self.finish();
        true
    }

    /// What waits for the client is the last that it gets.
    fn finish(&mut self) {
        self.server = None;
        self.to_server = Vec::new();
        self.received = Vec::new();
        self.stage = Stage::Last;
        self.seconds = 0;
    }

    fn is_over(&mut self, client: &mut Socket) -> bool {
        if self.server_source.ended && self.server.take().is_some() {
            self.to_server.clear();
            match (&self.stage, &self.reply) {
                // It has closed a connection that nobody used.
                (Stage::Head(_) | Stage::Whole(_), _) => {}
                (Stage::Sent, Reply::None) => {}
                _ => self.finish(),
            }
        }
        if !self.to_client.is_empty() {
            return false;
        }
        if matches!(self.stage, Stage::Last) && !self.told_client {
            self.told_client = true;
            client.shutdown_write();
        }
        self.client_source.ended
            && matches!(self.stage, Stage::Head(_) | Stage::Body(_) | Stage::Last)
    }
}

impl Source {
    /// The number of bytes read.
    fn read(&mut self, socket: &mut Socket, buffer: &mut [u8]) -> Option<usize> {
        match read_some(socket, buffer) {
            Received::Nothing => self.ready = false,
            Received::End => self.ended = true,
            Received::Bytes(count) => {
                // A short read means that the source is empty now; its next bytes raise an event, but its end may
                // have come with these.
                self.ready = count == buffer.len() || self.ending;
                return Some(count);
            }
        }
        None
    }
}

/// Writes what the socket takes; `None` when it has failed.
fn flush(socket: &mut Socket, bytes: &mut Vec<u8>) -> Option<()> {
    if !bytes.is_empty() {
        let count = write_some(socket, bytes)?;
        bytes.drain(..count);
        if bytes.is_empty() && bytes.capacity() > AHEAD_BYTES_MAX {
            *bytes = Vec::new();
        }
    }
    Some(())
}

#[cfg(test)]
#[path = "tests/splice.rs"]
mod tests;
