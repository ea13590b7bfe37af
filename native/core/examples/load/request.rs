//! The bytes of one request: a HEADERS and a DATA frame, of which only stream ID, key and lease change.

use std::ops::Range;

const HEADERS: u8 = 1;
const DATA: u8 = 0;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const FRAME_HEADER_BYTES: usize = 9;
pub const KEY_PREFIX: &str = "key/";
pub const LEASE_KEY_PREFIX: &str = "lease/";
const KEY_DIGITS: usize = 12;
/// Lease IDs count from here: all up to 2^35 are varints of the same length.
pub const FIRST_LEASE: u64 = 1 << 28;
const LEASE_BYTES: usize = 5;

/// What is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// A random key.
    Put,
    /// Key n, with lease n.
    PutLease,
    Range {
        serializable: bool,
    },
    /// Lease n.
    Grant {
        ttl: u64,
    },
}

impl Call {
    pub fn of(name: &str, ttl: u64) -> Option<Call> {
        match name {
            "put" => Some(Call::Put),
            "put-lease" => Some(Call::PutLease),
            "range" => Some(Call::Range {
                serializable: false,
            }),
            "serializable" => Some(Call::Range { serializable: true }),
            "grant" => Some(Call::Grant { ttl }),
            _ => None,
        }
    }

    fn path(self) -> &'static str {
        match self {
            Call::Put | Call::PutLease => "/etcdserverpb.KV/Put",
            Call::Range { .. } => "/etcdserverpb.KV/Range",
            Call::Grant { .. } => "/etcdserverpb.Lease/LeaseGrant",
        }
    }
}

/// A request's bytes for stream 0 and key 0.
struct Frames {
    bytes: Vec<u8>,
    data_at: usize,
    /// Where the number of a key or a lease goes.
    digits: Option<Range<usize>>,
    lease: Option<usize>,
}

/// Makes the requests of every connection.
pub struct Requests {
    /// The first of a connection puts its header fields into the server's table, as gRPC's clients do.
    first: Frames,
    next: Frames,
}

impl Requests {
    pub fn new(call: Call, authority: &str, value_bytes: usize) -> Requests {
        let message = message(call, value_bytes);
        Requests {
            first: Frames::of(&first_block(call.path(), authority), &message),
            next: Frames::of(&NEXT_BLOCK, &message),
        }
    }

    /// Bytes that count for flow control.
    pub fn data_bytes(&self) -> usize {
        self.next.bytes.len() - self.next.data_at - FRAME_HEADER_BYTES
    }

    /// Appends the request with this key.
    pub fn write(&self, out: &mut Vec<u8>, stream: u32, key: u64) {
        let frames = if stream == 1 { &self.first } else { &self.next };
        let start = out.len();
        out.extend_from_slice(&frames.bytes);
        let added = &mut out[start..];
        for at in [0, frames.data_at] {
            added[at + 5..at + 9].copy_from_slice(&stream.to_be_bytes());
        }
        if let Some(digits) = &frames.digits {
            put_digits(&mut added[digits.clone()], key);
        }
        if let Some(at) = frames.lease {
            put_lease(&mut added[at..at + LEASE_BYTES], key);
        }
    }
}

fn put_digits(digits: &mut [u8], number: u64) {
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

/// Writes the ID of a lease over the same place of another.
fn put_lease(out: &mut [u8], number: u64) {
    let mut bytes = Vec::with_capacity(LEASE_BYTES);
    put_varint(&mut bytes, FIRST_LEASE + number);
    out.copy_from_slice(&bytes);
}

/// The key with this number.
pub fn key_of(prefix: &str, number: u64) -> Vec<u8> {
    let mut key = prefix.as_bytes().to_vec();
    key.resize(key.len() + KEY_DIGITS, 0);
    put_digits(&mut key[prefix.len()..], number);
    key
}

impl Frames {
    fn of(block: &[u8], message: &Message) -> Frames {
        let mut bytes = Vec::new();
        put_frame(&mut bytes, HEADERS, END_HEADERS, block);
        let data_at = bytes.len();
        put_frame(&mut bytes, DATA, END_STREAM, &grpc_frame(&message.bytes));
        let message_at = bytes.len() - message.bytes.len();
        Frames {
            bytes,
            data_at,
            digits: message
                .digits_at
                .map(|at| message_at + at..message_at + at + KEY_DIGITS),
            lease: message.lease_at.map(|at| message_at + at),
        }
    }
}

/// The message behind gRPC's prefix.
pub fn grpc_frame(message: &[u8]) -> Vec<u8> {
    let mut data = vec![0];
    data.extend_from_slice(&(message.len() as u32).to_be_bytes());
    data.extend_from_slice(message);
    data
}

fn put_frame(out: &mut Vec<u8>, kind: u8, flags: u8, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags, 0, 0, 0, 0]);
    out.extend_from_slice(payload);
}

/// A request's message, and where its numbers are.
#[derive(Default)]
struct Message {
    bytes: Vec<u8>,
    digits_at: Option<usize>,
    lease_at: Option<usize>,
}

impl Message {
    fn key(&mut self, prefix: &str) {
        put_bytes(&mut self.bytes, 1, &key_of(prefix, 0));
        self.digits_at = Some(self.bytes.len() - KEY_DIGITS);
    }

    fn lease(&mut self, field: u8) {
        self.bytes.push(field << 3);
        self.lease_at = Some(self.bytes.len());
        put_varint(&mut self.bytes, FIRST_LEASE);
    }
}

fn message(call: Call, value_bytes: usize) -> Message {
    let mut message = Message::default();
    let value: Vec<u8> = (0..value_bytes).map(|i| b'a' + (i % 23) as u8).collect();
    match call {
        Call::Put => {
            message.key(KEY_PREFIX);
            put_bytes(&mut message.bytes, 2, &value);
        }
        Call::PutLease => {
            message.key(LEASE_KEY_PREFIX);
            put_bytes(&mut message.bytes, 2, &value);
            message.lease(3);
        }
        Call::Range { serializable } => {
            message.key(KEY_PREFIX);
            if serializable {
                message.bytes.extend_from_slice(&[0x38, 1]);
            }
        }
        Call::Grant { ttl } => {
            message.bytes.push(0x08);
            put_varint(&mut message.bytes, ttl);
            message.lease(2);
        }
    }
    message
}

pub fn put_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The indexes at which the fields of `first_block` stand in the table afterwards, oldest last.
pub const NEXT_BLOCK: [u8; 7] = [
    0x83,
    0x86,
    0x80 | 66,
    0x80 | 65,
    0x80 | 64,
    0x80 | 63,
    0x80 | 62,
];

/// `:method POST`, `:scheme http`, and five fields that are to be kept.
pub fn first_block(path: &str, authority: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    for (name_index, value) in [
        (4, path),
        (1, authority),
        (31, "application/grpc"),
        (58, "etcd-ts-load"),
    ] {
        block.push(0x40 | name_index);
        put_string(&mut block, value);
    }
    block.push(0x40);
    put_string(&mut block, "te");
    put_string(&mut block, "trailers");
    block
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    assert!(text.len() < 127, "a header field's length takes one byte");
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}
