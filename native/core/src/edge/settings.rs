//! What the client sets: SETTINGS and WINDOW_UPDATE frames.

use super::call_table::Sending;
use super::connection::{Connection, Encoder};
use super::context::Context;
use super::frame::{self, Fatal, Header, Reason, flag, setting};
use super::hpack::TABLE_BYTES_MAX;

/// SETTINGS frames a second beyond which a client is cut off: each may touch every stream.
const SETTINGS_MAX: u32 = 1000;

impl Connection {
    /// A SETTINGS frame.
    pub(super) fn settings(
        &mut self,
        header: Header,
        payload: &[u8],
        context: &mut Context,
    ) -> Result<(), Fatal> {
        if header.stream != 0 {
            return Err(Fatal::new(Reason::Protocol, "SETTINGS on a stream"));
        }
        if header.has(flag::ACK) {
            if !payload.is_empty() {
                return Err(Fatal::new(Reason::FrameSize, "SETTINGS ACK with a payload"));
            }
            return if self.settings_seen {
                Ok(())
            } else {
                Err(Fatal::new(
                    Reason::Protocol,
                    "the first frame is not SETTINGS",
                ))
            };
        }
        if !payload.len().is_multiple_of(6) {
            return Err(Fatal::new(Reason::FrameSize, "SETTINGS of a wrong size"));
        }
        self.settings_count += 1;
        if self.settings_count > SETTINGS_MAX {
            return Err(Fatal::new(Reason::EnhanceYourCalm, "too_many_settings"));
        }
        self.settings_seen = true;
        for entry in payload.chunks_exact(6) {
            let id = u16::from_be_bytes([entry[0], entry[1]]);
            self.setting(id, frame::read_u32(&entry[2..]), context)?;
        }
        frame::put_settings_ack(&mut self.out.bytes);
        self.pump(context);
        Ok(())
    }

    fn setting(&mut self, id: u16, value: u32, context: &mut Context) -> Result<(), Fatal> {
        match id {
            setting::HEADER_TABLE_SIZE
                if (value as usize) < TABLE_BYTES_MAX && self.encoder != Encoder::Disabled =>
            {
                self.encoder = Encoder::Disabling;
            }
            setting::ENABLE_PUSH if value > 1 => {
                return Err(Fatal::new(
                    Reason::Protocol,
                    "ENABLE_PUSH is neither 0 nor 1",
                ));
            }
            setting::INITIAL_WINDOW_SIZE => {
                if i64::from(value) > frame::WINDOW_MAX {
                    return Err(Fatal::new(
                        Reason::FlowControl,
                        "INITIAL_WINDOW_SIZE too large",
                    ));
                }
                let wider = i64::from(value) > self.peer_initial_window;
                self.peer_initial_window = i64::from(value);
                if wider {
                    self.unblock(context);
                }
            }
            setting::MAX_FRAME_SIZE if !(16_384..=16_777_215).contains(&value) => {
                return Err(Fatal::new(Reason::Protocol, "MAX_FRAME_SIZE out of range"));
            }
            _ => {}
        }
        Ok(())
    }

    /// A WINDOW_UPDATE frame.
    pub(super) fn window_update(
        &mut self,
        header: Header,
        payload: &[u8],
        context: &mut Context,
    ) -> Result<(), Fatal> {
        if payload.len() != 4 {
            return Err(Fatal::new(
                Reason::FrameSize,
                "WINDOW_UPDATE of a wrong size",
            ));
        }
        let increment = i64::from(frame::read_u32(payload) & 0x7fff_ffff);
        if header.stream == 0 {
            self.send_window += increment;
            if increment == 0 {
                return Err(Fatal::new(Reason::Protocol, "WINDOW_UPDATE of 0"));
            }
            if self.send_window > frame::WINDOW_MAX {
                return Err(Fatal::new(Reason::FlowControl, "window too large"));
            }
            self.pump(context);
            return Ok(());
        }
        if header.stream > self.last_stream {
            return Err(Fatal::new(
                Reason::Protocol,
                "WINDOW_UPDATE on an idle stream",
            ));
        }
        let Some(&id) = self.streams.get(&header.stream) else {
            return Ok(());
        };
        let call = context.calls.at(id);
        call.send_offset += increment;
        if increment == 0 {
            self.reset(header.stream, Reason::Protocol, context);
        } else if self.peer_initial_window + call.send_offset > frame::WINDOW_MAX {
            self.reset(header.stream, Reason::FlowControl, context);
        } else if call.sending == Sending::Blocked {
            self.queue(id, context);
            self.pump(context);
        }
        Ok(())
    }
}
