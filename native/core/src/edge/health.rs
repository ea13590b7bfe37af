//! Pings in both directions, and a connection's way to its end; the rules are grpc-go's.

use super::connection::Connection;
use super::context::{Context, Limits};
use super::frame::{self, Fatal, Header, Reason, flag};

/// The ping that follows the first GOAWAY; its answer shows that the client has seen that.
const GOAWAY_PING: [u8; 8] = [1, 6, 1, 8, 0, 3, 3, 9];
const PROBE_PING: [u8; 8] = *b"etcd-ts\0";
/// A client may be early so many times before it is cut off.
const STRIKES_MAX: u8 = 2;
/// Without a stream, pings are expected this rarely at most unless they are permitted.
const IDLE_PING_INTERVAL: u64 = 2 * 3600 * 1_000_000;
/// A client that does not answer the first GOAWAY's ping gets the second after this.
const SECOND_GOAWAY_AFTER: u64 = 5_000_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The first GOAWAY has gone; new streams are still served, for they may have crossed it.
    Announced(u64),
    /// The second has gone: new streams are ignored, and the end comes with the last call's.
    Draining,
}

/// What `tick` wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Keep,
    /// The client is gone.
    Close,
}

/// See the module.
pub struct Health {
    last_received: u64,
    probe_sent: Option<u64>,
    last_ping: Option<u64>,
    strikes: u8,
    /// Header or data frames went out since the last ping: clients measure the network by pings when they get data.
    sent: bool,
    /// Such frames wait for the socket.
    waiting: bool,
    stage: Stage,
}

impl Health {
    pub fn new(now: u64) -> Health {
        Health {
            last_received: now,
            probe_sent: None,
            last_ping: None,
            strikes: 0,
            sent: false,
            waiting: false,
            stage: Stage::Open,
        }
    }

    pub fn received(&mut self, now: u64) {
        self.last_received = now;
        self.probe_sent = None;
    }

    /// Header or data frames have been framed.
    pub fn sent(&mut self) {
        self.sent = true;
        self.waiting = true;
    }

    pub fn refuses_streams(&self) -> bool {
        self.stage == Stage::Draining
    }

    /// Counts a client's ping; false when it has pinged too often.
    fn ping_allowed(&mut self, now: u64, streams: usize, limits: &Limits) -> bool {
        let last = self.last_ping.replace(now);
        if std::mem::take(&mut self.sent) {
            self.strikes = 0;
            return true;
        }
        let idle = streams == 0 && !limits.ping_without_stream;
        let interval = if idle {
            IDLE_PING_INTERVAL
        } else {
            limits.ping_interval_min
        };
        if last.is_some_and(|last| now < last + interval) {
            self.strikes += 1;
        }
        self.strikes <= STRIKES_MAX
    }

    /// What to do for a client that may be gone; `probe` is set when it must be asked.
    fn probe(&mut self, now: u64, limits: &Limits) -> (Verdict, bool) {
        match self.probe_sent {
            Some(sent) if now >= sent + limits.probe_timeout => (Verdict::Close, false),
            None if now >= self.last_received + limits.probe_after => {
                self.probe_sent = Some(now);
                (Verdict::Keep, true)
            }
            _ => (Verdict::Keep, false),
        }
    }
}

impl Connection {
    /// A PING frame.
    pub(super) fn ping(
        &mut self,
        header: Header,
        payload: &[u8],
        context: &mut Context,
    ) -> Result<(), Fatal> {
        if header.stream != 0 {
            return Err(Fatal::new(Reason::Protocol, "PING on a stream"));
        }
        let Ok(data) = <&[u8; 8]>::try_from(payload) else {
            return Err(Fatal::new(Reason::FrameSize, "PING of a wrong size"));
        };
        if header.has(flag::ACK) {
            if *data == GOAWAY_PING && matches!(self.health.stage, Stage::Announced(_)) {
                self.drain();
            }
            return Ok(());
        }
        frame::put_ping(&mut self.out.bytes, true, data);
        if self
            .health
            .ping_allowed(context.now, self.streams.len(), &context.limits)
        {
            Ok(())
        } else {
            Err(Fatal::new(Reason::EnhanceYourCalm, "too_many_pings"))
        }
    }

    /// Looks after a connection from time to time.
    pub fn tick(&mut self, context: &mut Context) -> Verdict {
        if let Stage::Announced(at) = self.health.stage
            && context.now >= at + SECOND_GOAWAY_AFTER
        {
            self.drain();
        }
        let (verdict, probe) = self.health.probe(context.now, &context.limits);
        if probe {
            frame::put_ping(&mut self.out.bytes, false, &PROBE_PING);
        }
        verdict
    }

    /// The socket has taken some of what waited; as long as data is among it the client has reason to ping.
    pub fn written(&mut self) {
        self.health.sent |= self.health.waiting;
        self.health.waiting &= self.out.waiting() > 0;
    }

    /// Asks the client to go elsewhere; its calls are finished.
    pub fn announce_end(&mut self, context: &Context) {
        if self.health.stage == Stage::Open {
            frame::put_goaway(&mut self.out.bytes, 0x7fff_ffff, Reason::NoError, "");
            frame::put_ping(&mut self.out.bytes, false, &GOAWAY_PING);
            self.health.stage = Stage::Announced(context.now);
        }
    }

    fn drain(&mut self) {
        frame::put_goaway(&mut self.out.bytes, self.last_stream, Reason::NoError, "");
        self.health.stage = Stage::Draining;
    }

    /// The client has been sent away and its last call has ended.
    pub fn drained(&self) -> bool {
        self.health.stage == Stage::Draining && self.streams.is_empty()
    }
}
