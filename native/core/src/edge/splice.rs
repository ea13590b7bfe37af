//! An HTTP/1.1 connection on the gRPC port: its bytes go to the HTTP server's Unix socket and back as they are.
//!
//! Invariant: in each direction at most one buffer of bytes waits; until it is gone its source is not read.
//! A source is read only after an event has said that it has something, until a read has found it empty.

use super::socket::{Received, Socket, read_some, write_some};
use mio::net::UnixStream;
use std::io;
use std::path::Path;

/// One direction.
#[derive(Default)]
struct Pipe {
    /// The source may have bytes.
    ready: bool,
    /// Bytes that the target has not taken yet.
    waiting: Vec<u8>,
    /// Its end has been announced: a short read does not mean that nothing more comes.
    ending: bool,
    /// The source has ended.
    ended: bool,
    /// The target has been told.
    closed: bool,
}

/// See the module.
pub struct Splice {
    server: Socket,
    to_server: Pipe,
    to_client: Pipe,
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

impl Splice {
    /// Connects to the HTTP server; `head` is what the client has sent so far.
    pub fn open(path: &Path, head: &[u8]) -> io::Result<Splice> {
        let to_server = Pipe {
            waiting: head.to_vec(),
            ready: true,
            ..Pipe::default()
        };
        Ok(Splice {
            server: Socket::Unix(UnixStream::connect(path)?),
            to_server,
            to_client: Pipe::default(),
        })
    }

    /// The HTTP server's socket, to be registered.
    pub fn server(&mut self) -> &mut Socket {
        &mut self.server
    }

    /// This side may have bytes, or has ended; with `ending` its end is known to be among what waits.
    pub fn ready(&mut self, side: Side, ending: bool) {
        let pipe = match side {
            Side::Client => &mut self.to_server,
            Side::Server => &mut self.to_client,
        };
        pipe.ready = true;
        pipe.ending |= ending;
    }

    /// Moves what can be moved, both ways, each way a buffer at most: a body that comes and goes as fast as it is moved
    /// would hold up the other connections.
    pub fn run(&mut self, client: &mut Socket, buffer: &mut [u8]) -> Step {
        let there = self.to_server.run(client, &mut self.server, buffer);
        if there == Step::Over {
            return Step::Over;
        }
        let back = self.to_client.run(&mut self.server, client, buffer);
        if back == Step::Over || self.to_server.closed && self.to_client.closed {
            Step::Over
        } else if there == Step::More || back == Step::More {
            Step::More
        } else {
            Step::Waits
        }
    }
}

impl Pipe {
    /// `Over` when a socket has failed.
    fn run(&mut self, source: &mut Socket, target: &mut Socket, buffer: &mut [u8]) -> Step {
        loop {
            if !self.waiting.is_empty() {
                match write_some(target, &self.waiting) {
                    None => return Step::Over,
                    Some(count) => drop(self.waiting.drain(..count)),
                }
                if !self.waiting.is_empty() {
                    return Step::Waits;
                }
            }
            if self.ended {
                if !self.closed {
                    target.shutdown_write();
                    self.closed = true;
                }
                return Step::Waits;
            }
            if !self.ready {
                return Step::Waits;
            }
            match read_some(source, buffer) {
                Received::Nothing => self.ready = false,
                Received::End => self.ended = true,
                Received::Bytes(count) => {
                    // A short read means that the source is empty now; its next bytes raise an event, but its end
                    // may have come with these.
                    self.ready = count == buffer.len() || self.ending;
                    match write_some(target, &buffer[..count]) {
                        None => return Step::Over,
                        Some(written) => self.waiting.extend_from_slice(&buffer[written..count]),
                    }
                    if self.ready && self.waiting.is_empty() {
                        return Step::More;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_body_is_moved_a_buffer_at_a_time() {
        let (mut client, client_end) = UnixStream::pair().expect("sockets");
        let (server_end, mut server) = UnixStream::pair().expect("sockets");
        let body = [7; 100_000];
        client.write_all(&body).expect("room for it");
        let mut splice = Splice {
            server: Socket::Unix(server_end),
            to_server: Pipe::default(),
            to_client: Pipe::default(),
        };
        splice.ready(Side::Client, false);
        let mut client_end = Socket::Unix(client_end);
        let mut buffer = [0; 16 << 10];
        let (mut moved, mut turns) = (0, 0);
        loop {
            let step = splice.run(&mut client_end, &mut buffer);
            let mut into = [0; 100_000];
            let count = server.read(&mut into).unwrap_or(0);
            assert!(count <= buffer.len(), "{count} bytes in one turn");
            moved += count;
            turns += 1;
            if step != Step::More {
                break;
            }
        }
        assert_eq!((moved, turns), (body.len(), 7));
    }
}
