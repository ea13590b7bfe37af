//! One connection with streaming calls of one method: sends messages as the windows allow, gives out those that come.

use crate::request::{NEXT_BLOCK, first_block, grpc_frame};
use crate::wire::{END_HEADERS, END_STREAM, Frame, Wire, kind, read_u32};
use mio::{Events, Interest, Poll, Token};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// What a reader takes before the server must hear from it: more than a run brings.
pub const WIDE: u32 = (1 << 31) - 1;
const PREFIX_BYTES: usize = 5;

pub struct Streams {
    pub wire: Wire,
    calls: Calls,
}

#[derive(Default)]
struct Calls {
    streams: Vec<Stream>,
    /// Messages that wait for a window: stream and frame.
    waiting: VecDeque<(usize, Vec<u8>)>,
    /// Streams that the server has ended.
    ended: usize,
}

#[derive(Default)]
struct Stream {
    /// What it may send beyond its first window.
    window_offset: i64,
    input: Vec<u8>,
}

impl Streams {
    pub fn open(address: SocketAddr, path: &str, count: usize, receive_window: u32) -> Streams {
        let mut wire = Wire::open(address, receive_window);
        let mut streams = Vec::new();
        for at in 0..count {
            let first = first_block(path, &address.to_string());
            let block = if at == 0 { &first[..] } else { &NEXT_BLOCK };
            wire.put(kind::HEADERS, END_HEADERS, id_of(at), block);
            streams.push(Stream::default());
        }
        let calls = Calls {
            streams,
            ..Calls::default()
        };
        Streams { wire, calls }
    }

    pub fn ended(&self) -> usize {
        self.calls.ended
    }

    /// Queues a message of a stream.
    pub fn send(&mut self, stream: usize, message: &[u8]) {
        self.calls.waiting.push_back((stream, grpc_frame(message)));
    }

    /// The client has nothing more to say on the stream.
    pub fn close(&mut self, stream: usize) {
        assert!(self.calls.waiting.is_empty(), "a message is not yet sent");
        self.wire.put(kind::DATA, END_STREAM, id_of(stream), &[]);
    }

    /// Writes what may be written.
    pub fn flush(&mut self) {
        while let Some((stream, frame)) = self.calls.waiting.front() {
            let bytes = frame.len() as i64;
            let offset = &mut self.calls.streams[*stream].window_offset;
            if self.wire.window < bytes || self.wire.stream_window + *offset < bytes {
                break;
            }
            self.wire.window -= bytes;
            *offset -= bytes;
            self.wire.put(kind::DATA, 0, id_of(*stream), frame);
            self.calls.waiting.pop_front();
        }
        self.wire.flush();
    }

    /// Reads what has come; `each` gets the stream and the message.
    pub fn receive(&mut self, each: &mut impl FnMut(usize, &[u8])) {
        let calls = &mut self.calls;
        self.wire.receive(&mut |_, frame| calls.frame(&frame, each));
        self.flush();
    }
}

impl Calls {
    fn frame(&mut self, frame: &Frame<'_>, each: &mut impl FnMut(usize, &[u8])) {
        let at = frame.stream as usize / 2;
        match frame.kind {
            kind::DATA => self.streams[at].data(frame.payload, &mut |message| each(at, message)),
            kind::WINDOW_UPDATE => {
                self.streams[at].window_offset += i64::from(read_u32(frame.payload));
            }
            kind::RST_STREAM => panic!("the server has reset a stream"),
            _ => {}
        }
        self.ended += usize::from(frame.flags & END_STREAM != 0 && frame.kind <= kind::HEADERS);
    }
}

impl Stream {
    fn data(&mut self, payload: &[u8], each: &mut impl FnMut(&[u8])) {
        if !self.input.is_empty() {
            self.input.extend_from_slice(payload);
            let mut input = std::mem::take(&mut self.input);
            let left = messages(&input, each).len();
            input.drain(..input.len() - left);
            self.input = input;
        } else {
            let left = messages(payload, each);
            self.input.extend_from_slice(left);
        }
    }
}

/// Gives out the whole messages; what is left.
fn messages<'a>(mut rest: &'a [u8], each: &mut impl FnMut(&[u8])) -> &'a [u8] {
    while rest.len() >= PREFIX_BYTES {
        let end = PREFIX_BYTES + read_u32(&rest[1..]) as usize;
        if rest.len() < end {
            break;
        }
        each(&rest[PREFIX_BYTES..end]);
        rest = &rest[end..];
    }
    rest
}

fn id_of(stream: usize) -> u32 {
    stream as u32 * 2 + 1
}

/// Waits for what comes on any of many connections.
pub struct Loop {
    poll: Poll,
    events: Events,
}

impl Loop {
    pub fn new(connections: &mut [Streams]) -> Loop {
        let poll = Poll::new().expect("poll");
        let interest = Interest::READABLE | Interest::WRITABLE;
        for (at, connection) in connections.iter_mut().enumerate() {
            let stream = &mut connection.wire.stream;
            poll.registry()
                .register(stream, Token(at), interest)
                .expect("register");
        }
        Loop {
            poll,
            events: Events::with_capacity(1024),
        }
    }

    /// Waits up to `timeout`; `each` is told which connections can be read or written.
    pub fn turn(&mut self, timeout: Duration, mut each: impl FnMut(usize, bool)) {
        if let Err(error) = self.poll.poll(&mut self.events, Some(timeout)) {
            assert!(
                error.kind() == std::io::ErrorKind::Interrupted,
                "poll: {error}"
            );
            return;
        }
        for event in &self.events {
            each(event.token().0, event.is_readable());
        }
    }
}
