//! Messages coming in: DATA frames, gRPC's message frames in them, and the windows for both.
//!
//! A stream's window is `stream_window`. A message that needs more is granted the rest as soon as its length
//! is known and the connection's budget for such messages allows; until then its client waits, and others go on.

use super::batch::call_kind;
use super::call_table::MethodKind;
use super::connection::{Connection, unpadded};
use super::context::Context;
use super::frame::{self, Fatal, Header, Reason, flag};
use super::grpc::{PREFIX_BYTES, code};

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
        if self.receive_credit >= context.limits.connection_window / 4 {
            let credit = std::mem::take(&mut self.receive_credit);
            self.receive_window += i64::from(credit);
            frame::put_window_update(&mut self.out.bytes, 0, credit);
        }
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

    /// Cuts message bytes into messages.
    fn message_bytes(
        &mut self,
        id: u32,
        mut data: &[u8],
        context: &mut Context,
    ) -> Result<(), Fault> {
        while !data.is_empty() {
            let call = context.calls.at(id);
            if call.message_complete {
                // A unary call's further bytes are nobody's; a server stream's break its promise of one message.
                return match call.kind {
                    MethodKind::Unary => Ok(()),
                    _ => Err(too_many_messages()),
                };
            }
            if call.assembly.is_empty() && data.len() >= PREFIX_BYTES {
                let length = message_length(data, context)?;
                if let Some(message) = data.get(PREFIX_BYTES..PREFIX_BYTES + length) {
                    check_flag(data[0])?;
                    self.message(id, message, context);
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
        let receive_bytes_max = context.limits.receive_bytes_max;
        let call = context.calls.at(id);
        let had = call.assembly.len();
        let mut taken = 0;
        if had < PREFIX_BYTES {
            taken = data.len().min(PREFIX_BYTES - had);
            call.assembly.extend_from_slice(&data[..taken]);
            self.assembly_bytes += taken;
            if had + taken < PREFIX_BYTES {
                return Ok(&data[taken..]);
            }
        }
        let length = length_in_prefix(&call.assembly);
        if length > receive_bytes_max {
            return Err(too_large(length, receive_bytes_max));
        }
        let missing = PREFIX_BYTES + length - call.assembly.len();
        let rest = &data[taken..];
        let more = rest.len().min(missing);
        call.assembly.extend_from_slice(&rest[..more]);
        self.assembly_bytes += more;
        if more == missing {
            return self.assembled(id, context).map(|()| &rest[more..]);
        }
        if self.assembly_bytes > context.limits.assembly_bytes_max {
            return Err(Fault(
                code::RESOURCE_EXHAUSTED,
                "grpc: too much data of incomplete messages".into(),
            ));
        }
        self.ask_grant(id, (missing - more) as i64, context);
        Ok(&[])
    }

    /// The message in a call's `assembly` is whole.
    fn assembled(&mut self, id: u32, context: &mut Context) -> Result<(), Fault> {
        let call = context.calls.at(id);
        check_flag(call.assembly[0])?;
        let whole = std::mem::take(&mut call.assembly);
        self.assembly_bytes -= whole.len();
        self.message(id, &whole[PREFIX_BYTES..], context);
        // The call may have kept the message in a buffer of its own; otherwise it gets this one back.
        if let Some(call) = context.calls.get(id)
            && call.assembly.is_empty()
            && whole.len() <= 4096
        {
            call.assembly = whole;
            call.assembly.clear();
        }
        Ok(())
    }

    /// One whole message has come.
    fn message(&mut self, id: u32, message: &[u8], context: &mut Context) {
        let call = context.calls.at(id);
        context.counters.received(call.method, message.len());
        let granted = std::mem::take(&mut call.granted);
        match call.kind {
            MethodKind::Unary => {
                call.message_complete = true;
                self.start(id, context);
                self.dispatch_or_defer(id, message, context);
            }
            MethodKind::ServerStream => {
                call.message_complete = true;
                self.keep(id, message, context);
                self.start(id, context);
            }
            MethodKind::ClientStream | MethodKind::Bidi => {
                let bytes = (PREFIX_BYTES + message.len()) as u32;
                call.receive_credit += bytes.saturating_sub(granted);
                let credit = call.receive_credit;
                if credit >= context.limits.stream_window / 2 {
                    call.receive_credit = 0;
                    call.receive_window += i64::from(credit);
                    frame::put_window_update(&mut self.out.bytes, call.stream, credit);
                }
                context.put_record(id, self.id, call_kind::MESSAGE, message);
            }
        }
        self.ungrant(granted, context);
    }

    /// Keeps a whole message until the call may be dispatched; here it is without its prefix.
    fn keep(&mut self, id: u32, message: &[u8], context: &mut Context) {
        let call = context.calls.at(id);
        call.assembly.clear();
        call.assembly.extend_from_slice(message);
        self.assembly_bytes += message.len();
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
        self.in_flight < limits.in_flight_max && self.pending_bytes < limits.pending_bytes_max
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
    }

    fn dispatch_kept(&mut self, id: u32, context: &mut Context) {
        let message = std::mem::take(&mut context.calls.at(id).assembly);
        self.assembly_bytes -= message.len();
        self.dispatch(id, &message, context);
    }

    /// The client has ended its side of the stream.
    pub(super) fn end_of_stream(&mut self, id: u32, context: &mut Context) {
        let call = context.calls.at(id);
        call.remote_closed = true;
        let partial = !call.message_complete && !call.assembly.is_empty();
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
            let call = context.calls.at(id);
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

fn message_length(data: &[u8], context: &Context) -> Result<usize, Fault> {
    let length = length_in_prefix(data);
    let max = context.limits.receive_bytes_max;
    if length > max {
        Err(too_large(length, max))
    } else {
        Ok(length)
    }
}

fn length_in_prefix(prefix: &[u8]) -> usize {
    frame::read_u32(&prefix[1..]) as usize
}

fn too_large(length: usize, max: usize) -> Fault {
    let text = format!("grpc: received message larger than max ({length} vs. {max})");
    Fault(code::RESOURCE_EXHAUSTED, text)
}

fn too_many_messages() -> Fault {
    let text =
        "cardinality violation: received multiple request messages for non-client-streaming RPC";
    Fault(code::INTERNAL, text.into())
}

/// The first byte of a message's prefix must say that it is not compressed.
fn check_flag(flag: u8) -> Result<(), Fault> {
    match flag {
        0 => Ok(()),
        1 => Err(Fault(
            code::INTERNAL,
            "grpc: compressed flag set with identity or empty encoding".into(),
        )),
        other => Err(Fault(
            code::INTERNAL,
            format!("grpc: received unexpected payload format {other}"),
        )),
    }
}
