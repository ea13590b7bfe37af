//! Conversions for `etcd_core::mailbox`.

use crate::wake::wake_function;
use etcd_core::byte_queue::BufferTooSmall;
use etcd_core::mailbox::Mailbox;
use napi::Env;
use napi::bindgen_prelude::{Error, Function, Result, Uint8ArraySlice, Unknown};
use napi_derive::napi;
use std::sync::Arc;

/// One thread's view of a mailbox.
#[napi]
pub struct MailboxDoor {
    mailbox: Arc<Mailbox>,
}

#[napi]
impl MailboxDoor {
    /// A new mailbox of `capacity_bytes`.
    #[napi(constructor)]
    pub fn new(capacity_bytes: u32) -> MailboxDoor {
        MailboxDoor {
            mailbox: Mailbox::open(capacity_bytes as usize),
        }
    }

    /// The mailbox that another thread opened as `handle`.
    #[napi(factory)]
    pub fn attach(handle: u32) -> Result<MailboxDoor> {
        match Mailbox::find(handle) {
            Some(mailbox) => Ok(MailboxDoor { mailbox }),
            None => Err(Error::from_reason(format!(
                "no mailbox {handle}: it was closed"
            ))),
        }
    }

    #[napi(getter)]
    pub fn handle(&self) -> u32 {
        self.mailbox.handle()
    }

    /// Sends `bytes[0, length)`; false when it does not fit.
    #[napi]
    pub fn send(&self, bytes: &[u8], length: u32) -> bool {
        self.mailbox.send(&bytes[..length as usize])
    }

    /// See `etcd_core::mailbox`.
    #[napi]
    pub fn receive(&self, mut into: Uint8ArraySlice<'_>) -> f64 {
        // SAFETY: JavaScript runs on this thread and waits for us, so nobody else touches its buffer.
        let into = unsafe { into.as_mut() };
        received(self.mailbox.receive(into))
    }

    /// `callback` runs on the calling thread when messages have come.
    #[napi]
    pub fn on_wake(&self, env: Env, callback: Function<'_, (), Unknown<'static>>) -> Result<()> {
        let weak = Arc::downgrade(&self.mailbox);
        let forget = move || {
            if let Some(mailbox) = weak.upgrade() {
                mailbox.clear_wake();
            }
        };
        self.mailbox
            .set_wake(wake_function(&env, callback, forget)?);
        Ok(())
    }

    /// Stops the wake-ups of `on_wake`.
    #[napi]
    pub fn clear_wake(&self) {
        self.mailbox.clear_wake();
    }

    #[napi]
    pub fn close(&self) {
        self.mailbox.close();
    }
}

/// How many bytes were received; negative: how many the first record has, which does not fit.
pub fn received(outcome: std::result::Result<usize, BufferTooSmall>) -> f64 {
    match outcome {
        Ok(filled) => filled as f64,
        Err(BufferTooSmall { needed }) => -(needed as f64),
    }
}
