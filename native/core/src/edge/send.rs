//! Replies going out: header blocks, gRPC's message frames in DATA frames, and the client's windows.
//!
//! A reply that fits the windows is framed at once; else its bytes wait in the call and are framed in turn with
//! others, `out_bytes_max` at a time, as the socket and the windows allow.

use super::batch::{ReplyRecord, call_kind, reply_kind};
use super::call_table::{Call, End, Sending};
use super::connection::{Connection, Encoder};
use super::context::Context;
use super::frame::{self, PAYLOAD_BYTES_MAX, Reason, flag, kind};
use super::grpc::{self, PREFIX_BYTES, code};
use super::outgoing::Outgoing;

/// A status message is cut so that its header block fits one frame.
const STATUS_TEXT_BYTES_MAX: usize = 12_000;
/// What it costs to put a call back in turn, counted as `work_bytes`.
const UNBLOCK_BYTES: usize = 64;

impl Connection {
    /// A reply of JavaScript to one of this connection's calls.
    pub fn reply(&mut self, id: u32, reply: &ReplyRecord<'_>, context: &mut Context) {
        let call = context.calls.at(id);
        if call.end.is_some() {
            return;
        }
        if reply.kind == reply_kind::PART {
            return keep_part(call, reply);
        }
        let message = if reply.kind == reply_kind::END {
            &[]
        } else {
            reply.message
        };
        self.tell_if_slow(id, message, context);
        let call = context.calls.at(id);
        if reply.kind == reply_kind::LAST_PART {
            self.send_parts(id, reply.message, context);
        } else if reply.kind != reply_kind::END {
            context.counters.sent(call.method, reply.message.len());
            self.send_message(id, reply.message, context);
        }
        let call = context.calls.at(id);
        if matches!(reply.kind, reply_kind::MESSAGE | reply_kind::LAST_PART) {
            call.notify |= reply.code == 1;
            return self.notify(id, context);
        }
        let end = End {
            code: reply.code,
            text: reply.status.to_vec(),
        };
        if call.sending == Sending::Idle {
            self.finish(id, &end, context);
        } else {
            call.end = Some(end);
        }
    }

    /// Ends a call with an error that the edge itself found; what it had to send is dropped.
    pub(super) fn fail(&mut self, id: u32, code: u8, text: &str, context: &mut Context) {
        self.withdraw(id, context);
        self.finish(
            id,
            &End {
                code,
                text: text.as_bytes().to_vec(),
            },
            context,
        );
    }

    /// The call's deadline has passed.
    pub fn expire(&mut self, id: u32, context: &mut Context) {
        self.fail(
            id,
            code::DEADLINE_EXCEEDED,
            "context deadline exceeded",
            context,
        );
    }

    /// Frames the message, or keeps it until `pump` may.
    fn send_message(&mut self, id: u32, message: &[u8], context: &mut Context) {
        let total = (PREFIX_BYTES + message.len()) as i64;
        let out_max = context.limits.out_bytes_max;
        let room = self.out.waiting() < out_max && total <= out_max as i64;
        let call = context.calls.at(id);
        let window = self
            .send_window
            .min(self.peer_initial_window + call.send_offset);
        let prefix = grpc::prefix(message.len());
        if call.sending == Sending::Idle && room && total <= window {
            self.begin(call);
            call.send_offset -= total;
            self.send_window -= total;
            return put_data(&mut self.out.bytes, call.stream, &prefix, message);
        }
        call.pending.extend(&prefix);
        call.pending.extend(message);
        self.waits(id, total as usize, context);
    }

    /// The message of which `last` is the last part is whole.
    fn send_parts(&mut self, id: u32, last: &[u8], context: &mut Context) {
        let call = context.calls.at(id);
        let parts = std::mem::take(&mut call.parts);
        let length = parts.len() + last.len();
        context.counters.sent(call.method, length);
        call.pending.extend(&grpc::prefix(length));
        call.pending.append(parts);
        call.pending.extend(last);
        self.waits(id, PREFIX_BYTES + length, context);
    }

    /// So many further bytes of the call wait.
    fn waits(&mut self, id: u32, count: usize, context: &mut Context) {
        self.pending_bytes += count;
        context.pending_bytes += count;
        if context.calls.at(id).sending == Sending::Idle {
            self.queue(id, context);
        }
    }

    /// Puts a call with pending bytes in turn.
    pub(super) fn queue(&mut self, id: u32, context: &mut Context) {
        if self.sending.len() > self.list_max() {
            self.sending.retain(|&id| is_queued(id, context));
        }
        context.calls.at(id).sending = Sending::Queued;
        self.sending.push_back(id);
    }

    /// Lists of call IDs are cleaned when they pass this, so that what has ended does not pile up in them.
    pub(super) fn list_max(&self) -> usize {
        2 * self.streams.len() + 64
    }

    /// The client has widened the window of every stream.
    pub(super) fn unblock(&mut self, context: &mut Context) {
        let listed = std::mem::take(&mut self.window_blocked);
        self.work_bytes += listed.len() * UNBLOCK_BYTES;
        for id in listed {
            let Some(call) = context.calls.get(id) else {
                continue;
            };
            call.listed_as_blocked = false;
            if call.sending == Sending::Blocked {
                self.queue(id, context);
            }
        }
    }

    /// Frames waiting bytes, a frame a call in turn, as far as windows and `out` allow.
    pub fn pump(&mut self, context: &mut Context) {
        while self.send_window > 0 && self.out.waiting() < context.limits.out_bytes_max {
            let Some(id) = self.sending.pop_front() else {
                return;
            };
            if is_queued(id, context) {
                self.pump_one(id, context);
            }
        }
    }

    fn pump_one(&mut self, id: u32, context: &mut Context) {
        let call = context.calls.at(id);
        let window = self
            .send_window
            .min(self.peer_initial_window + call.send_offset);
        if window <= 0 {
            return self.block(id, context);
        }
        self.begin(call);
        let data = call.pending.front(PAYLOAD_BYTES_MAX.min(window as usize));
        let count = data.len();
        put_data(&mut self.out.bytes, call.stream, data, &[]);
        call.send_offset -= count as i64;
        self.send_window -= count as i64;
        self.pending_bytes -= count;
        context.pending_bytes -= count;
        self.taken_bytes += count;
        call.pending.take(count);
        if call.pending_bytes() > 0 {
            self.sending.push_back(id);
        } else {
            call.sending = Sending::Idle;
            if let Some(end) = call.end.take() {
                return self.finish(id, &end, context);
            }
        }
        self.notify(id, context);
        self.dispatch_deferred(context);
    }

    fn block(&mut self, id: u32, context: &mut Context) {
        let call = context.calls.at(id);
        call.sending = Sending::Blocked;
        // It may be there from the last time, as a window that is opened alone takes nothing out of the list.
        if std::mem::replace(&mut call.listed_as_blocked, true) {
            return;
        }
        if self.window_blocked.len() > self.list_max() {
            self.window_blocked
                .retain(|&id| context.calls.get(id).is_some());
        }
        self.window_blocked.push(id);
    }

    /// Tells JavaScript that it may send on, if it asked and little is left.
    fn notify(&mut self, id: u32, context: &mut Context) {
        let writable_bytes = context.limits.writable_bytes;
        let call = context.calls.at(id);
        if call.notify && call.pending_bytes() < writable_bytes {
            call.notify = false;
            context.put_record(id, self.id, call_kind::WRITABLE, &[]);
        }
    }

    /// Sends the status and frees the call.
    fn finish(&mut self, id: u32, end: &End, context: &mut Context) {
        let call = context.calls.at(id);
        let (stream, remote_closed) = (call.stream, call.remote_closed);
        if call.headers_sent {
            self.put_trailers(stream, end.code, &end.text);
        } else {
            self.put_trailers_only(stream, 200, call.subtype.as_deref(), end.code, &end.text);
        }
        if !remote_closed {
            frame::put_reset(&mut self.out.bytes, stream, Reason::NoError);
        }
        self.release(id, end.code, context);
    }

    /// Sends the response's header fields unless they have been.
    fn begin(&mut self, call: &mut Call) {
        self.health.sent();
        if call.headers_sent {
            return;
        }
        call.headers_sent = true;
        let mut block = Block::default();
        self.put_head(&mut block, 200, call.subtype.as_deref());
        block.frame(&mut self.out.bytes, call.stream, flag::END_HEADERS);
    }

    fn put_trailers(&mut self, stream: u32, code: u8, text: &[u8]) {
        let mut block = Block::default();
        self.put_status(&mut block, code, text);
        block.frame(
            &mut self.out.bytes,
            stream,
            flag::END_HEADERS | flag::END_STREAM,
        );
        self.health.sent();
    }

    /// An answer without messages: one header block.
    pub(super) fn put_trailers_only(
        &mut self,
        stream: u32,
        http: u16,
        subtype: Option<&[u8]>,
        code: u8,
        text: &[u8],
    ) {
        let mut block = Block::default();
        self.put_head(&mut block, http, subtype);
        self.put_status(&mut block, code, text);
        block.frame(
            &mut self.out.bytes,
            stream,
            flag::END_HEADERS | flag::END_STREAM,
        );
        self.health.sent();
    }

    /// `:status` and `content-type`.
    fn put_head(&mut self, block: &mut Block, http: u16, subtype: Option<&[u8]>) {
        self.put_table_size(block);
        match http {
            200 => block.byte(0x88),
            400 => block.byte(0x8c),
            other => block.literal(&[0x08], other.to_string().as_bytes()),
        }
        let content_type = b"application/grpc";
        match (subtype, self.encoder) {
            (Some(subtype), _) => {
                block.literal(&[0x0f, 0x10], &[content_type, &b"+"[..], subtype].concat());
            }
            (None, Encoder::Full) => block.byte(0xc0),
            (None, Encoder::ContentType) => block.byte(0xbe),
            (None, Encoder::Empty) => {
                block.literal(&[0x5f], content_type);
                self.encoder = Encoder::ContentType;
            }
            (None, _) => block.literal(&[0x0f, 0x10], content_type),
        }
    }

    /// `grpc-status` and `grpc-message`.
    fn put_status(&mut self, block: &mut Block, code: u8, text: &[u8]) {
        self.put_table_size(block);
        let plain = code == code::OK && text.is_empty();
        match self.encoder {
            Encoder::Full if plain => block.bytes(&[0xbf, 0xbe]),
            Encoder::ContentType if plain => {
                block.named(0x40, b"grpc-status", b"0");
                block.named(0x40, b"grpc-message", b"");
                self.encoder = Encoder::Full;
            }
            _ => {
                block.named(0x00, b"grpc-status", code.to_string().as_bytes());
                let mut encoded = Vec::with_capacity(text.len());
                grpc::percent_encode(text, &mut encoded);
                encoded.truncate(STATUS_TEXT_BYTES_MAX);
                block.named(0x00, b"grpc-message", &encoded);
            }
        }
    }

    /// A client that keeps a smaller table than the default is told once that we use none.
    fn put_table_size(&mut self, block: &mut Block) {
        if self.encoder == Encoder::Disabling {
            block.byte(0x20);
            self.encoder = Encoder::Disabled;
        }
    }
}

/// Whether a listed ID still names a call in turn.
fn is_queued(id: u32, context: &mut Context) -> bool {
    context
        .calls
        .get(id)
        .is_some_and(|call| call.sending == Sending::Queued)
}

/// Frames `first` and then `second` as DATA.
fn put_data(out: &mut Vec<u8>, stream: u32, first: &[u8], second: &[u8]) {
    let total = first.len() + second.len();
    if total <= PAYLOAD_BYTES_MAX {
        frame::put_header(out, total, kind::DATA, 0, stream);
        out.extend_from_slice(first);
        out.extend_from_slice(second);
        return;
    }
    let (head, rest) = second.split_at(PAYLOAD_BYTES_MAX - first.len());
    put_data(out, stream, first, head);
    for chunk in rest.chunks(PAYLOAD_BYTES_MAX) {
        put_data(out, stream, chunk, &[]);
    }
}

/// A part of a message, or word that the message will not come.
fn keep_part(call: &mut Call, reply: &ReplyRecord<'_>) {
    if reply.code == 1 {
        call.parts = Outgoing::default();
    } else {
        call.parts.extend(reply.message);
    }
}

/// A header block being written; ordinary ones need no memory of their own.
struct Block {
    short: [u8; 64],
    length: usize,
    long: Vec<u8>,
}

impl Default for Block {
    fn default() -> Block {
        Block {
            short: [0; 64],
            length: 0,
            long: Vec::new(),
        }
    }
}

impl Block {
    fn byte(&mut self, byte: u8) {
        self.bytes(&[byte]);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if self.long.is_empty() && self.length + bytes.len() <= self.short.len() {
            self.short[self.length..self.length + bytes.len()].copy_from_slice(bytes);
            self.length += bytes.len();
            return;
        }
        if self.long.is_empty() {
            self.long.extend_from_slice(&self.short[..self.length]);
        }
        self.long.extend_from_slice(bytes);
    }

    /// A literal whose representation and name index are `start`.
    fn literal(&mut self, start: &[u8], value: &[u8]) {
        self.bytes(start);
        self.string(value);
    }

    /// A literal with a name of its own.
    fn named(&mut self, representation: u8, name: &[u8], value: &[u8]) {
        self.byte(representation);
        self.string(name);
        self.string(value);
    }

    fn string(&mut self, text: &[u8]) {
        if text.len() < 127 {
            self.byte(text.len() as u8);
        } else {
            self.byte(127);
            let mut rest = text.len() - 127;
            while rest >= 128 {
                self.byte((rest & 0x7f | 0x80) as u8);
                rest >>= 7;
            }
            self.byte(rest as u8);
        }
        self.bytes(text);
    }

    fn frame(&self, out: &mut Vec<u8>, stream: u32, flags: u8) {
        let block = if self.long.is_empty() {
            &self.short[..self.length]
        } else {
            &self.long
        };
        frame::put_header(out, block.len(), kind::HEADERS, flags, stream);
        out.extend_from_slice(block);
    }
}
