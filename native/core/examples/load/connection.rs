//! One connection with unary calls: sends requests, tells how each ended.

use crate::request::Requests;
use crate::status::StatusReader;
use crate::wire::{END_HEADERS, END_STREAM, Frame, Wire, kind};
use std::collections::VecDeque;
use std::net::SocketAddr;

/// How much the server may send before it hears from us.
const RECEIVE_WINDOW: u32 = 1 << 30;

/// Ended without a grpc-status.
pub const NO_STATUS: u8 = 255;
/// Reset by the server.
pub const RESET: u8 = 253;

/// The time that marks a request as ended.
const ENDED: u64 = u64::MAX;

/// A request that has ended.
pub struct End {
    /// When it was begun, as told to `send`.
    pub begin: u64,
    /// The number in its key or lease.
    pub key: u64,
    /// Its grpc-status, or one of the codes above.
    pub code: u8,
}

pub struct Connection {
    pub wire: Wire,
    calls: Calls,
}

/// Requests under way.
struct Calls {
    next_stream: u32,
    /// Begin and key of each request, by stream ID from `first_begun` on.
    begun: VecDeque<(u64, u64)>,
    first_begun: u32,
    in_flight: usize,
    statuses: StatusReader,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Connection {
        Connection {
            wire: Wire::open(address, RECEIVE_WINDOW),
            calls: Calls {
                next_stream: 1,
                begun: VecDeque::new(),
                first_begun: 1,
                in_flight: 0,
                statuses: StatusReader::new(),
            },
        }
    }

    pub fn in_flight(&self) -> usize {
        self.calls.in_flight
    }

    /// Queues a request; false when flow control does not allow it now.
    pub fn send(&mut self, requests: &Requests, key: u64, begin: u64) -> bool {
        let bytes = requests.data_bytes() as i64;
        assert!(
            bytes <= self.wire.stream_window,
            "a request is larger than a stream's window"
        );
        if self.wire.window < bytes {
            return false;
        }
        self.wire.window -= bytes;
        let calls = &mut self.calls;
        requests.write(&mut self.wire.out, calls.next_stream, key);
        calls.next_stream += 2;
        calls.begun.push_back((begin, key));
        calls.in_flight += 1;
        true
    }

    /// Reads all that has come and adds the requests that have ended.
    pub fn receive(&mut self, ended: &mut Vec<End>) {
        let calls = &mut self.calls;
        self.wire.receive(&mut |_, frame| {
            if let Some(code) = calls.frame(&frame)
                && calls.is_open(frame.stream)
            {
                ended.push(calls.end(frame.stream, code));
            }
        });
    }
}

impl Calls {
    /// The code of the request that the frame ends.
    fn frame(&mut self, frame: &Frame<'_>) -> Option<u8> {
        let ends = frame.flags & END_STREAM != 0;
        match frame.kind {
            kind::DATA => ends.then_some(NO_STATUS),
            kind::HEADERS => {
                assert!(
                    frame.flags & END_HEADERS != 0,
                    "header blocks in pieces are not read"
                );
                let code = self.statuses.read(frame.payload);
                ends.then(|| code.unwrap_or(NO_STATUS))
            }
            kind::RST_STREAM => Some(RESET),
            // A stream's own window never runs out: a request is one frame.
            _ => None,
        }
    }

    /// A server may reset a stream that it has answered.
    fn is_open(&self, stream: u32) -> bool {
        stream >= self.first_begun
            && self.begun[(stream - self.first_begun) as usize / 2].0 != ENDED
    }

    /// Ends the request on this stream.
    fn end(&mut self, stream: u32, code: u8) -> End {
        let at = (stream - self.first_begun) as usize / 2;
        let (begin, key) = std::mem::replace(&mut self.begun[at], (ENDED, 0));
        self.in_flight -= 1;
        while self.begun.front().is_some_and(|&(begin, _)| begin == ENDED) {
            self.begun.pop_front();
            self.first_begun += 2;
        }
        End { begin, key, code }
    }
}
