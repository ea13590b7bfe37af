//! One HTTP/2 connection, as a server (RFC 9113), without I/O: `receive` takes what the socket gave, `out`
//! holds what the socket shall take.
//!
//! The parts: frames (here), settings and windows (`settings.rs`), requests (`request.rs`), messages coming in (`receive.rs`), replies going out
//! (`send.rs`), pings and the way to the end (`health.rs`).
//!
//! Invariants: `streams` holds exactly the calls under way of this connection. Whatever a client does, this
//! holds at most `assembly_bytes_max` of messages that are not whole, `deferred_bytes_max` and a window of whole ones
//! that wait, `held_bytes_max` of all else about its calls, `block` at most `BLOCK_BYTES_MAX`, and per call in flight
//! one reply; a client that does not take its replies is not given more work. What it sends is taken a part at a time
//! where it makes much of little (`Taken::paused`), so that no client holds up the others.

use super::batch::call_kind;
use super::call_stats;
use super::call_table::Call;
use super::context::Context;
use super::counters::Counters;
use super::frame::{self, Fatal, HEADER_BYTES, Header, Reason, flag, kind, setting};
use super::grpc::code;
use super::health::Health;
use super::hpack::Decoder;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

/// Bytes of one header block, continuations included.
const BLOCK_BYTES_MAX: usize = 128 << 10;
/// Work that one connection may cause before others have their turn, in bytes that were copied or looked at beyond
/// those that came: about a millisecond.
const WORK_BYTES_MAX: usize = 512 << 10;
/// Records that may gather before they are handed over.
pub(super) const RECORDS_BYTES_MAX: usize = 256 << 10;
/// What an idle connection's `out` keeps.
const IDLE_OUT_BYTES_KEPT: usize = 4 << 10;

/// Stream IDs are numbers in sequence; spreading their bits is all the hashing they need.
#[derive(Default)]
pub struct StreamHasher(u64);

impl Hasher for StreamHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("only u32 keys are hashed");
    }
    fn write_u32(&mut self, stream: u32) {
        self.0 = u64::from(stream).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

type StreamMap = HashMap<u32, u32, BuildHasherDefault<StreamHasher>>;

/// Bytes on their way to the socket.
#[derive(Default)]
pub struct Out {
    pub bytes: Vec<u8>,
    /// Up to here the socket has taken them.
    pub start: usize,
}

impl Out {
    /// Bytes that the socket has not taken.
    pub fn waiting(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// The socket has taken `count` bytes.
    pub fn taken(&mut self, count: usize) {
        self.start += count;
        if self.start == self.bytes.len() {
            self.start = 0;
            self.bytes.clear();
            if self.bytes.capacity() > 256 << 10 {
                self.bytes = Vec::new();
            }
        }
    }

    /// Gives back memory that a busy moment has left behind, so that thousands of idle connections hold little.
    fn shrink(&mut self) {
        if self.bytes.is_empty() {
            self.bytes.shrink_to(IDLE_OUT_BYTES_KEPT);
        }
    }
}

/// What `receive` has done with the bytes that it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub bytes: usize,
    /// It has stopped before the last whole frame: more of them would make too much of little. What is left is to be
    /// given again once others have had their turn and `out` has been written.
    pub paused: bool,
}

/// See the module.
pub struct Connection {
    /// Its place among the server's connections; calls lead back to it.
    pub slot: u32,
    /// Its number for JavaScript.
    pub id: u32,
    pub out: Out,
    /// Call IDs by stream.
    pub streams: StreamMap,
    pub last_stream: u32,
    pub(super) decoder: Decoder,
    /// What the frames of this turn have cost so far, see `WORK_BYTES_MAX`.
    pub(super) work_bytes: usize,
    pub(super) settings_seen: bool,
    pub(super) settings_count: u32,
    /// The header block being continued, its stream (0: none) and whether it ends the stream.
    block: Vec<u8>,
    block_stream: u32,
    block_ends_stream: bool,

    pub(super) receive_window: i64,
    pub(super) receive_credit: u32,
    /// Bytes of messages not yet whole.
    pub(super) assembly_bytes: usize,
    /// Whole messages of server streams whose client has not ended its side.
    pub(super) opening_bytes: usize,
    /// Whole messages of the calls in `deferred`.
    pub(super) deferred_bytes: usize,
    /// What calls hold by being there: their slots, metadata and content types.
    pub(super) held_bytes: usize,
    pub(super) granted_bytes: usize,
    /// Here, too, calls that have ended stay listed.
    pub(super) awaiting_grant: VecDeque<u32>,

    pub(super) send_window: i64,
    pub(super) peer_initial_window: i64,
    pub(super) encoder: Encoder,
    /// Calls with something to send and a window for it, in turn. Here and below, calls that have ended or moved
    /// on stay listed until their turn comes; `list_max` bounds that.
    pub(super) sending: VecDeque<u32>,
    /// Calls whose own window is used up.
    pub(super) window_blocked: Vec<u32>,
    pub(super) pending_bytes: usize,
    /// Of those, what the client has taken since `taken_since`.
    pub(super) taken_bytes: usize,
    taken_since: u64,
    /// Calls under way that count, and those that are gone and still count.
    pub(super) in_flight: usize,
    /// The latter, by when they count no more; also such as count no more already.
    orphans: VecDeque<(u64, u32)>,
    /// Whole unary calls that wait until the client takes its replies.
    pub(super) deferred: VecDeque<u32>,
    pub(super) health: Health,
}

/// What the client's HPACK table holds of our header fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoder {
    /// Nothing yet.
    Empty,
    /// `content-type: application/grpc` at index 62.
    ContentType,
    /// That at 64, `grpc-status: 0` at 63, an empty `grpc-message` at 62.
    Full,
    /// The client keeps a smaller table than the default and must yet be told that we use none.
    Disabling,
    /// Only literals.
    Disabled,
}

impl Connection {
    /// A connection whose preface has been read.
    pub fn new(slot: u32, id: u32, context: &Context) -> Connection {
        let limits = &context.limits;
        let mut out = Out::default();
        let mut settings = vec![(setting::INITIAL_WINDOW_SIZE, limits.stream_window)];
        if limits.concurrent_streams_max != u32::MAX {
            settings.push((
                setting::MAX_CONCURRENT_STREAMS,
                limits.concurrent_streams_max,
            ));
        }
        frame::put_settings(&mut out.bytes, &settings);
        if limits.connection_window > frame::WINDOW_DEFAULT {
            let more = limits.connection_window - frame::WINDOW_DEFAULT;
            frame::put_window_update(&mut out.bytes, 0, more);
        }
        Connection {
            slot,
            id,
            out,
            streams: StreamMap::default(),
            last_stream: 0,
            decoder: Decoder::new(),
            work_bytes: 0,
            settings_seen: false,
            settings_count: 0,
            block: Vec::new(),
            block_stream: 0,
            block_ends_stream: false,
            receive_window: i64::from(limits.connection_window.max(frame::WINDOW_DEFAULT)),
            receive_credit: 0,
            assembly_bytes: 0,
            opening_bytes: 0,
            deferred_bytes: 0,
            held_bytes: 0,
            granted_bytes: 0,
            awaiting_grant: VecDeque::new(),
            send_window: i64::from(frame::WINDOW_DEFAULT),
            peer_initial_window: i64::from(frame::WINDOW_DEFAULT),
            encoder: Encoder::Empty,
            sending: VecDeque::new(),
            window_blocked: Vec::new(),
            pending_bytes: 0,
            taken_bytes: 0,
            taken_since: 0,
            in_flight: 0,
            orphans: VecDeque::new(),
            deferred: VecDeque::new(),
            health: Health::new(context.now),
        }
    }

    /// Takes the whole frames of `bytes`, at least one if there is one. After `Fatal`, a GOAWAY is in `out`, no call is
    /// left, and only `out` matters.
    pub fn receive(&mut self, bytes: &[u8], context: &mut Context) -> Result<Taken, Fatal> {
        self.health.received(context.now);
        self.work_bytes = 0;
        let mut at = 0;
        while let Some(head) = bytes.get(at..at + HEADER_BYTES) {
            let header = Header::read(head);
            if header.length > frame::PAYLOAD_BYTES_MAX {
                return Err(self.fatal(Fatal::new(Reason::FrameSize, "frame too large"), context));
            }
            let Some(payload) = bytes.get(at + HEADER_BYTES..at + HEADER_BYTES + header.length)
            else {
                break;
            };
            if let Err(fatal) = self.frame(header, payload, context) {
                return Err(self.fatal(fatal, context));
            }
            at += HEADER_BYTES + header.length;
            if self.has_done_enough(context) {
                return Ok(Taken {
                    bytes: at,
                    paused: true,
                });
            }
        }
        Ok(Taken {
            bytes: at,
            paused: false,
        })
    }

    /// Whether little has made much: answers and calls that wait to be handed over, or work.
    fn has_done_enough(&self, context: &Context) -> bool {
        self.out.waiting() >= context.limits.out_bytes_max
            || context.records.len() >= RECORDS_BYTES_MAX
            || self.work_bytes >= WORK_BYTES_MAX
    }

    fn frame(
        &mut self,
        header: Header,
        payload: &[u8],
        context: &mut Context,
    ) -> Result<(), Fatal> {
        if self.block_stream != 0
            && (header.kind != kind::CONTINUATION || header.stream != self.block_stream)
        {
            return Err(Fatal::new(Reason::Protocol, "header block interrupted"));
        }
        if !self.settings_seen && header.kind != kind::SETTINGS {
            return Err(Fatal::new(
                Reason::Protocol,
                "the first frame is not SETTINGS",
            ));
        }
        match header.kind {
            kind::DATA => self.data(header, payload, context),
            kind::HEADERS => self.headers(header, payload, context),
            kind::CONTINUATION => self.continuation(header, payload, context),
            kind::RST_STREAM => self.reset_by_client(header, payload, context),
            kind::SETTINGS => self.settings(header, payload, context),
            kind::PING => self.ping(header, payload, context),
            kind::WINDOW_UPDATE => self.window_update(header, payload, context),
            kind::PRIORITY => self.priority(header, payload, context),
            kind::PUSH_PROMISE => Err(Fatal::new(Reason::Protocol, "PUSH_PROMISE from a client")),
            kind::GOAWAY if header.stream != 0 => {
                Err(Fatal::new(Reason::Protocol, "GOAWAY on a stream"))
            }
            _ => Ok(()),
        }
    }

    fn headers(
        &mut self,
        header: Header,
        payload: &[u8],
        context: &mut Context,
    ) -> Result<(), Fatal> {
        if header.stream == 0 {
            return Err(Fatal::new(Reason::Protocol, "HEADERS on stream 0"));
        }
        let mut fragment = unpadded(header, payload)?;
        if header.has(flag::PRIORITY) {
            let (priority, rest) = fragment
                .split_at_checked(5)
                .ok_or(Fatal::new(Reason::FrameSize, "HEADERS too short"))?;
            if frame::read_u32(priority) & 0x7fff_ffff == header.stream {
                return Err(Fatal::new(Reason::Protocol, "a stream depends on itself"));
            }
            fragment = rest;
        }
        let ends_stream = header.has(flag::END_STREAM);
        if header.has(flag::END_HEADERS) {
            return self.request(header.stream, ends_stream, fragment, context);
        }
        self.block_stream = header.stream;
        self.block_ends_stream = ends_stream;
        self.block.extend_from_slice(fragment);
        Ok(())
    }

    fn continuation(
        &mut self,
        header: Header,
        payload: &[u8],
        context: &mut Context,
    ) -> Result<(), Fatal> {
        if self.block_stream == 0 {
            return Err(Fatal::new(Reason::Protocol, "CONTINUATION without HEADERS"));
        }
        // An empty one that ends nothing costs the client nothing and could come forever.
        let idle = payload.is_empty() && !header.has(flag::END_HEADERS);
        if idle || self.block.len() + payload.len() > BLOCK_BYTES_MAX {
            return Err(Fatal::new(
                Reason::EnhanceYourCalm,
                "header block too large",
            ));
        }
        self.block.extend_from_slice(payload);
        if !header.has(flag::END_HEADERS) {
            return Ok(());
        }
        let block = std::mem::take(&mut self.block);
        let stream = std::mem::take(&mut self.block_stream);
        self.request(stream, self.block_ends_stream, &block, context)
    }

    fn reset_by_client(
        &mut self,
        header: Header,
        payload: &[u8],
        context: &mut Context,
    ) -> Result<(), Fatal> {
        if payload.len() != 4 {
            return Err(Fatal::new(Reason::FrameSize, "RST_STREAM of a wrong size"));
        }
        if header.stream == 0 || header.stream > self.last_stream {
            return Err(Fatal::new(Reason::Protocol, "RST_STREAM on an idle stream"));
        }
        if let Some(&id) = self.streams.get(&header.stream) {
            self.cancel(id, code::CANCELED, context);
        }
        Ok(())
    }

    fn priority(
        &mut self,
        header: Header,
        payload: &[u8],
        context: &mut Context,
    ) -> Result<(), Fatal> {
        if header.stream == 0 {
            return Err(Fatal::new(Reason::Protocol, "PRIORITY on stream 0"));
        }
        if payload.len() != 5 {
            self.reset(header.stream, Reason::FrameSize, context);
        } else if frame::read_u32(payload) & 0x7fff_ffff == header.stream {
            self.reset(header.stream, Reason::Protocol, context);
        }
        Ok(())
    }

    /// Ends one stream with RST_STREAM, and its call if there is one.
    pub(super) fn reset(&mut self, stream: u32, reason: Reason, context: &mut Context) {
        frame::put_reset(&mut self.out.bytes, stream, reason);
        if let Some(&id) = self.streams.get(&stream) {
            self.cancel(id, code::CANCELED, context);
        }
    }

    /// Forgets a call without an answer and tells JavaScript. `ended_as` is what metrics say of it.
    pub(super) fn cancel(&mut self, id: u32, ended_as: u8, context: &mut Context) {
        self.withdraw(id, context);
        self.release(id, ended_as, context);
    }

    /// Tells JavaScript that nobody waits for a call any more. What is under way for it goes on counting.
    pub(super) fn withdraw(&mut self, id: u32, context: &mut Context) {
        if !context.calls.at(id).dispatched {
            return;
        }
        context.put_record(id, self.id, call_kind::CANCEL, &[]);
        if std::mem::take(&mut context.calls.at(id).in_flight) {
            context.orphans.insert(id, self.slot);
            let until = context.now + context.limits.orphan_time;
            self.orphans.push_back((until, id));
        }
    }

    /// JavaScript has answered a call that is gone, or has had its time.
    pub fn orphan_ended(&mut self, context: &mut Context) {
        self.in_flight -= 1;
        self.dispatch_deferred(context);
    }

    /// Frees all that a call holds. `ended_as` is its gRPC status for metrics.
    pub(super) fn release(&mut self, id: u32, ended_as: u8, context: &mut Context) {
        // What lists it still name it; it is passed over there.
        let call = context.calls.at(id);
        if call.started {
            count_end(call, ended_as, context.now, &context.counters);
        }
        self.tell_if_slow(id, &[], context);
        let call = context.calls.at(id);
        self.streams.remove(&call.stream);
        self.assembly_bytes -= call.assembly.len();
        self.held_bytes -= call.held_bytes();
        *self.kept_bytes(call.kind) -= call.kept.len();
        let pending = call.pending_bytes();
        self.in_flight -= usize::from(call.in_flight);
        let granted = std::mem::take(&mut call.granted);
        let shown_bytes = call.shown.len();
        context.shown_bytes -= shown_bytes;
        context.calls.remove(id);
        self.pending_bytes -= pending;
        context.pending_bytes -= pending;
        self.ungrant(granted, context);
        self.dispatch_deferred(context);
    }

    /// Tells JavaScript of a unary call that took long, with its answer if it has one.
    pub(super) fn tell_if_slow(&self, id: u32, response: &[u8], context: &mut Context) {
        let (now, slow_after) = (context.now, context.limits.slow_after);
        let call = context.calls.at(id);
        if let Some(payload) = call_stats::slow_record(call, response, now, slow_after) {
            context.put_record(id, self.id, call_kind::SLOW, &payload);
        }
    }

    /// Ends all calls without an answer: the client is gone.
    pub fn abandon(&mut self, context: &mut Context) {
        self.deferred.clear();
        self.sending.clear();
        self.window_blocked.clear();
        self.awaiting_grant.clear();
        for (_, id) in self.orphans.drain(..) {
            context.orphans.remove(&id);
        }
        context.pending_bytes -= std::mem::take(&mut self.pending_bytes);
        for id in std::mem::take(&mut self.streams).into_values() {
            let call = context.calls.at(id);
            if call.started {
                count_end(call, code::CANCELED, context.now, &context.counters);
            }
            if call.dispatched {
                context.put_record(id, self.id, call_kind::CANCEL, &[]);
            }
            context.shown_bytes -= context.calls.at(id).shown.len();
            context.calls.remove(id);
        }
    }

    /// Says why and leaves no call behind.
    pub(super) fn fatal(&mut self, fatal: Fatal, context: &mut Context) -> Fatal {
        self.abandon(context);
        frame::put_goaway(
            &mut self.out.bytes,
            self.last_stream,
            fatal.reason,
            fatal.text,
        );
        fatal
    }

    /// Whether the client leaves lying what others could use the memory for.
    pub fn is_stalled(&mut self, context: &Context) -> bool {
        let limits = &context.limits;
        let is_pressed = context.pending_bytes >= limits.pending_bytes_total_max;
        if !is_pressed
            || self.pending_bytes < limits.stall_bytes_min
            || self.taken_bytes >= limits.stall_bytes_min
        {
            self.taken_since = context.now;
            self.taken_bytes = 0;
        }
        context.now - self.taken_since >= limits.stall_time
    }

    /// A second has passed.
    pub fn second_passed(&mut self, context: &mut Context) {
        self.settings_count = 0;
        self.out.shrink();
        while let Some(&(until, id)) = self.orphans.front()
            && until <= context.now
        {
            self.orphans.pop_front();
            if context.orphans.remove(&id).is_some() {
                self.orphan_ended(context);
            }
        }
    }
}

/// What metrics are told of a call's end; one that still waits for a message gets the error as one, as in Go's
/// middleware.
fn count_end(call: &Call, ended_as: u8, now: u64, counters: &Counters) {
    if call.kind.client_streams() && !call.remote_closed {
        counters.received(call.method, 0);
    }
    counters.ended(call.method, ended_as, now - call.began);
}

/// The payload without its padding.
pub(super) fn unpadded(header: Header, payload: &[u8]) -> Result<&[u8], Fatal> {
    if !header.has(flag::PADDED) {
        return Ok(payload);
    }
    let short = Fatal::new(Reason::FrameSize, "padding without its length");
    let (&padding, rest) = payload.split_first().ok_or(short)?;
    let kept = rest.len().checked_sub(usize::from(padding));
    Ok(&rest[..kept.ok_or(Fatal::new(Reason::Protocol, "padding too long"))?])
}
