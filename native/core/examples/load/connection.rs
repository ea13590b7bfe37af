//! One HTTP/2 connection: sends requests, tells how each ended. A broken one ends the program.

use crate::request::Requests;
use crate::status::StatusReader;
use mio::net::TcpStream;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const WINDOW_DEFAULT: i64 = 65_535;
/// How much the server may send before it hears from us.
const RECEIVE_WINDOW: u32 = 1 << 30;
const FRAME_HEADER_BYTES: usize = 9;
const READ_BYTES: usize = 128 << 10;

/// Ended without a grpc-status.
pub const NO_STATUS: u8 = 255;
/// Reset by the server.
pub const RESET: u8 = 253;

mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
}
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// The time that marks a request as ended.
const ENDED: u64 = u64::MAX;

/// A request that has ended: when it was begun (as told to `send`), and its grpc-status or one of the codes above.
pub type End = (u64, u8);

pub struct Connection {
    pub stream: TcpStream,
    out: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    input_end: usize,
    next_stream: u32,
    /// Begin of each request, by stream ID from `first_begun` on.
    begun: VecDeque<u64>,
    first_begun: u32,
    in_flight: usize,
    window: i64,
    /// What a stream may send before it hears from the server.
    stream_window: i64,
    received: u32,
    statuses: StatusReader,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Connection {
        let stream = std::net::TcpStream::connect(address).expect("connect");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_nonblocking(true).expect("non-blocking");
        let mut connection = Connection {
            stream: TcpStream::from_std(stream),
            out: PREFACE.to_vec(),
            written: 0,
            input: vec![0; READ_BYTES],
            input_end: 0,
            next_stream: 1,
            begun: VecDeque::new(),
            first_begun: 1,
            in_flight: 0,
            window: WINDOW_DEFAULT,
            stream_window: WINDOW_DEFAULT,
            received: 0,
            statuses: StatusReader::new(),
        };
        connection.put(kind::SETTINGS, 0, &[]);
        connection.put(
            kind::WINDOW_UPDATE,
            0,
            &(RECEIVE_WINDOW - WINDOW_DEFAULT as u32).to_be_bytes(),
        );
        connection
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Queues a request; false when flow control does not allow it now.
    pub fn send(&mut self, requests: &Requests, key: u64, begin: u64) -> bool {
        let bytes = requests.data_bytes() as i64;
        assert!(
            bytes <= self.stream_window,
            "a request is larger than a stream's window"
        );
        if self.window < bytes {
            return false;
        }
        self.window -= bytes;
        requests.write(&mut self.out, self.next_stream, key);
        self.next_stream += 2;
        self.begun.push_back(begin);
        self.in_flight += 1;
        true
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

    /// Reads all that has come and adds the requests that have ended.
    pub fn receive(&mut self, ended: &mut Vec<End>) {
        loop {
            match self.stream.read(&mut self.input[self.input_end..]) {
                Ok(0) => panic!("the server has closed a connection"),
                Ok(count) => {
                    self.input_end += count;
                    let drained = self.input_end < self.input.len();
                    self.frames(ended);
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

    fn frames(&mut self, ended: &mut Vec<End>) {
        let input = std::mem::take(&mut self.input);
        let mut rest = &input[..self.input_end];
        while rest.len() >= FRAME_HEADER_BYTES {
            let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
            let end = FRAME_HEADER_BYTES + length;
            if rest.len() < end {
                break;
            }
            let (kind, flags) = (rest[3], rest[4]);
            let stream = read_u32(&rest[5..]) & 0x7fff_ffff;
            let payload = &rest[FRAME_HEADER_BYTES..end];
            if kind == kind::WINDOW_UPDATE && stream == 0 {
                self.window += i64::from(read_u32(payload));
            } else if let Some(code) = self.frame(kind, flags, payload)
                && self.is_open(stream)
            {
                ended.push((self.end(stream), code));
            }
            rest = &rest[end..];
        }
        let left = self.input_end - rest.len()..self.input_end;
        self.input_end = left.len();
        self.input = input;
        self.input.copy_within(left, 0);
    }

    /// Handles a frame; the code of the request that it ends.
    fn frame(&mut self, kind: u8, flags: u8, payload: &[u8]) -> Option<u8> {
        match kind {
            kind::DATA => {
                self.data(payload.len() as u32);
                (flags & END_STREAM != 0).then_some(NO_STATUS)
            }
            kind::HEADERS => {
                assert!(
                    flags & END_HEADERS != 0,
                    "header blocks in pieces are not read"
                );
                let code = self.statuses.read(payload);
                (flags & END_STREAM != 0).then(|| code.unwrap_or(NO_STATUS))
            }
            kind::RST_STREAM => Some(RESET),
            kind::SETTINGS if flags & ACK == 0 => {
                self.settings(payload);
                None
            }
            kind::PING if flags & ACK == 0 => {
                self.put(kind::PING, ACK, payload);
                None
            }
            kind::GOAWAY => panic!(
                "the server sends clients away: {}",
                String::from_utf8_lossy(payload)
            ),
            // A stream's own window never runs out: a request is one frame.
            _ => None,
        }
    }

    fn settings(&mut self, payload: &[u8]) {
        for setting in payload.chunks_exact(6) {
            if u16::from_be_bytes([setting[0], setting[1]]) == INITIAL_WINDOW_SIZE {
                self.stream_window = i64::from(read_u32(&setting[2..]));
            }
        }
        self.put(kind::SETTINGS, ACK, &[]);
    }

    fn data(&mut self, bytes: u32) {
        self.received += bytes;
        if self.received > RECEIVE_WINDOW / 2 {
            let received = std::mem::take(&mut self.received);
            self.put(kind::WINDOW_UPDATE, 0, &received.to_be_bytes());
        }
    }

    /// A server may reset a stream that it has answered.
    fn is_open(&self, stream: u32) -> bool {
        stream >= self.first_begun && self.begun[(stream - self.first_begun) as usize / 2] != ENDED
    }

    /// Ends the request on this stream; when it was begun.
    fn end(&mut self, stream: u32) -> u64 {
        let at = (stream - self.first_begun) as usize / 2;
        let begin = std::mem::replace(&mut self.begun[at], ENDED);
        self.in_flight -= 1;
        while self.begun.front() == Some(&ENDED) {
            self.begun.pop_front();
            self.first_begun += 2;
        }
        begin
    }

    /// Queues a frame of the connection itself.
    fn put(&mut self, kind: u8, flags: u8, payload: &[u8]) {
        self.out
            .extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
        self.out.extend_from_slice(&[kind, flags, 0, 0, 0, 0]);
        self.out.extend_from_slice(payload);
    }
}

fn read_u32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
