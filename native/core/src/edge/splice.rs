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

    /// Moves what can be moved both ways. `false`: the connection is over.
    pub fn run(&mut self, client: &mut Socket, buffer: &mut [u8]) -> bool {
        self.to_server.run(client, &mut self.server, buffer)
            && self.to_client.run(&mut self.server, client, buffer)
            && !(self.to_server.closed && self.to_client.closed)
    }
}

impl Pipe {
    /// False when a socket has failed.
    fn run(&mut self, source: &mut Socket, target: &mut Socket, buffer: &mut [u8]) -> bool {
        loop {
            if !self.waiting.is_empty() {
                match write_some(target, &self.waiting) {
                    None => return false,
                    Some(count) => drop(self.waiting.drain(..count)),
                }
                if !self.waiting.is_empty() {
                    return true;
                }
            }
            if self.ended {
                if !self.closed {
                    target.shutdown_write();
                    self.closed = true;
                }
                return true;
            }
            if !self.ready {
                return true;
            }
            match read_some(source, buffer) {
                Received::Nothing => self.ready = false,
                Received::End => self.ended = true,
                Received::Bytes(count) => {
                    // A short read means that the source is empty now; its next bytes raise an event, but its end
                    // may have come with these.
                    self.ready = count == buffer.len() || self.ending;
                    match write_some(target, &buffer[..count]) {
                        None => return false,
                        Some(written) => self.waiting.extend_from_slice(&buffer[written..count]),
                    }
                }
            }
        }
    }
}
