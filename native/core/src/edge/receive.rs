//! Messages coming in: DATA frames, gRPC's message frames in them, and the windows for both.
//!
//! A stream's window is `stream_window`. A message that needs more is granted the rest as soon as its length
//! is known and the connection's budget for such messages allows; until then its client waits, and others go on.

use super::batch::call_kind;
use super::call_stats;
use super::call_table::MethodKind;
use super::connection::{Connection, unpadded};
use super::context::{Context, Limits};
use super::frame::{self, Fatal, Header, Reason, flag};
use super::grpc::{PREFIX_BYTES, code};
use super::inflate::{self, gunzip};

/// A call keeps so much of the memory in which its last message was assembled.
const ASSEMBLY_BYTES_KEPT: usize = 4096;

const TOO_MUCH_TEXT: &str = "grpc: too much data of incomplete messages";

/// What is wrong with a call's messages: gRPC status and text.
struct Fault(u8, String);

impl Connection {
    /// A DATA frame.
    pub(super) fn data(
        &mut self,
        header: Header,
        payload: &[u8],
        context: &mut Context,
    ) -> Result<(), Fatal> {
        if header.stream == 0 || header.stream > self.last_stream {
            return Err(Fatal::new(Reason::Protocol, "DATA on an idle stream"));
        }
        self.receive_window -= payload.len() as i64;
        if self.receive_window < 0 {
            return Err(Fatal::new(
                Reason::FlowControl,
                "more data than the window allows",
            ));
        }
        self.receive_credit += payload.len() as u32;
        self.give_back_window(context);
        let data = unpadded(header, payload)?;
        let Some(&id) = self.streams.get(&header.stream) else {
            return Ok(());
        };
        let call = context.calls.at(id);
        call.receive_window -= payload.len() as i64;
        if call.remote_closed {
            self.reset(header.stream, Reason::StreamClosed, context);
            return Ok(());
        }
        if call.receive_window < 0 {
            self.reset(header.stream, Reason::FlowControl, context);
            return Ok(());
        }
        call.receive_credit += (payload.len() - data.len()) as u32;
        if let Err(Fault(code, text)) = self.message_bytes(id, data, context) {
            self.fail(id, code, &text, context);
            return Ok(());
        }
        if header.has(flag::END_STREAM) && self.streams.contains_key(&header.stream) {
            self.end_of_stream(id, context);
        }
        Ok(())
    }

    /// Lets the client send as much as it has sent, unless what it has sent waits for it to take its replies.
    fn give_back_window(&mut self, context: &Context) {
        let limits = &context.limits;
        if self.receive_credit >= limits.connection_window / 4
            && self.deferred_bytes < limits.deferred_bytes_max
        {
            let credit = std::mem::take(&mut self.receive_credit);
            self.receive_window += i64::from(credit);
            frame::put_window_update(&mut self.out.bytes, 0, credit);
        }
    }

    /// Cuts message bytes into messages.
    fn message_bytes(
        &mut self,
        id: u32,
        mut data: &[u8],
        context: &mut Context,
    ) -> Result<(), Fault> {
        while !data.is_empty() {
            let call = context.calls.at(id);
            if call.message_complete && call.kind == MethodKind::Unary {
                // The call is under way; what else its client sends is nobody's.
                return Ok(());
            }
            if call.assembly.is_empty() && data.len() >= PREFIX_BYTES {
                let length = message_length(data, &context.limits)?;
                if let Some(message) = data.get(PREFIX_BYTES..PREFIX_BYTES + length) {
                    self.message(id, data[0], message, context)?;
                    data = &data[PREFIX_BYTES + length..];
                    continue;
                }
            }
            data = self.assemble(id, data, context)?;
        }
        Ok(())
    }

    /// Adds to a message that comes in pieces; returns what belongs to the next one.
    fn assemble<'a>(
        &mut self,
        id: u32,
        data: &'a [u8],
        context: &mut Context,
    ) -> Result<&'a [u8], Fault> {
        let call = context.calls.at(id);
        let prefix_missing = PREFIX_BYTES.saturating_sub(call.assembly.len());
        let (prefix, rest) = data.split_at(prefix_missing.min(data.len()));
        call.assembly.extend_from_slice(prefix);
        self.assembly_bytes += prefix.len();
        if prefix.len() < prefix_missing {
            return Ok(rest);
        }
        let length = message_length(&call.assembly, &context.limits)?;
        let missing = PREFIX_BYTES + length - call.assembly.len();
        let (more, rest) = rest.split_at(missing.min(rest.len()));
        call.assembly.extend_from_slice(more);
        self.assembly_bytes += more.len();
        if more.len() == missing {
            self.assembled(id, context)?;
        } else if self.assembly_bytes > context.limits.assembly_bytes_max {
            return Err(Fault(code::RESOURCE_EXHAUSTED, TOO_MUCH_TEXT.into()));
        } else {
            self.ask_grant(id, (missing - more.len()) as i64, context);
        }
        Ok(rest)
    }

    /// The message in a call's `assembly` is whole.
    fn assembled(&mut self, id: u32, context: &mut Context) -> Result<(), Fault> {
        let mut whole = std::mem::take(&mut context.calls.at(id).assembly);
        self.assembly_bytes -= whole.len();
        self.message(id, whole[0], &whole[PREFIX_BYTES..], context)?;
        whole.clear();
        whole.shrink_to(ASSEMBLY_BYTES_KEPT);
        context.calls.at(id).assembly = whole;
        Ok(())
    }

    /// One whole message has come; `flag` tells whether it is compressed.
    fn message(
        &mut self,
        id: u32,
        flag: u8,
        message: &[u8],
        context: &mut Context,
    ) -> Result<(), Fault> {
        self.credit(id, PREFIX_BYTES + message.len(), context);
        match flag {
            0 => self.plain_message(id, message, context),
            1 if context.calls.at(id).gzip => {
                let max = context.limits.receive_bytes_max;
                let message = gunzip(message, max);
                self.work_bytes += message.as_ref().map_or(max, Vec::len);
                self.plain_message(id, &message?, context)
            }
            1 => {
                let text = "grpc: compressed flag set with identity or empty encoding";
                Err(Fault(code::INTERNAL, text.into()))
            }
            other => {
                let text = format!("grpc: received unexpected payload format {other}");
                Err(Fault(code::INTERNAL, text))
            }
        }
    }

    /// One whole message, not compressed any more.
    fn plain_message(
        &mut self,
        id: u32,
        message: &[u8],
        context: &mut Context,
    ) -> Result<(), Fault> {
        let call = context.calls.at(id);
        if call.message_complete {
            let text = "cardinality violation: received multiple request messages for non-client-streaming RPC";
            return Err(Fault(code::INTERNAL, text.into()));
        }
        context.counters.received(call.method, message.len());
        call.message_complete = !call.kind.client_streams();
        let kind = call.kind;
        call_stats::keep_request(id, message, context);
        match kind {
            MethodKind::Unary => {
                self.start(id, context);
                self.dispatch_or_defer(id, message, context);
            }
            MethodKind::ServerStream => {
                self.start(id, context);
                self.keep(id, message, context);
                if self.opening_bytes > context.limits.assembly_bytes_max {
                    return Err(Fault(code::RESOURCE_EXHAUSTED, TOO_MUCH_TEXT.into()));
                }
            }
            MethodKind::ClientStream | MethodKind::Bidi => {
                context.put_record(id, self.id, call_kind::MESSAGE, message);
            }
        }
        Ok(())
    }

    /// Gives back to a stream's window what a message has taken, and to the connection what it was granted.
    fn credit(&mut self, id: u32, bytes: usize, context: &mut Context) {
        let call = context.calls.at(id);
        let granted = std::mem::take(&mut call.granted);
        if call.kind.client_streams() {
            call.receive_credit += (bytes as u32).saturating_sub(granted);
            let credit = call.receive_credit;
            if credit >= context.limits.stream_window / 2 {
                call.receive_credit = 0;
                call.receive_window += i64::from(credit);
                frame::put_window_update(&mut self.out.bytes, call.stream, credit);
            }
        }
        self.ungrant(granted, context);
    }

    /// Keeps a whole message until the call may be dispatched.
    fn keep(&mut self, id: u32, message: &[u8], context: &mut Context) {
        let call = context.calls.at(id);
        call.kept.extend_from_slice(message);
        *self.kept_bytes(call.kind) += message.len();
    }

    /// The sum of what calls of this kind keep.
    pub(super) fn kept_bytes(&mut self, kind: MethodKind) -> &mut usize {
        if kind == MethodKind::Unary {
            &mut self.deferred_bytes
        } else {
            &mut self.opening_bytes
        }
    }

    /// A unary call goes to JavaScript unless its client leaves its replies lying.
    fn dispatch_or_defer(&mut self, id: u32, message: &[u8], context: &mut Context) {
        if self.deferred.is_empty() && self.may_dispatch(context) {
            self.count_in_flight(id, context);
            self.dispatch(id, message, context);
        } else {
            self.keep(id, message, context);
            if self.deferred.len() > self.list_max() {
                self.deferred
                    .retain(|&waiting| context.calls.get(waiting).is_some());
            }
            self.deferred.push_back(id);
        }
    }

    fn may_dispatch(&self, context: &Context) -> bool {
        let limits = &context.limits;
        let is_pressed = context.pending_bytes >= limits.pending_bytes_total_max;
        let pending_max = if is_pressed {
            limits.writable_bytes
        } else {
            limits.pending_bytes_max
        };
        self.in_flight < limits.in_flight_max && self.pending_bytes < pending_max
    }

    fn count_in_flight(&mut self, id: u32, context: &mut Context) {
        let call = context.calls.at(id);
        call.in_flight = !context.methods[usize::from(call.method)].blocking;
        self.in_flight += usize::from(call.in_flight);
    }

    /// Dispatches calls that had to wait, as many as may now go.
    pub(super) fn dispatch_deferred(&mut self, context: &mut Context) {
        while !self.deferred.is_empty() && self.may_dispatch(context) {
            let Some(id) = self.deferred.pop_front() else {
                return;
            };
            // It may have been cancelled while it waited.
            if context.calls.get(id).is_some() {
                self.count_in_flight(id, context);
                self.dispatch_kept(id, context);
            }
        }
        self.give_back_window(context);
    }

    fn dispatch_kept(&mut self, id: u32, context: &mut Context) {
        let call = context.calls.at(id);
        let message = std::mem::take(&mut call.kept);
        *self.kept_bytes(call.kind) -= message.len();
        self.dispatch(id, &message, context);
    }

    /// The client has ended its side of the stream.
    pub(super) fn end_of_stream(&mut self, id: u32, context: &mut Context) {
        let call = context.calls.at(id);
        call.remote_closed = true;
        // A prefix cut short counts as none, as in grpc-go.
        let partial = call.assembly.len() >= PREFIX_BYTES;
        match call.kind {
            MethodKind::Unary if call.message_complete => {}
            MethodKind::Unary => {
                let text = if partial { "unexpected EOF" } else { "EOF" };
                self.fail(id, code::UNKNOWN, text, context);
            }
            _ if partial => self.fail(id, code::INTERNAL, "unexpected EOF", context),
            MethodKind::ServerStream if call.message_complete => self.dispatch_kept(id, context),
            MethodKind::ServerStream => {
                self.start(id, context);
                let text = "cardinality violation: received no request message from non-client-streaming RPC";
                self.fail(id, code::INTERNAL, text, context);
            }
            MethodKind::ClientStream | MethodKind::Bidi => {
                // Go's middleware counts the end of a client's messages as one more.
                context.counters.received(call.method, 0);
                context.put_record(id, self.id, call_kind::HALF_CLOSE, &[]);
            }
        }
    }

    /// Makes sure that `missing` more bytes of a message may come.
    fn ask_grant(&mut self, id: u32, missing: i64, context: &mut Context) {
        let call = context.calls.at(id);
        if missing <= call.receive_window || call.awaits_grant {
            return;
        }
        call.awaits_grant = true;
        if self.awaiting_grant.len() > self.list_max() {
            self.awaiting_grant
                .retain(|&waiting| context.calls.get(waiting).is_some());
        }
        self.awaiting_grant.push_back(id);
        self.grant_next(context);
    }

    /// Takes back what a message was granted and passes it on.
    pub(super) fn ungrant(&mut self, granted: u32, context: &mut Context) {
        if granted > 0 {
            self.granted_bytes -= granted as usize;
            self.grant_next(context);
        }
    }

    fn grant_next(&mut self, context: &mut Context) {
        while let Some(&id) = self.awaiting_grant.front() {
            let Some(call) = context.calls.get(id) else {
                self.awaiting_grant.pop_front();
                continue;
            };
            debug_assert!(call.awaits_grant && call.assembly.len() >= PREFIX_BYTES);
            let missing = PREFIX_BYTES + length_in_prefix(&call.assembly) - call.assembly.len();
            let more = (missing as i64 - call.receive_window).max(0) as u32;
            if self.granted_bytes > 0
                && self.granted_bytes + more as usize > context.limits.granted_bytes_max
            {
                return;
            }
            self.awaiting_grant.pop_front();
            call.awaits_grant = false;
            call.granted += more;
            call.receive_window += i64::from(more);
            self.granted_bytes += more as usize;
            if more > 0 {
                frame::put_window_update(&mut self.out.bytes, call.stream, more);
            }
        }
    }
}

/// The length of the message whose prefix is at the start of `data`, if such a message may come.
fn message_length(data: &[u8], limits: &Limits) -> Result<usize, Fault> {
    let length = length_in_prefix(data);
    let max = limits.receive_bytes_max;
    if length > max {
        let text = format!("grpc: received message larger than max ({length} vs. {max})");
        return Err(Fault(code::RESOURCE_EXHAUSTED, text));
    }
    Ok(length)
}

fn length_in_prefix(prefix: &[u8]) -> usize {
    frame::read_u32(&prefix[1..]) as usize
}

impl From<inflate::Fault> for Fault {
    fn from(fault: inflate::Fault) -> Fault {
        match fault {
            inflate::Fault::TooLarge(text) => Fault(code::RESOURCE_EXHAUSTED, text),
            inflate::Fault::Corrupt(text) => Fault(code::INTERNAL, text),
        }
    }
}
