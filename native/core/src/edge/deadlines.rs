//! When calls end by themselves. A call that has ended leaves its entry behind, to be skipped later; when such
//! entries are most of the heap it is rebuilt, so memory follows the calls under way.

use super::call_table::CallTable;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

const REBUILD_MIN: usize = 1024;

/// See the module. Times are microseconds of the edge's clock.
#[derive(Default)]
pub struct Deadlines(BinaryHeap<Reverse<(u64, u32)>>);

impl Deadlines {
    /// Call `id` ends at `at`.
    pub fn add(&mut self, at: u64, id: u32, calls: &mut CallTable) {
        self.0.push(Reverse((at, id)));
        if self.0.len() > REBUILD_MIN + 2 * calls.live() {
            self.0.retain(|Reverse((_, id))| calls.get(*id).is_some());
        }
    }

    /// A call whose time has come.
    pub fn pop_due(&mut self, now: u64, calls: &mut CallTable) -> Option<u32> {
        while let Some(&Reverse((at, id))) = self.0.peek() {
            let live = calls.get(id).is_some();
            if live && at > now {
                return None;
            }
            self.0.pop();
            if live {
                return Some(id);
            }
        }
        None
    }

    /// When `pop_due` is to be asked next. Call that first: it removes the entries of calls that have ended.
    pub fn next(&self) -> Option<u64> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_come_due_in_order_and_ended_ones_are_skipped() {
        let mut calls = CallTable::default();
        let ids = [30, 10, 20].map(|at| (at, calls.insert().expect("room").0));
        let mut deadlines = Deadlines::default();
        for (at, id) in ids {
            deadlines.add(at, id, &mut calls);
        }
        assert_eq!(deadlines.pop_due(9, &mut calls), None);
        assert_eq!(deadlines.next(), Some(10));
        assert_eq!(deadlines.pop_due(10, &mut calls), Some(ids[1].1));
        calls.remove(ids[2].1);
        assert_eq!(deadlines.pop_due(25, &mut calls), None);
        assert_eq!(deadlines.next(), Some(30));
        assert_eq!(deadlines.pop_due(30, &mut calls), Some(ids[0].1));
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn ended_calls_do_not_pile_up() {
        let mut calls = CallTable::default();
        let mut deadlines = Deadlines::default();
        for at in 0..100_000 {
            let id = calls.insert().expect("room").0;
            deadlines.add(3_600_000_000 + at, id, &mut calls);
            calls.remove(id);
        }
        assert!(deadlines.0.len() <= REBUILD_MIN + 1);
    }
}
