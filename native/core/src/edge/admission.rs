//! Who is let in: accepting connections as far as file descriptors go.
//!
//! The process keeps some descriptors for its own files: a log that cannot open its next segment ends the member. So,
//! as in etcd, clients beyond a number wait in the listener's backlog until others go. A client of HTTP/1.1 takes three
//! (its socket, and both ends of the one to the HTTP server), and each counts as one until it is known to be none.

use super::server::Server;
use super::socket::Socket;
use super::splice::Side;
use super::traffic::{Client, Peer};

/// Accepted at once; more wait a turn.
const ACCEPTS_MAX: usize = 256;
/// When the process has no file descriptor left, or the HTTP server's backlog is full, this is tried again
/// after so long.
const AGAIN_AFTER: u64 = 20_000;
/// Descriptors of a client that may speak HTTP/1.1, and of one that speaks HTTP/2.
const DESCRIPTORS_HTTP: usize = 3;
const DESCRIPTORS_HTTP2: usize = 1;

impl Server {
    /// Descriptors that the clients take, or may take at any moment.
    fn descriptors(&self) -> usize {
        let all = self.live_clients();
        (all - self.http2_clients) * DESCRIPTORS_HTTP + self.http2_clients * DESCRIPTORS_HTTP2
    }

    /// A client has gone, or takes less than it might have.
    pub(super) fn has_more_room(&mut self) {
        if std::mem::take(&mut self.crowded) {
            self.again = Some(self.context.now);
        }
    }

    pub(super) fn live_clients(&self) -> usize {
        self.clients.len() - self.free.len() - self.freed.len()
    }

    pub(super) fn count_clients(&self) {
        self.shared.counters.set_connections(self.live_clients());
    }

    /// Tries again what could not be done for want of descriptors or of room in a backlog.
    pub(super) fn retry(&mut self) {
        if self.again.is_none_or(|at| self.context.now < at) {
            return;
        }
        self.again = None;
        for index in 0..self.listeners.len() {
            self.accept(index);
        }
        for slot in std::mem::take(&mut self.held) {
            self.read_again(slot);
        }
    }

    pub(super) fn try_again_later(&mut self) {
        self.again = Some(self.context.now + AGAIN_AFTER);
    }

    pub(super) fn accept(&mut self, index: usize) {
        if self.close_at.is_some() {
            return;
        }
        for _ in 0..ACCEPTS_MAX {
            if self.descriptors() + DESCRIPTORS_HTTP > self.context.limits.descriptors_max {
                self.crowded = true;
                return;
            }
            match self.listeners[index].accept() {
                Ok((socket, remote)) => self.admit(index, socket, remote),
                Err(error) => match error.kind() {
                    std::io::ErrorKind::WouldBlock => return,
                    std::io::ErrorKind::Interrupted | std::io::ErrorKind::ConnectionAborted => {}
                    // No file descriptor or memory: clients in the backlog wait until there is.
                    _ => break,
                },
            }
        }
        self.try_again_later();
    }

    fn admit(&mut self, door: usize, mut socket: Socket, remote: String) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.clients.push(None);
            self.clients.len() as u32 - 1
        });
        if socket
            .register(self.poll.registry(), self.token(slot, Side::Client))
            .is_err()
        {
            return self.free.push(slot);
        }
        self.clients[slot as usize] = Some(Client {
            socket,
            remote,
            door,
            peer: Peer::Unknown(Vec::new()),
            leftover: Vec::new(),
            paused: false,
            ending: false,
            since: self.context.now,
            readable: false,
            dirty: false,
            full: false,
        });
        self.count_clients();
    }
}
