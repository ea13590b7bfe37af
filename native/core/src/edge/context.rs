//! What all connections of the edge share. Owned by the edge's thread.

use super::batch::{CallRecord, call_kind};
use super::call_table::{Call, CallTable, MethodKind};
use super::counters::Counters;
use super::deadlines::Deadlines;
use super::field::Paths;
use super::head::Head;
use std::collections::HashMap;
use std::sync::Arc;

/// One served method.
#[derive(Clone, Debug)]
pub struct Method {
    /// "/etcdserverpb.KV/Put"
    pub path: String,
    pub kind: MethodKind,
    /// A unary call that may wait for other calls (Lock, Campaign): it does not count among the calls that a
    /// connection may have in flight, or those would wait for it forever.
    pub blocking: bool,
}

/// Limits and times; all times in microseconds.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of one received message.
    pub receive_bytes_max: usize,
    /// Streams a connection; `u32::MAX`: no limit is told to clients.
    pub concurrent_streams_max: u32,
    /// A stream's receive window.
    pub stream_window: u32,
    /// A connection's receive window. Its bytes are given back as they are taken from the socket; what bounds
    /// memory is that sockets are not read while JavaScript is behind.
    pub connection_window: u32,
    /// Bytes beyond `stream_window` that a connection's large messages are granted together.
    pub granted_bytes_max: usize,
    /// Bytes of messages not yet whole that a connection may hold; beyond, calls fail. Likewise of messages that wait
    /// for the client's end of a server stream.
    pub assembly_bytes_max: usize,
    /// Bytes of whole unary messages that wait until the client takes its replies; beyond, its window stays closed.
    pub deferred_bytes_max: usize,
    /// What a connection's calls may hold beside messages; beyond, streams are refused.
    pub held_bytes_max: usize,
    /// Unary calls of a connection that wait for their reply; further ones wait in the edge. A call that its client has
    /// reset, or whose deadline has passed, counts until its reply comes all the same, or for `orphan_time`: it is
    /// worked for, and a client that resets what it asks for would otherwise have no bound.
    pub in_flight_max: usize,
    pub orphan_time: u64,
    /// Reply bytes of a connection that wait for the client; with more, its unary calls wait in the edge.
    pub pending_bytes_max: usize,
    /// Reply bytes of all connections that wait for their clients; with more, a connection that has some waiting gets
    /// no further unary calls dispatched, and one that hardly takes any is closed.
    pub pending_bytes_total_max: usize,
    /// A connection must have taken `stall_bytes_min` within this time while the total is above its bound.
    pub stall_time: u64,
    pub stall_bytes_min: usize,
    /// Framed bytes that a connection hands to the socket at a time.
    pub out_bytes_max: usize,
    /// A stream with fewer reply bytes waiting than this is writable.
    pub writable_bytes: usize,
    /// Pings more often than this are a nuisance.
    pub ping_interval_min: u64,
    pub ping_without_stream: bool,
    /// An idle connection is probed after this, and closed when it has not answered for the timeout.
    pub probe_after: u64,
    pub probe_timeout: u64,
    /// A unary call that took so long, or longer, is told of when it is answered.
    pub slow_after: u64,
    /// File descriptors that clients may take together, see `admission.rs`.
    pub descriptors_max: usize,
}

/// See the module.
pub struct Context {
    pub limits: Limits,
    pub methods: Vec<Method>,
    pub paths: Paths,
    pub calls: CallTable,
    pub deadlines: Deadlines,
    /// Calls that are gone and that JavaScript may still work for, by ID, and the slots of their connections.
    pub orphans: HashMap<u32, u32>,
    pub counters: Arc<Counters>,
    /// Call records made in this turn.
    pub records: Vec<u8>,
    /// The head of the request being read.
    pub head: Head,
    /// Reply bytes that wait for their clients, of all connections.
    pub pending_bytes: usize,
    /// Bytes of requests that are kept for the log.
    pub shown_bytes: usize,
    /// Microseconds since the process started, as of this turn.
    pub now: u64,
}

impl Context {
    pub fn new(limits: Limits, methods: Vec<Method>, counters: Arc<Counters>) -> Context {
        Context {
            limits,
            paths: Paths::new(methods.iter().map(|method| method.path.as_str())),
            methods,
            calls: CallTable::default(),
            deadlines: Deadlines::default(),
            orphans: HashMap::new(),
            counters,
            records: Vec::new(),
            pending_bytes: 0,
            shown_bytes: 0,
            head: Head::new(),
            now: 0,
        }
    }

    /// Appends a record about a call. `connection` is the number that JavaScript knows it by.
    pub fn put_record(&mut self, id: u32, connection: u32, kind: u8, message: &[u8]) {
        let call: &Call = self.calls.at(id);
        let metadata: &[u8] = if kind == call_kind::CALL {
            &call.metadata
        } else {
            &[]
        };
        let (flags, method, arrival) = (call.flags, call.method, call.arrival);
        let record = CallRecord {
            call_id: id,
            kind,
            flags,
            method,
            connection,
            arrival,
            metadata,
            message,
        };
        record.put(&mut self.records);
    }

    /// Appends a record about a connection.
    pub fn put_connection_record(&mut self, connection: u32, kind: u8, metadata: &[u8]) {
        let record = CallRecord {
            call_id: 0,
            kind,
            flags: 0,
            method: 0,
            connection,
            arrival: self.now as u32,
            metadata,
            message: &[],
        };
        record.put(&mut self.records);
    }
}
