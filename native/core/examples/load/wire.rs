//! The socket of one HTTP/2 connection and its frames. A broken connection ends the program.

use mio::net::TcpStream;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What either side may send before it hears from the other, if nothing else is said.
pub const WINDOW_DEFAULT: u32 = 65_535;
const FRAME_HEADER_BYTES: usize = 9;
const READ_BYTES: usize = 128 << 10;

pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
}
pub const END_STREAM: u8 = 1;
const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// A frame of a stream.
pub struct Frame<'a> {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: &'a [u8],
}

pub struct Wire {
    pub stream: TcpStream,
    pub out: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    input_end: usize,
    /// What we may send on the connection, and at first on a stream, before we hear from the server.
    pub window: i64,
    pub stream_window: i64,
    receive_window: u32,
    received: u32,
}

impl Wire {
    /// `receive_window`: what the server may send before it hears from us, on the connection and on each stream.
    pub fn open(address: SocketAddr, receive_window: u32) -> Wire {
        let stream = std::net::TcpStream::connect(address).expect("connect");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_nonblocking(true).expect("non-blocking");
        let mut wire = Wire {
            stream: TcpStream::from_std(stream),
            out: PREFACE.to_vec(),
            written: 0,
            input: vec![0; READ_BYTES],
            input_end: 0,
            window: i64::from(WINDOW_DEFAULT),
            stream_window: i64::from(WINDOW_DEFAULT),
            receive_window,
            received: 0,
        };
        let mut setting = INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
        setting.extend_from_slice(&receive_window.to_be_bytes());
        wire.put(kind::SETTINGS, 0, 0, &setting);
        if receive_window > WINDOW_DEFAULT {
            let more = receive_window - WINDOW_DEFAULT;
            wire.put(kind::WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
        }
        wire
    }

    /// Writes what is queued, as far as the socket takes it; it says when it takes more.
    pub fn flush(&mut self) {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("write: {error}"),
            }
        }
        self.out.clear();
        self.written = 0;
    }

    /// Reads all that has come; `each` gets the frames that are not the connection's own.
    pub fn receive(&mut self, each: &mut impl FnMut(&mut Wire, Frame<'_>)) {
        loop {
            match self.stream.read(&mut self.input[self.input_end..]) {
                Ok(0) => panic!("the server has closed a connection"),
                Ok(count) => {
                    self.input_end += count;
                    let drained = self.input_end < self.input.len();
                    self.frames(each);
                    if drained {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("read: {error}"),
            }
        }
    }

    fn frames(&mut self, each: &mut impl FnMut(&mut Wire, Frame<'_>)) {
        let input = std::mem::take(&mut self.input);
        let mut rest = &input[..self.input_end];
        while rest.len() >= FRAME_HEADER_BYTES {
            let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
            let end = FRAME_HEADER_BYTES + length;
            if rest.len() < end {
                break;
            }
            let frame = Frame {
                kind: rest[3],
                flags: rest[4],
                stream: read_u32(&rest[5..]) & 0x7fff_ffff,
                payload: &rest[FRAME_HEADER_BYTES..end],
            };
            if !self.own(&frame) {
                each(self, frame);
            }
            rest = &rest[end..];
        }
        let left = self.input_end - rest.len()..self.input_end;
        self.input_end = left.len();
        self.input = input;
        self.input.copy_within(left, 0);
    }

    /// Handles what concerns the connection; true when that is all.
    fn own(&mut self, frame: &Frame<'_>) -> bool {
        let Frame { kind, flags, .. } = *frame;
        match kind {
            kind::DATA => {
                self.data(frame.stream, frame.payload.len() as u32);
                false
            }
            kind::WINDOW_UPDATE if frame.stream == 0 => {
                self.window += i64::from(read_u32(frame.payload));
                true
            }
            kind::SETTINGS if flags & ACK == 0 => {
                self.settings(frame.payload);
                true
            }
            kind::PING if flags & ACK == 0 => {
                self.put(kind::PING, ACK, 0, frame.payload);
                true
            }
            kind::GOAWAY => panic!(
                "the server sends clients away: {}",
                String::from_utf8_lossy(frame.payload)
            ),
            _ => frame.stream == 0,
        }
    }

    fn settings(&mut self, payload: &[u8]) {
        for setting in payload.chunks_exact(6) {
            if u16::from_be_bytes([setting[0], setting[1]]) == INITIAL_WINDOW_SIZE {
                self.stream_window = i64::from(read_u32(&setting[2..]));
            }
        }
        self.put(kind::SETTINGS, ACK, 0, &[]);
    }

    fn data(&mut self, stream: u32, bytes: u32) {
        // A wide stream takes more than a run brings.
        if self.receive_window == WINDOW_DEFAULT && bytes > 0 {
            self.put(kind::WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
        }
        self.received += bytes;
        if self.received > self.receive_window / 2 {
            let received = std::mem::take(&mut self.received);
            self.put(kind::WINDOW_UPDATE, 0, 0, &received.to_be_bytes());
        }
    }

    /// Queues a frame.
    pub fn put(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.out
            .extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
        self.out.extend_from_slice(&[kind, flags]);
        self.out.extend_from_slice(&stream.to_be_bytes());
        self.out.extend_from_slice(payload);
    }
}

pub fn read_u32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
