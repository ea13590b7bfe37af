//! Replies of JavaScript's threads on their way to their connections: those that somebody waits for, and a piece a turn of
//! what may be much.

use super::batch::ReplyRecord;
use super::server::{Server, mark};
use super::traffic::{LIVE, Peer};

/// Of the bulk of replies one turn takes so many bytes, and as many as make so many clients dirty (each is a system
/// call): about 2 ms, so that prompt replies and requests do not wait longer for it.
const BULK_BYTES_MAX: usize = 1 << 20;
const BULK_CONNECTIONS_MAX: usize = 256;
/// The replies' buffer goes back to this size after a larger batch.
const REPLY_BYTES_KEPT: usize = 4 << 20;

impl Server {
    /// Gives the replies that have come to their connections: the prompt ones, then a piece of the bulk.
    pub(super) fn take_replies(&mut self) {
        let mut replies = std::mem::take(&mut self.replies);
        self.shared.take_replies(&mut replies);
        let taken = self.reply_all(&replies, usize::MAX, usize::MAX);
        assert!(taken == replies.len(), "a reply batch is cut short");
        self.take_bulk();
        replies.clear();
        if replies.capacity() > REPLY_BYTES_KEPT {
            replies = Vec::new();
        }
        self.replies = replies;
    }

    fn take_bulk(&mut self) {
        let dirty_max = self.dirty.len() + BULK_CONNECTIONS_MAX;
        let mut room = BULK_BYTES_MAX;
        loop {
            // What is left at the end of the turn must be seen here, or the thread would sleep over it.
            if self.bulk_start == self.bulk.len() {
                (self.bulk, self.bulk_start) = (self.shared.take_bulk().unwrap_or_default(), 0);
            }
            if self.bulk.is_empty() || room == 0 || self.dirty.len() >= dirty_max {
                return;
            }
            let bulk = std::mem::take(&mut self.bulk);
            let taken = self.reply_all(&bulk[self.bulk_start..], room, dirty_max);
            assert!(taken > 0, "a reply batch is cut short");
            self.bulk = bulk;
            self.bulk_start += taken;
            room = room.saturating_sub(taken);
        }
    }

    /// Gives records to their connections until so many bytes are taken or so many clients are dirty; the bytes taken.
    fn reply_all(&mut self, records: &[u8], bytes_max: usize, dirty_max: usize) -> usize {
        let mut rest = records;
        while records.len() - rest.len() < bytes_max && self.dirty.len() < dirty_max {
            let Some(record) = ReplyRecord::read(rest) else {
                break;
            };
            rest = &rest[record.length..];
            let Some(call) = self.context.calls.get(record.call_id) else {
                self.late_reply(record.call_id);
                continue;
            };
            let slot = call.connection;
            let client = self.clients[slot as usize].as_mut().expect(LIVE);
            let Peer::Http2(connection) = &mut client.peer else {
                continue;
            };
            connection.reply(record.call_id, &record, &mut self.context);
            mark(&mut client.dirty, &mut self.dirty, slot);
        }
        records.len() - rest.len()
    }

    /// A reply to a call that is gone makes room for another one of its client.
    fn late_reply(&mut self, id: u32) {
        let Some(slot) = self.context.orphans.remove(&id) else {
            return;
        };
        let client = self.clients[slot as usize].as_mut().expect(LIVE);
        if let Peer::Http2(connection) = &mut client.peer {
            connection.orphan_ended(&mut self.context);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::batch::{REPLY_HEADER_BYTES, reply_kind};
    use crate::edge::shared::Shared;
    use crate::edge::tests::context;
    use mio::{Poll, Token, Waker};
    use std::sync::Arc;

    /// Records of 256 bytes, to a call that is gone.
    fn records(count: usize) -> Vec<u8> {
        let mut record = vec![0; 256];
        record[..4].copy_from_slice(&256u32.to_le_bytes());
        record[4..8].copy_from_slice(&7u32.to_le_bytes());
        record[8] = reply_kind::MESSAGE;
        record[12..16].copy_from_slice(&((256 - REPLY_HEADER_BYTES) as u32).to_le_bytes());
        record.repeat(count)
    }

    #[test]
    fn a_turn_takes_a_piece_of_the_bulk_and_the_thread_does_not_sleep_over_the_rest() {
        let poll = Poll::new().expect("poll");
        let waker = Waker::new(poll.registry(), Token(0)).expect("waker");
        let context = context(|_| {});
        let shared = Arc::new(Shared::new(waker, context.counters.clone()));
        let mut server = Server::new(poll, vec![], vec![], context, shared.clone(), 0);
        let piece = BULK_BYTES_MAX / 256;
        // One batch ends within a piece, one with it.
        for count in [piece / 2, 2 * piece, piece / 2, piece, 1] {
            shared.push_replies(&records(count), true);
        }
        let mut turns = 0;
        loop {
            server.take_replies();
            turns += 1;
            if !server.is_busy() {
                break;
            }
        }
        assert_eq!(turns, 5);
        assert_eq!(shared.take_bulk(), None);
    }
}
