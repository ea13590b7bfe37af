//! Conversions for `etcd_core::wal`, and the checksum. `src/native/wal.ts` has the same names.

use crate::wake::{Wake, wake_function};
use etcd_core::wal::{Options, OsDisk, Recovered, Replay, Wal, WalError};
use napi::bindgen_prelude::{
    AsyncTask, BigInt, Env, Error, Float64ArraySlice, Function, Result, Task, Uint8Array, Unknown,
};
use napi_derive::napi;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Entries are read back in pieces of about this size.
const REPLAY_CHUNK_BYTES: usize = 1 << 20;

/// CRC32C of `bytes`, continued from `crc`.
#[napi(js_name = "crc32c")]
pub fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    ::crc32c::crc32c_append(crc, bytes)
}

#[napi(object)]
pub struct WalOptions {
    pub dir: String,
    pub segment_bytes: f64,
    pub batch_bytes_max: f64,
    pub no_fsync: bool,
    pub direct: bool,
    pub spin_us: u32,
    pub space_retry_ms: u32,
}

impl WalOptions {
    fn to_core(&self) -> Options {
        Options {
            segment_bytes: self.segment_bytes as u64,
            batch_bytes_max: self.batch_bytes_max as usize,
            no_fsync: self.no_fsync,
            direct: self.direct,
            spin: Duration::from_micros(self.spin_us.into()),
            space_retry: Duration::from_millis(self.space_retry_ms.into()),
            ..Options::new(&self.dir)
        }
    }
}

#[napi(object)]
pub struct WalHardState {
    pub term: f64,
    pub vote: BigInt,
    pub commit: f64,
}

#[napi(object)]
pub struct WalSnapshotMark {
    pub index: f64,
    pub term: f64,
    pub conf_state: Uint8Array,
}

/// A torn batch that was cut.
#[napi(object)]
pub struct WalCut {
    pub segment: String,
    pub offset: f64,
    pub bytes: f64,
}

/// What the log held when it was opened.
#[napi(object)]
pub struct WalRecovered {
    pub metadata: Uint8Array,
    pub hard_state: Option<WalHardState>,
    pub mark: Option<WalSnapshotMark>,
    pub last_index: f64,
    pub cut: Option<WalCut>,
    pub direct: bool,
}

impl WalRecovered {
    fn of(recovered: Recovered) -> Self {
        Self {
            metadata: recovered.metadata.into(),
            hard_state: recovered.hard_state.map(|state| WalHardState {
                term: state.term as f64,
                vote: state.vote.into(),
                commit: state.commit as f64,
            }),
            mark: recovered.mark.map(|mark| WalSnapshotMark {
                index: mark.index as f64,
                term: mark.term as f64,
                conf_state: mark.conf_state.into(),
            }),
            last_index: recovered.last_index as f64,
            cut: recovered.cut.map(|(segment, offset, bytes)| WalCut {
                segment,
                offset: offset as f64,
                bytes: bytes as f64,
            }),
            direct: recovered.direct,
        }
    }
}

/// Errors cross as JSON with the name of their class.
fn to_js(error: &WalError) -> Error {
    Error::from_reason(describe(error))
}

fn describe(error: &WalError) -> String {
    let (segment, offset, reason) = match error {
        WalError::Corrupt {
            segment,
            offset,
            reason,
        } => (segment.as_str(), *offset, reason.as_str()),
        _ => ("", 0, ""),
    };
    format!(
        "{{\"name\":{},\"message\":{},\"segment\":{},\"offset\":{offset},\"reason\":{},\"noSpace\":{}}}",
        quoted(error.name()),
        quoted(&error.to_string()),
        quoted(segment),
        quoted(reason),
        error.is_no_space()
    )
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", control as u32)),
            other => out.push(other),
        }
    }
    out + "\""
}

/// Wakes the thread that opened the log until it is closed or that thread ends.
type SharedWake = Arc<Mutex<Option<Wake>>>;

fn shared_wake(env: &Env, on_wake: Function<'_, (), Unknown<'static>>) -> Result<SharedWake> {
    let wake = SharedWake::default();
    let ending = wake.clone();
    let function = wake_function(env, on_wake, move || forget(&ending))?;
    *wake.lock().unwrap_or_else(PoisonError::into_inner) = Some(function);
    Ok(wake)
}

fn forget(wake: &SharedWake) {
    wake.lock().unwrap_or_else(PoisonError::into_inner).take();
}

/// Opens or makes a log on a thread of libuv's.
pub struct OpenTask {
    options: Options,
    /// Of a log to be made; `None`: there is one.
    metadata: Option<Vec<u8>>,
    wake: SharedWake,
}

pub struct Opened {
    wal: Wal,
    recovered: Recovered,
    replay: Option<Replay>,
}

impl Task for OpenTask {
    type Output = Opened;
    type JsValue = WalDoor;

    fn compute(&mut self) -> Result<Opened> {
        let wake = self.wake.clone();
        let notify = Box::new(move || {
            if let Some(wake) = wake.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
                wake();
            }
        });
        let (disk, options) = (Arc::new(OsDisk), self.options.clone());
        let opened = match &self.metadata {
            Some(metadata) => {
                Wal::create(disk, options, metadata, notify).map(|(wal, recovered)| Opened {
                    wal,
                    recovered,
                    replay: None,
                })
            }
            None => Wal::open(disk, options, notify).map(|(wal, recovered, replay)| Opened {
                wal,
                recovered,
                replay: Some(replay),
            }),
        };
        opened.map_err(|error| to_js(&error))
    }

    fn resolve(&mut self, _env: Env, opened: Opened) -> Result<WalDoor> {
        Ok(WalDoor {
            wal: Arc::new(opened.wal),
            wake: self.wake.clone(),
            recovered: Some(opened.recovered),
            replay: Arc::new(Mutex::new(opened.replay)),
        })
    }

    fn reject(&mut self, _env: Env, error: Error) -> Result<WalDoor> {
        forget(&self.wake);
        Err(error)
    }
}

/// Makes a log that begins at entry 1.
#[napi]
pub fn wal_create(
    env: Env,
    options: WalOptions,
    metadata: &[u8],
    on_wake: Function<'_, (), Unknown<'static>>,
) -> Result<AsyncTask<OpenTask>> {
    let wake = shared_wake(&env, on_wake)?;
    Ok(AsyncTask::new(OpenTask {
        options: options.to_core(),
        metadata: Some(metadata.to_vec()),
        wake,
    }))
}

/// Opens the log in `options.dir`.
#[napi]
pub fn wal_open(
    env: Env,
    options: WalOptions,
    on_wake: Function<'_, (), Unknown<'static>>,
) -> Result<AsyncTask<OpenTask>> {
    let wake = shared_wake(&env, on_wake)?;
    Ok(AsyncTask::new(OpenTask {
        options: options.to_core(),
        metadata: None,
        wake,
    }))
}

/// An open log.
#[napi]
pub struct WalDoor {
    wal: Arc<Wal>,
    wake: SharedWake,
    recovered: Option<Recovered>,
    replay: Arc<Mutex<Option<Replay>>>,
}

#[napi]
impl WalDoor {
    /// What the log held; to be asked once.
    #[napi]
    pub fn take_recovered(&mut self) -> Option<WalRecovered> {
        self.recovered.take().map(WalRecovered::of)
    }

    /// Entries records, the next piece; empty at the end.
    #[napi]
    pub fn next_chunk(&self) -> AsyncTask<ReplayTask> {
        AsyncTask::new(ReplayTask {
            replay: self.replay.clone(),
        })
    }

    /// Queues the records in `records[0, length)`; returns the bytes that wait to be written.
    #[napi]
    pub fn append(&self, records: &[u8], length: u32, token: f64) -> f64 {
        // 0 stands for nothing yet.
        self.wal
            .append(&records[..length as usize], token as u64 + 1) as f64
    }

    /// Likewise, but may write the records itself; true: they are durable.
    #[napi]
    pub fn append_here(&self, records: &[u8], length: u32, token: f64) -> bool {
        self.wal
            .append_here(&records[..length as usize], token as u64 + 1)
    }

    #[napi]
    pub fn release(&self, index: f64) {
        self.wal.release(index as u64);
    }

    /// Fills in the newest durable token (-1: none) and the flags.
    #[napi]
    pub fn poll(&self, mut into: Float64ArraySlice<'_>) {
        let progress = self.wal.poll();
        // SAFETY: JavaScript runs on this thread and waits for us, so nobody else touches its array.
        let into = unsafe { into.as_mut() };
        into[0] = progress.durable as f64 - 1.0;
        into[1] = progress.flags.into();
    }

    /// Fills in the counters, see `etcd_core::wal::Stats::read`.
    #[napi]
    pub fn stats(&self, mut into: Float64ArraySlice<'_>) {
        // SAFETY: JavaScript runs on this thread and waits for us, so nobody else touches its array.
        self.wal.stats().read(unsafe { into.as_mut() });
    }

    /// The error that ended the log's work, described.
    #[napi]
    pub fn failure(&self) -> Option<String> {
        self.wal.failure().as_ref().map(describe)
    }

    /// Writes what is queued and gives everything back.
    #[napi]
    pub fn close(&self) -> AsyncTask<CloseTask> {
        AsyncTask::new(CloseTask {
            wal: self.wal.clone(),
            wake: self.wake.clone(),
        })
    }
}

pub struct ReplayTask {
    replay: Arc<Mutex<Option<Replay>>>,
}

impl Task for ReplayTask {
    type Output = Vec<u8>;
    type JsValue = Uint8Array;

    fn compute(&mut self) -> Result<Vec<u8>> {
        let mut replay = self.replay.lock().unwrap_or_else(PoisonError::into_inner);
        let mut chunk = Vec::new();
        if let Some(replay) = replay.as_mut() {
            replay
                .next_chunk(REPLAY_CHUNK_BYTES, &mut chunk)
                .map_err(|error| to_js(&error))?;
        }
        if chunk.is_empty() {
            *replay = None;
        }
        Ok(chunk)
    }

    fn resolve(&mut self, _env: Env, chunk: Vec<u8>) -> Result<Uint8Array> {
        Ok(chunk.into())
    }
}

pub struct CloseTask {
    wal: Arc<Wal>,
    wake: SharedWake,
}

impl Task for CloseTask {
    type Output = ();
    type JsValue = ();

    fn compute(&mut self) -> Result<()> {
        self.wal.close();
        Ok(())
    }

    /// What was written last is told before the wake-ups end: JavaScript polls once more after this.
    fn resolve(&mut self, _env: Env, _output: ()) -> Result<()> {
        forget(&self.wake);
        Ok(())
    }
}
