//! The gRPC edge: HTTP/2 with prior knowledge and gRPC's framing on one thread of its own.
//!
//! Calls leave it in batches for JavaScript (`batch.rs`), replies come back in batches from any JavaScript
//! thread. Anything that is not HTTP/2 on the same port is spliced to the HTTP server (`splice.rs`).
//!
//! From the outside in: `server.rs`, `admission.rs`, `traffic.rs` and `replies.rs` (the loop over sockets) → `connection.rs` with
//! `settings.rs`, `request.rs`, `receive.rs`, `send.rs` and `health.rs` (HTTP/2 and gRPC without I/O) → `hpack.rs`,
//! `frame.rs`, `grpc.rs` (formats).
//! `shared.rs` is all that JavaScript's threads touch.
//!
//! Bounds: calls for JavaScript wait in a queue of 8 MiB, beyond which no socket is read; see `context::Limits`
//! for what one connection may hold.

mod admission;
mod base64;
mod batch;
mod call_stats;
mod call_table;
mod connection;
mod context;
mod counters;
mod deadlines;
mod field;
mod frame;
mod grpc;
mod head;
mod health;
mod hpack;
mod http_body;
mod http_head;
mod huffman;
mod inflate;
mod outgoing;
mod receive;
mod replies;
mod request;
mod send;
mod server;
mod settings;
mod shared;
mod socket;
mod splice;
#[cfg(test)]
mod tests;
mod traffic;

pub use call_table::MethodKind;
pub use context::{Limits, Method};
pub use counters::{Counters, PER_METHOD, TOTALS, VersionCount};
pub use shared::{gateway_submit, pending_reply_bytes, reply_batch, set_gateway_mailbox};
pub use socket::{Address, ListenError};

use crate::byte_queue::BufferTooSmall;
use context::Context;
use mio::{Poll, Token, Waker};
use server::{Server, WAKER_TOKEN};
use shared::Shared;
use socket::Listener;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// How an edge is started.
pub struct Options {
    pub doors: Vec<Door>,
    pub methods: Vec<Method>,
    pub limits: Limits,
    /// Microseconds since the process started.
    pub clock_offset: u64,
}

/// Where clients come in.
pub struct Door {
    pub address: Address,
    /// Other processes may listen there, too (SO_REUSEPORT).
    pub shared: bool,
    /// HTTP/2 is spoken here; otherwise all connections are the HTTP server's.
    pub grpc: bool,
    /// The Unix socket that connections of HTTP/1 are given to; without one they are closed.
    pub http_path: Option<PathBuf>,
}

/// A running edge.
pub struct Edge {
    shared: Arc<Shared>,
    addresses: Vec<String>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Limits {
    /// The limits that etcd's flags do not set.
    pub fn new(receive_bytes_max: usize) -> Limits {
        Limits {
            receive_bytes_max,
            concurrent_streams_max: u32::MAX,
            stream_window: 256 << 10,
            connection_window: 16 << 20,
            granted_bytes_max: 16 << 20,
            assembly_bytes_max: 64 << 20,
            deferred_bytes_max: 16 << 20,
            held_bytes_max: 64 << 20,
            in_flight_max: 1024,
            orphan_time: 1_000_000,
            pending_bytes_max: 4 << 20,
            pending_bytes_total_max: 256 << 20,
            stall_time: 30_000_000,
            stall_bytes_min: 1 << 20,
            out_bytes_max: 256 << 10,
            writable_bytes: 64 << 10,
            ping_interval_min: 5_000_000,
            ping_without_stream: false,
            probe_after: 7_200_000_000,
            probe_timeout: 20_000_000,
            slow_after: u64::MAX,
            descriptors_max: usize::MAX,
        }
    }
}

impl Edge {
    /// Opens the listeners and starts the thread. `wake` is called when calls wait and none did before.
    pub fn start(options: Options, wake: Box<dyn Fn() + Send>) -> Result<Edge, ListenError> {
        let system = |cause: io::Error| ListenError {
            what: "start the edge".into(),
            cause,
        };
        let poll = Poll::new().map_err(system)?;
        let waker = Waker::new(poll.registry(), WAKER_TOKEN).map_err(system)?;
        let mut listeners = Vec::new();
        for (index, door) in options.doors.iter().enumerate() {
            let mut listener = Listener::open(&door.address, door.shared)?;
            listener
                .register(poll.registry(), Token(1 + index))
                .map_err(system)?;
            listeners.push(listener);
        }
        let addresses = listeners.iter().map(Listener::local_address).collect();
        let counters = Arc::new(Counters::new(options.methods.len()));
        let shared = Arc::new(Shared::new(waker, counters.clone()));
        shared.calls.set_wake(wake);
        shared::set_current(shared.clone());
        let context = Context::new(options.limits, options.methods, counters);
        let server = Server::new(
            poll,
            listeners,
            options.doors,
            context,
            shared.clone(),
            options.clock_offset,
        );
        let thread = std::thread::Builder::new()
            .name("edge".into())
            .spawn(move || server.run())
            .map_err(system)?;
        Ok(Edge {
            shared,
            addresses,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// What the listeners are bound to, in the order of the options.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Copies whole call records into `into`; 0 when none is left, and then the next one wakes.
    pub fn drain(&self, into: &mut [u8]) -> Result<usize, BufferTooSmall> {
        let filled = self.shared.calls.receive(into)?;
        self.shared.drained();
        Ok(filled)
    }

    /// See `Counters`.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// No wake-up is made after this.
    pub fn clear_wake(&self) {
        self.shared.calls.clear_wake();
    }

    /// Sends clients away, waits for their calls up to `grace` milliseconds, and ends the thread.
    pub fn close(&self, grace: u32) {
        self.shared.close(grace);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            thread.join().expect("a panic aborts the process");
        }
        self.shared.calls.clear_wake();
    }
}
