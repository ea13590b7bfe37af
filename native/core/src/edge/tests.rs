//! Whole connections without sockets: what a client sends in, what comes out, and what a hostile one can hold.

use super::batch::{ReplyRecord, call_kind, peek, reply_kind};
use super::call_table::MethodKind;
use super::connection::Connection;
use super::context::{Context, Limits, Method};
use super::counters::Counters;
use super::frame::{self, Fatal, HEADER_BYTES, Header, Reason, flag, kind};
use super::hpack::{Decoder, Sink};
use std::sync::Arc;

const PUT: &str = "/etcdserverpb.KV/Put";
const WATCH: &str = "/etcdserverpb.Watch/Watch";
const SNAPSHOT: &str = "/etcdserverpb.Maintenance/Snapshot";

fn context(change: impl FnOnce(&mut Limits)) -> Context {
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
struct Rig {
    context: Context,
    connection: Connection,
    sent: Vec<u8>,
}

impl Rig {
    fn new(change: impl FnOnce(&mut Limits)) -> Rig {
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

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> &mut Rig {
        frame::put_header(&mut self.sent, payload.len(), kind, flags, stream);
        self.sent.extend_from_slice(payload);
        self
    }

    fn open(&mut self, stream: u32, path: &str) -> &mut Rig {
        self.frame(kind::HEADERS, flag::END_HEADERS, stream, &head(path, &[]))
    }

    fn data(&mut self, stream: u32, end: bool, payload: &[u8]) -> &mut Rig {
        self.frame(kind::DATA, u8::from(end), stream, payload)
    }

    /// Gives all that was written to the connection.
    fn deliver(&mut self) -> Result<(), Fatal> {
        let sent = std::mem::take(&mut self.sent);
        let taken = self.connection.receive(&sent, &mut self.context)?;
        assert_eq!(taken, sent.len());
        Ok(())
    }

    fn unary(&mut self, stream: u32, message: &[u8]) {
        self.open(stream, PUT).data(stream, true, &framed(message));
        self.deliver().expect("a valid request");
    }

    /// Kind, call ID and message of the records so far.
    fn records(&mut self) -> Vec<(u8, u32, Vec<u8>)> {
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

    fn calls(&mut self) -> Vec<u32> {
        let records = self.records();
        records
            .into_iter()
            .filter(|(kind, ..)| *kind == call_kind::CALL)
            .map(|(_, id, _)| id)
            .collect()
    }

    fn reply(&mut self, id: u32, kind: u8, code: u8, message: &[u8], status: &[u8]) {
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
        }
    }

    /// The frames that went out, with what the socket is to have taken.
    fn out(&mut self) -> Vec<(Header, Vec<u8>)> {
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
    fn check(&mut self) {
        let ids: Vec<u32> = self.connection.streams.values().copied().collect();
        assert_eq!(self.context.calls.live(), ids.len());
        let (mut assembly, mut pending, mut in_flight, mut granted) = (0, 0, 0, 0);
        for id in ids {
            let call = self.context.calls.at(id);
            assembly += call.assembly.len() + call.kept.len();
            pending += call.pending_bytes();
            in_flight += usize::from(call.in_flight);
            granted += call.granted as usize;
        }
        let connection = &self.connection;
        assert_eq!(connection.assembly_bytes, assembly);
        assert_eq!(connection.pending_bytes, pending);
        assert_eq!(connection.in_flight, in_flight);
        assert_eq!(connection.granted_bytes, granted);
        let lists = [
            connection.sending.len(),
            connection.window_blocked.len(),
            connection.deferred.len(),
        ];
        assert!(
            lists
                .iter()
                .all(|length| *length <= connection.list_max() + 1),
            "{lists:?}"
        );
    }
}

fn literal(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for text in [name, value] {
        assert!(text.len() < 127);
        block.push(text.len() as u8);
        block.extend_from_slice(text.as_bytes());
    }
}

fn head(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    literal(&mut block, ":path", path);
    literal(&mut block, "content-type", "application/grpc");
    for (name, value) in more {
        literal(&mut block, name, value);
    }
    block
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend_from_slice(&(message.len() as u32).to_be_bytes());
    bytes.extend_from_slice(message);
    bytes
}

struct Fields(Vec<(String, String)>);

impl Sink for Fields {
    fn classify(&self, _: &[u8], _: &[u8]) -> super::head::Field {
        super::head::Field::Other
    }
    fn field(&mut self, _: super::head::Field, name: &[u8], value: &[u8]) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        self.0.push((text(name), text(value)));
    }
}

fn fields(decoder: &mut Decoder, block: &[u8]) -> Vec<(String, String)> {
    let mut fields = Fields(Vec::new());
    decoder
        .decode(block, &mut fields)
        .expect("our own header blocks are valid");
    fields.0
}

#[test]
fn a_call_and_its_reply_frame_by_frame() {
    let mut rig = Rig::new(|_| {});
    let mut decoder = Decoder::new();
    for stream in [1, 3, 5] {
        rig.unary(stream, b"hello");
        let records = rig.records();
        assert_eq!(records.len(), 1);
        let (record, id, message) = &records[0];
        assert_eq!(
            (*record, message.as_slice()),
            (call_kind::CALL, &b"hello"[..])
        );
        rig.reply(*id, reply_kind::MESSAGE_AND_END, 0, b"world", b"");
        let frames = rig.out();
        let ours = frames.iter().filter(|(header, _)| header.stream == stream);
        let kinds: Vec<(u8, u8)> = ours
            .clone()
            .map(|(header, _)| (header.kind, header.flags))
            .collect();
        assert_eq!(
            kinds,
            [(kind::HEADERS, 4), (kind::DATA, 0), (kind::HEADERS, 5)]
        );
        let payloads: Vec<&[u8]> = ours.map(|(_, payload)| payload.as_slice()).collect();
        let named = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let first = fields(&mut decoder, payloads[0]);
        assert_eq!(
            first,
            named(&[(":status", "200"), ("content-type", "application/grpc")])
        );
        assert_eq!(payloads[1], framed(b"world"));
        let last = fields(&mut decoder, payloads[2]);
        assert_eq!(last, named(&[("grpc-status", "0"), ("grpc-message", "")]));
        rig.check();
    }
}

#[test]
fn bytes_may_be_cut_anywhere() {
    let mut bytes = Vec::new();
    let mut whole = Rig::new(|_| {});
    whole.open(1, PUT).data(1, true, &framed(b"hello"));
    whole
        .open(3, WATCH)
        .data(3, false, &framed(b"a")[..3])
        .data(3, true, &framed(b"a")[3..]);
    bytes.append(&mut whole.sent);
    for cut in 0..bytes.len() {
        let mut rig = Rig::new(|_| {});
        rig.sent.clear();
        let taken = rig
            .connection
            .receive(&bytes[..cut], &mut rig.context)
            .expect("valid");
        let rest = rig
            .connection
            .receive(&bytes[taken..], &mut rig.context)
            .expect("valid");
        assert_eq!(taken + rest, bytes.len());
        let kinds: Vec<u8> = rig.records().iter().map(|(kind, ..)| *kind).collect();
        assert_eq!(
            kinds,
            [
                call_kind::CALL,
                call_kind::CALL,
                call_kind::MESSAGE,
                call_kind::HALF_CLOSE
            ]
        );
        rig.check();
    }
}

#[test]
fn rapid_resets_leave_nothing_behind() {
    let mut rig = Rig::new(|_| {});
    for round in 0..20_000u32 {
        let stream = 2 * round + 1;
        rig.open(stream, PUT);
        if round % 2 == 0 {
            rig.data(stream, false, &framed(b"x"));
        }
        rig.frame(kind::RST_STREAM, 0, stream, &8u32.to_be_bytes());
        rig.deliver().expect("allowed");
        let records = rig.records();
        assert_eq!(
            records.len(),
            if round % 2 == 0 { 2 } else { 0 },
            "a call is cancelled if it was given on"
        );
        rig.out();
    }
    rig.check();
    assert_eq!(rig.context.calls.live(), 0);
}

#[test]
fn floods_are_cut_off() {
    let calm =
        |result: Result<(), Fatal>| result.expect_err("a flood").reason == Reason::EnhanceYourCalm;
    let mut rig = Rig::new(|_| {});
    rig.frame(kind::HEADERS, 0, 1, &head(PUT, &[]));
    for _ in 0..20 {
        rig.frame(kind::CONTINUATION, 0, 1, &[0x88; 10_000]);
    }
    assert!(calm(rig.deliver()));

    let mut rig = Rig::new(|_| {});
    rig.frame(kind::HEADERS, 0, 1, &head(PUT, &[]))
        .frame(kind::CONTINUATION, 0, 1, &[]);
    assert!(calm(rig.deliver()), "empty continuations");

    let mut rig = Rig::new(|_| {});
    for _ in 0..2000 {
        rig.frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]);
    }
    assert!(calm(rig.deliver()), "settings");

    let mut rig = Rig::new(|_| {});
    for _ in 0..4 {
        rig.frame(kind::PING, 0, 0, &[0; 8]);
    }
    assert!(calm(rig.deliver()), "pings");
}

#[test]
fn a_header_list_beyond_the_limit_resets_its_stream_only() {
    let mut rig = Rig::new(|_| {});
    // One long entry of the table, repeated by its index: a small block that decodes to a large list.
    let mut block = vec![0x40, 1, b'x', 127, 0x81, 0x17];
    block.extend_from_slice(&[b'y'; 3072]);
    block.extend_from_slice(&[0xbe; 1000]);
    let mut whole = head(PUT, &[]);
    whole.extend_from_slice(&block);
    rig.frame(
        kind::HEADERS,
        flag::END_HEADERS | flag::END_STREAM,
        1,
        &whole,
    );
    rig.deliver().expect("the connection goes on");
    let resets: Vec<(Header, Vec<u8>)> = rig
        .out()
        .into_iter()
        .filter(|(header, _)| header.kind == kind::RST_STREAM)
        .collect();
    assert_eq!(
        resets[0].1,
        6u32.to_be_bytes(),
        "FRAME_SIZE_ERROR, as grpc-go"
    );
    rig.unary(3, b"x");
    assert_eq!(rig.calls().len(), 1);
}

#[test]
fn messages_that_never_end_are_bounded() {
    let mut rig = Rig::new(|limits| limits.assembly_bytes_max = 1 << 20);
    for round in 0..1000u32 {
        let stream = 2 * round + 1;
        rig.open(stream, PUT)
            .data(stream, false, &framed(&[7; 50_000])[..16_000]);
        rig.deliver().expect("allowed");
        rig.out();
        assert!(rig.connection.assembly_bytes <= (1 << 20) + 16_384);
    }
    rig.check();
}

#[test]
fn large_messages_are_granted_in_turn() {
    let mut rig = Rig::new(|limits| {
        limits.stream_window = 20_000;
        limits.granted_bytes_max = 100_000;
    });
    let message = framed(&[7; 90_000]);
    for stream in [1, 3, 5] {
        rig.open(stream, PUT)
            .data(stream, false, &message[..16_000]);
    }
    rig.deliver().expect("allowed");
    for stream in [1, 3, 5] {
        let granted: Vec<Header> = rig
            .out()
            .into_iter()
            .filter(|(header, _)| header.kind == kind::WINDOW_UPDATE && header.stream != 0)
            .map(|(header, _)| header)
            .collect();
        assert_eq!(
            granted
                .iter()
                .map(|header| header.stream)
                .collect::<Vec<_>>(),
            [stream]
        );
        for chunk in message[16_000..].chunks(16_000) {
            rig.data(stream, false, chunk);
        }
        rig.deliver().expect("granted");
        rig.check();
    }
    assert_eq!(rig.calls().len(), 3);
    assert_eq!(rig.connection.granted_bytes, 0);
}

#[test]
fn a_client_that_ignores_its_windows_is_stopped() {
    let mut rig = Rig::new(|limits| limits.stream_window = 20_000);
    rig.open(1, PUT)
        .data(1, false, &framed(&[7; 90_000])[..16_000])
        .data(3, false, &[]);
    assert_eq!(
        rig.deliver().expect_err("stream 3 is idle").reason,
        Reason::Protocol
    );
    let mut rig = Rig::new(|limits| limits.stream_window = 20_000);
    rig.open(1, WATCH)
        .data(1, false, &framed(&[7; 90_000])[..16_000]);
    rig.open(3, WATCH);
    rig.deliver().expect("allowed");
    rig.out();
    let more = 90_005 - 16_000;
    rig.data(3, false, &framed(&[1; 30_000])[..16_000])
        .data(3, false, &[1; 16_000]);
    rig.deliver().expect("only the stream ends");
    assert!(rig.connection.streams.contains_key(&1) && more > 0);
    rig.check();
}

#[test]
fn replies_wait_for_the_windows_and_take_turns() {
    let mut rig = Rig::new(|_| {});
    rig.open(1, SNAPSHOT)
        .data(1, true, &framed(b""))
        .open(3, SNAPSHOT)
        .data(3, true, &framed(b""));
    rig.deliver().expect("valid");
    let ids = rig.calls();
    for id in &ids {
        rig.reply(*id, reply_kind::MESSAGE, 1, &[9; 100_000], b"");
        rig.reply(*id, reply_kind::END, 0, b"", b"");
    }
    let size = |frames: &[(Header, Vec<u8>)], stream| -> usize {
        let data = frames
            .iter()
            .filter(|(header, _)| header.kind == kind::DATA && header.stream == stream);
        data.map(|(header, _)| header.length).sum()
    };
    let first = rig.out();
    assert_eq!(size(&first, 1) + size(&first, 3), 65_535);
    assert!(size(&first, 3) > 16_000, "the second has its turn");
    rig.frame(kind::WINDOW_UPDATE, 0, 0, &1_000_000u32.to_be_bytes());
    rig.frame(kind::WINDOW_UPDATE, 0, 1, &1_000_000u32.to_be_bytes());
    rig.deliver().expect("valid");
    let second = rig.out();
    assert_eq!(size(&first, 1) + size(&second, 1), 100_005);
    assert_eq!(
        size(&first, 3) + size(&second, 3),
        65_535,
        "its own window is used up"
    );
    rig.check();
    rig.frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 1, 134, 165]);
    rig.deliver().expect("valid");
    let third = rig.out();
    assert_eq!(
        size(&first, 3) + size(&second, 3) + size(&third, 3),
        100_005
    );
    let writable = rig
        .records()
        .iter()
        .filter(|(kind, ..)| *kind == call_kind::WRITABLE)
        .count();
    assert_eq!(writable, 2);
    assert_eq!(rig.context.calls.live(), 0);
}

#[test]
fn calls_beyond_the_limit_wait_and_go_when_replies_come() {
    let mut rig = Rig::new(|limits| limits.in_flight_max = 2);
    for stream in [1, 3, 5, 7, 9] {
        rig.unary(stream, &[stream as u8]);
    }
    let first = rig.calls();
    assert_eq!(first.len(), 2);
    rig.frame(kind::RST_STREAM, 0, 5, &8u32.to_be_bytes());
    rig.deliver().expect("valid");
    rig.check();
    rig.reply(first[0], reply_kind::MESSAGE_AND_END, 0, b"", b"");
    let records = rig.records();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].2, [7], "the cancelled one is passed over");
    rig.reply(first[1], reply_kind::END, 5, b"", b"no");
    assert_eq!(rig.calls().len(), 1);
    rig.check();
}

#[test]
fn the_end_of_a_connection_lets_its_calls_finish() {
    let mut rig = Rig::new(|_| {});
    rig.unary(1, b"x");
    let id = rig.calls()[0];
    rig.connection.announce_end(&rig.context);
    rig.unary(3, b"crossed the first GOAWAY");
    let crossed = rig.calls()[0];
    rig.frame(kind::PING, flag::ACK, 0, &[1, 6, 1, 8, 0, 3, 3, 9]);
    rig.unary(5, b"too late");
    assert!(rig.calls().is_empty());
    let goaways: Vec<u32> = rig
        .out()
        .iter()
        .filter(|(header, _)| header.kind == kind::GOAWAY)
        .map(|(_, payload)| frame::read_u32(payload))
        .collect();
    assert_eq!(goaways, [0x7fff_ffff, 3]);
    assert!(!rig.connection.drained());
    rig.reply(id, reply_kind::MESSAGE_AND_END, 0, b"", b"");
    rig.reply(crossed, reply_kind::MESSAGE_AND_END, 0, b"", b"");
    assert!(rig.connection.drained());
}

/// A small generator of random numbers; the seed is all it depends on.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % below
    }
}

/// One random frame, mostly valid, about one of few streams.
fn random_frame(rig: &mut Rig, random: &mut Random, next_stream: &mut u32) {
    let stream = (*next_stream)
        .saturating_sub(2 * random.next(12) as u32)
        .max(1);
    let message = framed(&vec![1; [0, 5, 300, 30_000, 99_990][random.next(5)]]);
    let numbers = [random.next(100_000) as u32, random.next(200_000) as u32];
    match random.next(14) {
        0..=4 => random_request(rig, random, next_stream, &message),
        5 | 6 => {
            let end = random.next(2) == 0;
            rig.data(stream, end, &message[..message.len().min(16_000)]);
        }
        7 => {
            rig.data(stream, true, &[]);
        }
        8 => {
            rig.frame(kind::RST_STREAM, 0, stream, &8u32.to_be_bytes());
        }
        9 => {
            rig.frame(kind::WINDOW_UPDATE, 0, 0, &(numbers[0] + 1).to_be_bytes());
        }
        10 | 11 => {
            rig.frame(kind::WINDOW_UPDATE, 0, stream, &numbers[0].to_be_bytes());
        }
        12 => {
            let [a, b, c, d] = numbers[1].to_be_bytes();
            rig.frame(kind::SETTINGS, 0, 0, &[0, 4, a, b, c, d]);
        }
        _ => {
            rig.frame(kind::DATA, flag::PADDED, stream, &[3, 0, 1, 2, 3]);
        }
    }
}

fn random_request(rig: &mut Rig, random: &mut Random, next_stream: &mut u32, message: &[u8]) {
    *next_stream += 2;
    let path = [PUT, PUT, WATCH, SNAPSHOT, "/no/such"][random.next(5)];
    let more: [&[(&str, &str)]; 4] = [
        &[],
        &[("grpc-timeout", "5u")],
        &[("grpc-encoding", "gzip")],
        &[("x-bin", "!")],
    ];
    let flags = flag::END_HEADERS | u8::from(random.next(20) == 0);
    let head = head(path, more[random.next(4)]);
    rig.frame(kind::HEADERS, flags, *next_stream, &head);
    for chunk in message.chunks(16_000) {
        if random.next(30) > 0 {
            rig.data(*next_stream, false, chunk);
        }
    }
}

fn random_reply(rig: &mut Rig, random: &mut Random, known: &mut Vec<u32>) {
    if known.is_empty() {
        return;
    }
    let place = random.next(known.len());
    let id = known[place];
    let message = vec![2; [0, 10, 20_000, 150_000][random.next(4)]];
    match random.next(4) {
        0 => rig.reply(id, reply_kind::MESSAGE, random.next(2) as u8, &message, b""),
        1 => rig.reply(id, reply_kind::END, 5, b"", "nö".as_bytes()),
        _ => rig.reply(id, reply_kind::MESSAGE_AND_END, 0, &message, b""),
    }
    if random.next(3) > 0 {
        known.swap_remove(place);
    }
}

#[test]
fn random_clients_break_nothing() {
    for seed in 1..=60u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut rig = Rig::new(|limits| {
            limits.in_flight_max = 6;
            limits.pending_bytes_max = 200_000;
            limits.stream_window = 40_000;
            limits.granted_bytes_max = 150_000;
            limits.assembly_bytes_max = 600_000;
        });
        let (mut next_stream, mut known) = (1, Vec::new());
        for step in 0..2000u64 {
            rig.context.now = step * 3;
            random_frame(&mut rig, &mut random, &mut next_stream);
            if random.next([40, 1000][seed as usize % 2]) == 0 {
                let at = random.next(rig.sent.len());
                rig.sent[at] ^= 1 << random.next(8);
            }
            let sent = std::mem::take(&mut rig.sent);
            match rig.connection.receive(&sent, &mut rig.context) {
                Ok(taken) => rig.sent.extend_from_slice(&sent[taken..]),
                Err(_) => {
                    assert_eq!(rig.context.calls.live(), 0, "seed {seed}, step {step}");
                    break;
                }
            }
            rig.connection.second_passed();
            known.extend(rig.calls());
            random_reply(&mut rig, &mut random, &mut known);
            let now = rig.context.now;
            while let Some(id) = rig.context.deadlines.pop_due(now, &mut rig.context.calls) {
                rig.connection.expire(id, &mut rig.context);
            }
            known.extend(rig.calls());
            rig.check();
            if random.next(3) > 0 {
                rig.out();
            }
        }
        rig.connection.abandon(&mut rig.context);
        assert_eq!(rig.context.calls.live(), 0);
    }
}
