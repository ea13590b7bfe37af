//! An HTTP/1.1 connection on the gRPC port: its bytes go to the HTTP server's Unix socket and back as they are.
//!
//! Invariant: in each direction at most one buffer of bytes waits; until it is gone its source is not read.

use super::socket::{Received, Socket, read_some, write_some};
use mio::net::UnixStream;
use std::io;
use std::path::Path;

/// One direction.
#[derive(Default)]
struct Pipe {
    /// Bytes that the target has not taken yet.
    waiting: Vec<u8>,
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

impl Splice {
    /// Connects to the HTTP server; `head` is what the client has sent so far.
    pub fn open(path: &Path, head: &[u8]) -> io::Result<Splice> {
        let server = Socket::Unix(UnixStream::connect(path)?);
        let to_server = Pipe {
            waiting: head.to_vec(),
            ..Pipe::default()
        };
        Ok(Splice {
            server,
            to_server,
            to_client: Pipe::default(),
        })
    }

    /// The HTTP server's socket, to be registered.
    pub fn server(&mut self) -> &mut Socket {
        &mut self.server
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
                    Some(count) if count < self.waiting.len() => {
                        self.waiting.drain(..count);
                        return true;
                    }
                    Some(_) => self.waiting.clear(),
                }
            }
            if self.ended {
                if !self.closed {
                    target.shutdown_write();
                    self.closed = true;
                }
                return true;
            }
            match read_some(source, buffer) {
                Received::Nothing => return true,
                Received::End => self.ended = true,
                Received::Bytes(count) => match write_some(target, &buffer[..count]) {
                    None => return false,
                    Some(written) if written < count => {
                        self.waiting.extend_from_slice(&buffer[written..count]);
                    }
                    // A short read means that the source is empty now; its next bytes raise an event.
                    Some(_) if count < buffer.len() => return true,
                    Some(_) => {}
                },
            }
        }
    }
}
