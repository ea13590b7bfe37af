//! From a header block to a call, in the order in which grpc-go 1.82 makes its checks.

use super::base64::{self, IllegalAt};
use super::batch::{call_flag, call_kind, put_metadata, tag};
use super::call_table::MethodKind;
use super::connection::Connection;
use super::context::Context;
use super::field::{Coding, UNKNOWN_METHOD};
use super::frame::{self, Fatal, Reason};
use super::grpc::{self, code};
use super::head::{Head, HeadSink, TokenFrom};
use super::hpack::Fault;

/// Why a request does not become a call.
enum Refusal {
    Reset(Reason),
    /// An answer without a call: HTTP status, gRPC status and text.
    Answer {
        http: u16,
        code: u8,
        text: String,
    },
}

impl Connection {
    /// A whole header block has come on `stream`.
    pub(super) fn request(
        &mut self,
        stream: u32,
        ends_stream: bool,
        block: &[u8],
        context: &mut Context,
    ) -> Result<(), Fatal> {
        context.head.clear();
        let mut sink = HeadSink {
            head: &mut context.head,
            paths: &context.paths,
        };
        let decoded = self.decoder.decode(block, &mut sink);
        self.work_bytes += self.decoder.literal_bytes();
        match decoded {
            Ok(()) => {}
            Err(Fault::Invalid) => {
                return Err(Fatal::new(Reason::Compression, "bad header block"));
            }
            Err(Fault::TooLarge) => {
                return Err(Fatal::new(
                    Reason::EnhanceYourCalm,
                    "header block too large",
                ));
            }
        }
        if let Some(&id) = self.streams.get(&stream) {
            return self.trailers(id, stream, ends_stream, context);
        }
        if stream.is_multiple_of(2) || stream <= self.last_stream {
            return Err(Fatal::new(
                Reason::Protocol,
                "received an illegal stream id",
            ));
        }
        self.last_stream = stream;
        if self.health.refuses_streams() {
            return Ok(());
        }
        match self.check(context) {
            Ok(timeout) => self.open(stream, ends_stream, timeout, context),
            Err(Refusal::Reset(reason)) => self.reset(stream, reason, context),
            Err(Refusal::Answer { http, code, text }) => {
                let subtype = subtype(&context.head);
                self.put_trailers_only(stream, http, subtype, code, text.as_bytes());
                if !ends_stream {
                    frame::put_reset(&mut self.out.bytes, stream, Reason::NoError);
                }
            }
        }
        Ok(())
    }

    /// Header fields after a request's messages: gRPC has none, so only their end counts.
    fn trailers(
        &mut self,
        id: u32,
        stream: u32,
        ends_stream: bool,
        context: &mut Context,
    ) -> Result<(), Fatal> {
        if !ends_stream {
            self.reset(stream, Reason::Protocol, context);
        } else if context.calls.at(id).remote_closed {
            self.reset(stream, Reason::StreamClosed, context);
        } else {
            self.end_of_stream(id, context);
        }
        Ok(())
    }

    /// The call's timeout in nanoseconds if it may begin.
    fn check(&self, context: &Context) -> Result<Option<u64>, Refusal> {
        let head = &context.head;
        let answer = |http, code, text| Err(Refusal::Answer { http, code, text });
        if head.malformed {
            return Err(Refusal::Reset(Reason::Protocol));
        }
        if head.too_large() {
            return Err(Refusal::Reset(Reason::FrameSize));
        }
        if head.authorities > 1 || head.hosts > 1 {
            let text = format!(
                "num values of :authority: {}, num values of host: {}, both must only have 1 value as per HTTP/2 spec",
                head.authorities, head.hosts
            );
            return answer(400, code::INTERNAL, text);
        }
        if head.connection_header {
            return Err(Refusal::Reset(Reason::Protocol));
        }
        if !head.grpc {
            let quoted = grpc::go_quoted(&head.content_type);
            let text = format!("invalid gRPC request content-type {quoted}");
            return answer(415, code::INVALID_ARGUMENT, text);
        }
        if let Some(Err(fault)) = head.timeout {
            let text = grpc::timeout_fault_text(fault, &head.timeout_text);
            return answer(400, code::INTERNAL, text);
        }
        if !head.bad_binary_name.is_empty() {
            return answer(400, code::INTERNAL, bad_binary_text(head));
        }
        if self.streams.len() >= context.limits.concurrent_streams_max as usize {
            return Err(Refusal::Reset(Reason::RefusedStream));
        }
        if !head.post {
            let quoted = grpc::go_quoted(&head.http_method);
            let text =
                format!("Received a HEADERS frame with :method {quoted} which should be POST");
            return answer(405, code::INTERNAL, text);
        }
        let timeout = head.timeout.and_then(Result::ok);
        // What is shorter than the clock's step has passed by now.
        if timeout.is_some_and(|nanoseconds| nanoseconds < 1000) {
            return answer(
                200,
                code::DEADLINE_EXCEEDED,
                "context deadline exceeded".into(),
            );
        }
        if head.method == UNKNOWN_METHOD {
            return answer(
                200,
                code::UNIMPLEMENTED,
                context.paths.unknown_text(&head.path),
            );
        }
        if head.coding == Coding::Unknown {
            let quoted = grpc::go_quoted(&head.encoding);
            let text = format!("grpc: Decompressor is not installed for grpc-encoding {quoted}");
            return answer(200, code::UNIMPLEMENTED, text);
        }
        Ok(timeout)
    }

    fn open(
        &mut self,
        stream: u32,
        ends_stream: bool,
        timeout: Option<u64>,
        context: &mut Context,
    ) {
        if self.held_bytes >= context.limits.held_bytes_max {
            return self.reset(stream, Reason::RefusedStream, context);
        }
        let Some((id, call)) = context.calls.insert() else {
            return self.reset(stream, Reason::RefusedStream, context);
        };
        let head = &context.head;
        call.connection = self.slot;
        call.stream = stream;
        call.method = head.method;
        call.kind = context.methods[usize::from(head.method)].kind;
        call.arrival = context.now as u32;
        call.began = context.now;
        call.receive_window = i64::from(context.limits.stream_window);
        call.subtype = subtype(head).map(Into::into);
        call.flags = flags(head);
        call.gzip = head.coding == Coding::Gzip;
        if head.token_from != TokenFrom::Nothing {
            put_metadata(&mut call.metadata, tag::TOKEN, &head.token);
        }
        if head.has_client_version {
            put_metadata(
                &mut call.metadata,
                tag::CLIENT_API_VERSION,
                &head.client_version,
            );
        }
        let kind = call.kind;
        self.held_bytes += call.held_bytes();
        self.streams.insert(stream, id);
        count_version(context, kind);
        if let Some(timeout) = timeout {
            let at = context.now.saturating_add(timeout.div_ceil(1000));
            context.deadlines.add(at, id, &mut context.calls);
        }
        if kind.client_streams() {
            self.start(id, context);
            self.dispatch(id, &[], context);
        }
        if ends_stream {
            self.end_of_stream(id, context);
        }
    }

    /// Metrics count the call from here on.
    pub(super) fn start(&mut self, id: u32, context: &mut Context) {
        let call = context.calls.at(id);
        call.started = true;
        context.counters.started(call.method);
    }

    /// Tells JavaScript of a call.
    pub(super) fn dispatch(&mut self, id: u32, message: &[u8], context: &mut Context) {
        context.put_record(id, self.id, call_kind::CALL, message);
        context.calls.at(id).dispatched = true;
    }
}

fn bad_binary_text(head: &Head) -> String {
    let name = grpc::go_quoted(&head.bad_binary_name);
    let value = grpc::go_quoted(&head.bad_binary);
    let at = base64::check(&head.bad_binary).map_or_else(|IllegalAt(at)| at, |()| 0);
    format!(
        "malformed binary metadata {value} in header {name}: illegal base64 data at input byte {at}"
    )
}

/// What the answer's content type has after "application/grpc+".
fn subtype(head: &Head) -> Option<&[u8]> {
    if head.plain_content_type || !head.grpc {
        return None;
    }
    grpc::content_subtype(&head.content_type).filter(|subtype| !subtype.is_empty())
}

fn flags(head: &Head) -> u8 {
    let mut flags = 0;
    if head.require_leader == Some(true) {
        flags |= call_flag::REQUIRE_LEADER;
    }
    if head.gateway {
        flags |= call_flag::GATEWAY;
    }
    if std::str::from_utf8(&head.client_version).is_err() {
        flags |= call_flag::BAD_CLIENT_API_VERSION;
    }
    flags
}

fn count_version(context: &Context, kind: MethodKind) {
    let head = &context.head;
    let version = if head.has_client_version {
        std::str::from_utf8(&head.client_version)
    } else {
        Ok("unknown")
    };
    if let Ok(version) = version {
        context.counters.version(version, kind == MethodKind::Unary);
    }
}
