//! Conversions for `etcd_core::edge`.

use crate::mailbox::received;
use crate::wake::wake_function;
use etcd_core::edge::{self, Address, Door, Limits, ListenError, Method, MethodKind};
use etcd_core::mailbox::Mailbox;
use napi::bindgen_prelude::{
    AsyncTask, Error, Float64ArraySlice, Function, Result, Uint8ArraySlice, Unknown,
};
use napi::{Env, Task};
use napi_derive::napi;
use std::sync::Arc;

/// A TCP address, or with `path` a Unix socket.
#[napi(object, use_nullable = true)]
pub struct EdgeListener {
    pub host: String,
    pub port: u16,
    pub path: Option<String>,
    pub shared: bool,
    pub grpc: bool,
    pub http_socket_path: Option<String>,
}

/// One served method.
#[napi(object, use_nullable = true)]
pub struct EdgeMethod {
    pub path: String,
    /// 0 unary, 1 client stream, 2 server stream, 3 bidi
    pub kind: u32,
    pub blocking: bool,
}

/// Times are milliseconds.
#[napi(object, use_nullable = true)]
pub struct EdgeKeepalive {
    pub min_time: f64,
    pub permit_without_stream: bool,
    pub interval: f64,
    pub timeout: f64,
}

/// See `src/native/edge.ts`.
#[napi(object, use_nullable = true)]
pub struct EdgeSettings {
    pub listeners: Vec<EdgeListener>,
    pub methods: Vec<EdgeMethod>,
    pub receive_bytes_max: u32,
    pub max_concurrent_streams: u32,
    pub keepalive: EdgeKeepalive,
    /// Unary calls that take longer are told of; milliseconds.
    pub slow_after: f64,
    /// File descriptors that clients may take; may be infinite.
    pub descriptors_max: f64,
    /// Microseconds since the process started.
    pub clock_offset: f64,
}

/// Calls of clients that sent the same `client-api-version`.
#[napi(object, use_nullable = true)]
pub struct ClientVersion {
    pub version: String,
    pub unary: f64,
    pub stream: f64,
}

/// A running edge.
#[napi]
pub struct EdgeDoor {
    edge: Arc<edge::Edge>,
}

#[napi]
impl EdgeDoor {
    /// Opens the listeners and serves. `on_wake` runs on the calling thread when calls have come.
    #[napi(factory)]
    pub fn start(
        env: Env,
        settings: EdgeSettings,
        on_wake: Function<'_, (), Unknown<'static>>,
    ) -> Result<EdgeDoor> {
        let slot: Arc<std::sync::OnceLock<std::sync::Weak<edge::Edge>>> = Arc::default();
        let found = slot.clone();
        let forget = move || {
            if let Some(edge) = found.get().and_then(std::sync::Weak::upgrade) {
                edge.clear_wake();
            }
        };
        let wake = wake_function(&env, on_wake, forget)?;
        let edge = edge::Edge::start(options(settings)?, wake).map_err(listen_error)?;
        let edge = Arc::new(edge);
        // It was empty until now, so this cannot fail.
        let _ = slot.set(Arc::downgrade(&edge));
        Ok(EdgeDoor { edge })
    }

    /// What the listeners are bound to.
    #[napi(getter)]
    pub fn addresses(&self) -> Vec<String> {
        self.edge.addresses().to_vec()
    }

    /// Copies whole call records into `into`; 0 when none is left.
    #[napi]
    pub fn drain(&self, mut into: Uint8ArraySlice<'_>) -> f64 {
        // SAFETY: JavaScript runs on this thread and waits for us, so nobody else touches its buffer.
        let into = unsafe { into.as_mut() };
        received(self.edge.drain(into))
    }

    /// See `etcd_core::edge::Counters`.
    #[napi]
    pub fn counters(&self, mut into: Float64ArraySlice<'_>) {
        // SAFETY: as in `drain`.
        let into = unsafe { into.as_mut() };
        self.edge.counters().read(into);
    }

    #[napi]
    pub fn client_versions(&self) -> Vec<ClientVersion> {
        let counts = self.edge.counters().versions().into_iter();
        counts
            .map(|count| ClientVersion {
                version: count.version,
                unary: count.unary as f64,
                stream: count.stream as f64,
            })
            .collect()
    }

    /// Ends within `grace_ms`; the promise resolves when the thread has ended.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn close(&self, grace_ms: u32) -> AsyncTask<Close> {
        AsyncTask::new(Close {
            edge: self.edge.clone(),
            grace_ms,
        })
    }
}

/// Waits for the edge's end off the JavaScript thread, which must go on answering calls meanwhile.
pub struct Close {
    edge: Arc<edge::Edge>,
    grace_ms: u32,
}

impl Task for Close {
    type Output = ();
    type JsValue = ();

    fn compute(&mut self) -> Result<()> {
        self.edge.close(self.grace_ms);
        Ok(())
    }

    fn resolve(&mut self, _: Env, (): ()) -> Result<()> {
        Ok(())
    }
}

/// Replies, `bytes[0, length)`, from any JavaScript thread; bulk ones wait for the others.
#[napi]
pub fn reply_batch(bytes: &[u8], length: u32, is_bulk: bool) {
    edge::reply_batch(&bytes[..length as usize], is_bulk);
}

/// Reply bytes that wait for their clients.
#[napi]
pub fn pending_reply_bytes() -> f64 {
    edge::pending_reply_bytes() as f64
}

/// Calls of the gateway, `bytes[0, length)`; false when there is no room now.
#[napi]
pub fn gateway_submit(bytes: &[u8], length: u32) -> bool {
    edge::gateway_submit(&bytes[..length as usize])
}

/// Where replies to the gateway's calls go; null ends that.
#[napi]
pub fn set_gateway_mailbox(handle: Option<u32>) -> Result<()> {
    let mailbox = match handle {
        None => None,
        Some(handle) => match Mailbox::find(handle) {
            None => {
                return Err(Error::from_reason(format!(
                    "no mailbox {handle}: it was closed"
                )));
            }
            found => found,
        },
    };
    edge::set_gateway_mailbox(mailbox);
    Ok(())
}

/// The numbers per method and in total that `counters` writes.
#[napi]
pub fn edge_counter_counts() -> Vec<u32> {
    vec![edge::PER_METHOD as u32, edge::TOTALS as u32]
}

fn options(settings: EdgeSettings) -> Result<edge::Options> {
    let mut limits = Limits::new(settings.receive_bytes_max as usize);
    limits.concurrent_streams_max = settings.max_concurrent_streams;
    // The cast saturates.
    limits.descriptors_max = settings.descriptors_max as usize;
    limits.slow_after = microseconds(settings.slow_after);
    limits.ping_interval_min = microseconds(settings.keepalive.min_time);
    limits.ping_without_stream = settings.keepalive.permit_without_stream;
    limits.probe_after = microseconds(settings.keepalive.interval);
    limits.probe_timeout = microseconds(settings.keepalive.timeout);
    let doors = settings.listeners.into_iter().map(door);
    Ok(edge::Options {
        doors: doors.collect(),
        methods: settings
            .methods
            .into_iter()
            .map(method)
            .collect::<Result<_>>()?,
        limits,
        clock_offset: settings.clock_offset as u64,
    })
}

fn door(listener: EdgeListener) -> Door {
    let address = match listener.path {
        Some(path) => Address::Unix(path.into()),
        None => Address::Tcp {
            host: listener.host,
            port: listener.port,
        },
    };
    Door {
        address,
        shared: listener.shared,
        grpc: listener.grpc,
        http_path: listener.http_socket_path.map(Into::into),
    }
}

fn method(method: EdgeMethod) -> Result<Method> {
    let kind = match method.kind {
        0 => MethodKind::Unary,
        1 => MethodKind::ClientStream,
        2 => MethodKind::ServerStream,
        3 => MethodKind::Bidi,
        other => return Err(Error::from_reason(format!("no method kind {other}"))),
    };
    Ok(Method {
        path: method.path,
        kind,
        blocking: method.blocking,
    })
}

fn microseconds(milliseconds: f64) -> u64 {
    (milliseconds * 1000.0) as u64
}

/// "code|what|why", which `src/native/edge.ts` takes apart.
fn listen_error(error: ListenError) -> Error {
    let code = match error.cause.kind() {
        std::io::ErrorKind::AddrInUse => "EADDRINUSE",
        std::io::ErrorKind::AddrNotAvailable => "EADDRNOTAVAIL",
        std::io::ErrorKind::PermissionDenied => "EACCES",
        _ => "ELISTEN",
    };
    Error::from_reason(format!("{code}|{}|{}", error.what, error.cause))
}
