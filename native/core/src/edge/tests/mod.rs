//! Tests of whole connections without sockets. Here: a connection, and a client that writes frames.

mod bounds;
mod calls;
mod hostile;
mod random;

use crate::edge::batch::{ReplyRecord, call_kind, peek};
use crate::edge::call_table::MethodKind;
use crate::edge::connection::Connection;
use crate::edge::context::{Context, Limits, Method};
use crate::edge::counters::Counters;
use crate::edge::frame::{self, Fatal, HEADER_BYTES, Header, flag, kind};
use crate::edge::hpack::{Decoder, Sink};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

pub const PUT: &str = "/etcdserverpb.KV/Put";
pub const WATCH: &str = "/etcdserverpb.Watch/Watch";
pub const SNAPSHOT: &str = "/etcdserverpb.Maintenance/Snapshot";

pub fn context(change: impl FnOnce(&mut Limits)) -> Context {
    let mut limits = Limits::new(100_000);
    change(&mut limits);
    let method = |path: &str, kind| Method {
        path: path.into(),
        kind,
        blocking: false,
    };
    let methods = vec![
        method(PUT, MethodKind::Unary),
        method(WATCH, MethodKind::Bidi),
        method(SNAPSHOT, MethodKind::ServerStream),
    ];
    let counters = Arc::new(Counters::new(methods.len()));
    Context::new(limits, methods, counters)
}

/// A connection and a client that writes frames.
pub struct Rig {
    pub context: Context,
    pub connection: Connection,
    pub sent: Vec<u8>,
}

impl Rig {
    pub fn new(change: impl FnOnce(&mut Limits)) -> Rig {
        let context = context(change);
        let connection = Connection::new(0, 1, &context);
        let mut rig = Rig {
            context,
            connection,
            sent: Vec::new(),
        };
        frame::put_settings(&mut rig.sent, &[]);
        rig
    }

    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> &mut Rig {
        frame::put_header(&mut self.sent, payload.len(), kind, flags, stream);
        self.sent.extend_from_slice(payload);
        self
    }

    pub fn open(&mut self, stream: u32, path: &str) -> &mut Rig {
        self.frame(kind::HEADERS, flag::END_HEADERS, stream, &head(path, &[]))
    }

    pub fn data(&mut self, stream: u32, end: bool, payload: &[u8]) -> &mut Rig {
        self.frame(kind::DATA, u8::from(end), stream, payload)
    }

    /// Gives all that was written to the connection.
    pub fn deliver(&mut self) -> Result<(), Fatal> {
        let sent = std::mem::take(&mut self.sent);
        let mut at = 0;
        loop {
            let taken = self.connection.receive(&sent[at..], &mut self.context)?;
            at += taken.bytes;
            if !taken.paused {
                break;
            }
        }
        assert_eq!(at, sent.len());
        Ok(())
    }

    /// Gives what was written to the connection turn by turn, the socket taking all that goes out between; after each
    /// turn `look` is told what the connection holds for others to take.
    pub fn deliver_in_turns(&mut self, mut look: impl FnMut(&mut Rig)) -> Result<usize, Fatal> {
        let sent = std::mem::take(&mut self.sent);
        let (mut at, mut turns) = (0, 0);
        loop {
            let taken = self.connection.receive(&sent[at..], &mut self.context)?;
            at += taken.bytes;
            turns += 1;
            look(self);
            self.out();
            self.context.records.clear();
            if !taken.paused {
                assert_eq!(at, sent.len());
                return Ok(turns);
            }
        }
    }

    pub fn unary(&mut self, stream: u32, message: &[u8]) {
        self.open(stream, PUT).data(stream, true, &framed(message));
        self.deliver().expect("a valid request");
    }

    /// Kind, call ID and message of the records so far.
    pub fn records(&mut self) -> Vec<(u8, u32, Vec<u8>)> {
        let bytes = std::mem::take(&mut self.context.records);
        let mut records = Vec::new();
        let mut rest = bytes.as_slice();
        while let Some((length, id)) = peek(rest) {
            let number =
                |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().expect("four")) as usize;
            let message = 32 + number(16);
            records.push((rest[8], id, rest[message..message + number(12)].to_vec()));
            rest = &rest[length..];
        }
        records
    }

    pub fn calls(&mut self) -> Vec<u32> {
        let records = self.records();
        records
            .into_iter()
            .filter(|(kind, ..)| *kind == call_kind::CALL)
            .map(|(_, id, _)| id)
            .collect()
    }

    pub fn reply(&mut self, id: u32, kind: u8, code: u8, message: &[u8], status: &[u8]) {
        if self.context.calls.get(id).is_some() {
            let reply = ReplyRecord {
                call_id: id,
                kind,
                code,
                message,
                status,
                length: 0,
            };
            self.connection.reply(id, &reply, &mut self.context);
        } else if self.context.orphans.remove(&id).is_some() {
            self.connection.orphan_ended(&mut self.context);
        }
    }

    /// The frames that went out, with what the socket is to have taken.
    pub fn out(&mut self) -> Vec<(Header, Vec<u8>)> {
        let mut frames = Vec::new();
        self.connection.pump(&mut self.context);
        while self.connection.out.waiting() > 0 {
            let bytes = self.connection.out.bytes[self.connection.out.start..].to_vec();
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let header = Header::read(rest);
                let end = HEADER_BYTES + header.length;
                frames.push((header, rest[HEADER_BYTES..end].to_vec()));
                rest = &rest[end..];
            }
            self.connection.out.taken(bytes.len());
            self.connection.pump(&mut self.context);
        }
        frames
    }

    /// All that the connection counts is what its calls hold.
    pub fn check(&mut self) {
        let ids: Vec<u32> = self.connection.streams.values().copied().collect();
        assert_eq!(self.context.calls.live(), ids.len());
        let (mut assembly, mut pending, mut in_flight, mut granted) = (0, 0, 0, 0);
        let (mut deferred, mut opening, mut held) = (0, 0, 0);
        for id in ids {
            let call = self.context.calls.at(id);
            assembly += call.assembly.len();
            if call.kind == MethodKind::Unary {
                deferred += call.kept.len();
            } else {
                opening += call.kept.len();
            }
            held += call.held_bytes();
            pending += call.pending_bytes();
            in_flight += usize::from(call.in_flight);
            granted += call.granted as usize;
        }
        let connection = &self.connection;
        assert_eq!(connection.assembly_bytes, assembly);
        assert_eq!(connection.deferred_bytes, deferred);
        assert_eq!(connection.opening_bytes, opening);
        assert_eq!(connection.held_bytes, held);
        assert_eq!(connection.pending_bytes, pending);
        assert_eq!(self.context.pending_bytes, pending);
        assert_eq!(connection.in_flight, in_flight + self.context.orphans.len());
        assert_eq!(connection.granted_bytes, granted);
        let lists = [
            connection.sending.len(),
            connection.window_blocked.len(),
            connection.deferred.len(),
            connection.awaiting_grant.len(),
        ];
        assert!(
            lists
                .iter()
                .all(|length| *length <= connection.list_max() + 3),
            "{lists:?}"
        );
    }
}

/// Processor time of this thread, where the system tells; else time.
pub fn cpu_time() -> Duration {
    static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = schedstat.split(' ').next().map(str::parse);
    match nanoseconds {
        Some(Ok(nanoseconds)) => Duration::from_nanos(nanoseconds),
        _ => STARTED.elapsed(),
    }
}

/// A string of HPACK without Huffman codes.
pub fn string(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.len();
    if rest < 127 {
        out.push(rest as u8);
    } else {
        out.push(127);
        rest -= 127;
        while rest >= 128 {
            out.push((rest & 0x7f | 0x80) as u8);
            rest >>= 7;
        }
        out.push(rest as u8);
    }
    out.extend_from_slice(text);
    out
}

pub fn literal(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for text in [name, value] {
        assert!(text.len() < 127);
        block.push(text.len() as u8);
        block.extend_from_slice(text.as_bytes());
    }
}

pub fn head(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    literal(&mut block, ":path", path);
    literal(&mut block, "content-type", "application/grpc");
    for (name, value) in more {
        literal(&mut block, name, value);
    }
    block
}

pub fn framed(message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend_from_slice(&(message.len() as u32).to_be_bytes());
    bytes.extend_from_slice(message);
    bytes
}

struct Fields(Vec<(String, String)>);

impl Sink for Fields {
    fn classify(&self, _: &[u8], _: &[u8]) -> crate::edge::field::Field {
        crate::edge::field::Field::Other
    }
    fn field(&mut self, _: crate::edge::field::Field, name: &[u8], value: &[u8]) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        self.0.push((text(name), text(value)));
    }
}

pub fn fields(decoder: &mut Decoder, block: &[u8]) -> Vec<(String, String)> {
    let mut fields = Fields(Vec::new());
    decoder
        .decode(block, &mut fields)
        .expect("our own header blocks are valid");
    fields.0
}
