//! Rolling, recycling, releasing, group commit, failures.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::mem_disk::{Faults, MemDisk};
use super::model::{Model, Opened, create, model_of, open, options, plain, read_log};
use super::random::Random;
use crate::wal::codec::{HardState, SnapshotMark, put_entries, put_hard_state, put_snapshot_mark};
use crate::wal::disk::{Disk, OsDisk};
use crate::wal::error::WalError;
use crate::wal::log::Wal;
use crate::wal::shared::{FLAG_FAILED, FLAG_SPACE_LOW, Options};
use crate::wal::stats::STATS_NUMBERS;
use crate::wal::writer::QUICK_BATCHES;

fn entry(index: u64, data: &[u8]) -> Vec<u8> {
    let mut records = Vec::new();
    put_entries(&mut records, 1, index, &[data.len() as u32], &[0], data);
    records
}

fn commit(records: &mut Vec<u8>, commit: u64) {
    put_hard_state(
        records,
        &HardState {
            term: 1,
            vote: 1,
            commit,
        },
    );
}

fn mark(records: &mut Vec<u8>, index: u64) {
    put_snapshot_mark(
        records,
        &SnapshotMark {
            index,
            term: 1,
            install: false,
            conf_state: b"conf".to_vec(),
        },
    );
}

/// Appends committed entries `from..=to` of 5,000 bytes, one batch each.
fn append_each(log: &Opened, from: u64, to: u64) {
    for index in from..=to {
        let mut records = entry(index, &[index as u8; 5000]);
        commit(&mut records, index);
        log.wal.append(&records, index);
        log.follower.wait_durable(index);
    }
}

fn segments(disk: &MemDisk) -> Vec<String> {
    disk.names()
        .into_iter()
        .filter(|name| name.ends_with(".seg"))
        .collect()
}

/// Until the preparer has come so far.
fn wait_for_segments(disk: &MemDisk, count: usize) {
    while segments(disk).len() != count {
        std::thread::yield_now();
    }
}

#[test]
fn a_new_log_is_empty_and_keeps_its_metadata() {
    let disk = MemDisk::default();
    create(&disk, options()).unwrap().wal.close();
    let (log, recovered, mut replay) = open(&disk, options()).unwrap();
    assert_eq!(recovered.metadata, b"member 1");
    assert_eq!(
        (
            recovered.hard_state,
            recovered.last_index,
            recovered.cut.clone()
        ),
        (None, 0, None)
    );
    assert_eq!(model_of(&recovered, &mut replay).unwrap(), Model::default());
    drop(log);
    assert!(matches!(
        create(&disk, options()),
        Err(WalError::Exists { .. })
    ));
}

#[test]
fn a_directory_without_a_log_is_absent_and_a_second_opener_is_refused() {
    let disk = MemDisk::default();
    assert!(matches!(
        open(&disk, options()),
        Err(WalError::Absent { .. })
    ));
    let _log = create(&disk, options()).unwrap();
    assert!(matches!(
        open(&disk, options()),
        Err(WalError::Locked { .. })
    ));
}

#[test]
fn a_folder_that_cannot_be_listed_is_not_an_absent_log() {
    let disk = MemDisk::default();
    create(&disk, options()).unwrap().wal.close();
    let list = |error| {
        disk.set_faults(Faults {
            list: Some(error),
            ..Faults::default()
        });
        open(&disk, options()).map(|_| ()).unwrap_err()
    };
    let refused = list(libc::EACCES);
    assert!(
        matches!(&refused, WalError::Io { operation: "list", message, .. } if message.contains("denied")),
        "{refused}"
    );
    assert!(matches!(list(libc::ENOENT), WalError::Absent { .. }));
}

#[test]
fn random_appends_read_back_over_many_segments() {
    let mut random = Random::new(11);
    let disk = MemDisk::default();
    let log = create(&disk, options()).unwrap();
    let mut model = Model::default();
    for token in 1..=400 {
        log.wal
            .append(&model.random_append(&mut random, 3000), token);
        if random.below(4) == 0 {
            log.follower.wait_durable(token);
        }
    }
    log.wal.close();
    assert!(log.wal.failure().is_none());
    assert!(segments(&disk).len() > 5);
    assert_eq!(plain(&read_log(&disk).unwrap()), plain(&model));
}

/// A log of 16 entries on a quick disk, with its first spare.
fn quick_log(disk: &MemDisk) -> Opened {
    let log = create(disk, options()).unwrap();
    wait_for_segments(disk, 2);
    for index in 1..=u64::from(QUICK_BATCHES) {
        log.wal.append(&entry(index, b"quick"), index);
        log.follower.wait_durable(index);
    }
    log
}

/// The writer's thread rests a moment after it has told of its last batch.
fn append_here(log: &Opened, records: impl Fn(u64) -> Vec<u8>, first: u64) -> u64 {
    for index in first.. {
        if log.wal.append_here(&records(index), index) {
            return index;
        }
        log.follower.wait_durable(index);
    }
    unreachable!("the disk is quick")
}

#[test]
fn a_caller_writes_itself_when_the_log_rests_and_its_disk_is_quick() {
    let disk = MemDisk::default();
    let log = quick_log(&disk);
    let wakes = log.follower.wakes();
    let index = append_here(&log, |index| entry(index, b"here"), 17);
    assert_eq!(log.wal.poll().durable, index);
    assert!(log.follower.wakes() - wakes <= index - 17);
    log.wal.close();
    assert_eq!(read_log(&disk).unwrap().entries.len() as u64, index);
}

#[test]
fn a_caller_does_not_wait_for_a_disk_that_was_slow() {
    let disk = MemDisk::default();
    let log = create(&disk, options()).unwrap();
    assert!(!log.wal.append_here(&entry(1, b"too early"), 1));
    log.follower.wait_durable(1);
    assert_eq!(read_log(&disk).unwrap().entries.len(), 1);
}

#[test]
fn appends_of_thread_and_caller_read_back_in_order() {
    let mut random = Random::new(12);
    let disk = MemDisk::default();
    let log = create(&disk, options()).unwrap();
    let mut model = Model::default();
    let mut here = 0;
    for token in 1..=2000 {
        let records = model.random_append(&mut random, 300);
        if random.below(20) == 0 {
            log.wal.append(&records, token);
        } else if log.wal.append_here(&records, token) {
            here += 1;
            assert_eq!(log.wal.poll().durable, token);
        } else {
            log.follower.wait_durable(token);
        }
    }
    log.wal.close();
    assert!(log.wal.failure().is_none());
    assert!(here > 100, "{here} of 2000");
    assert!(segments(&disk).len() > 5);
    assert_eq!(plain(&read_log(&disk).unwrap()), plain(&model));
}

#[test]
fn a_failed_sync_of_a_caller_is_final() {
    let disk = MemDisk::default();
    let log = quick_log(&disk);
    // The thread may take the first ones, and then it fails.
    disk.set_faults(Faults {
        sync: Some(disk.counts().1),
        ..Faults::default()
    });
    while log.wal.failure().is_none() {
        assert!(!log.wal.append_here(&entry(17, b"lost"), 17));
    }
    let writes = disk.counts().0;
    assert!(!log.wal.append_here(&entry(17, b"lost"), 18));
    log.wal.append(&entry(17, b"lost"), 19);
    log.wal.close();
    assert_eq!((log.wal.poll().durable, disk.counts().0), (16, writes));
}

#[test]
fn appends_go_on_behind_what_was_there() {
    let disk = MemDisk::default();
    for round in 0..10 {
        let log = if round == 0 {
            create(&disk, options()).unwrap()
        } else {
            open(&disk, options()).unwrap().0
        };
        append_each(&log, round * 3 + 1, round * 3 + 3);
    }
    let model = read_log(&disk).unwrap();
    assert_eq!(model.entries.len(), 30);
    assert_eq!(model.hard_state.unwrap().commit, 30);
}

#[test]
fn what_waits_goes_in_one_sync() {
    let disk = MemDisk::default();
    let log = create(&disk, options()).unwrap();
    let before = disk.counts().1;
    for index in 1..=1000 {
        log.wal.append(&entry(index, b"x"), index);
    }
    log.follower.wait_durable(1000);
    let syncs = disk.counts().1 - before;
    log.wal.close();
    // One for the spare, and less than one for every ten appends.
    assert!(syncs < 100, "{syncs} syncs");
    assert!(log.follower.wakes() <= syncs);
    assert_eq!(read_log(&disk).unwrap().entries.len(), 1000);
}

#[test]
fn batches_have_a_bound_and_one_append_may_exceed_it() {
    let disk = MemDisk::default();
    let log = create(&disk, options()).unwrap();
    let large = Random::new(3).bytes(300_000);
    log.wal.append(&entry(1, b"small"), 1);
    log.wal.append(&entry(2, &large), 2);
    log.wal.append(&entry(3, b"small"), 3);
    log.follower.wait_durable(3);
    log.wal.close();
    let model = read_log(&disk).unwrap();
    assert_eq!(model.entries[&2].2, large);
    assert_eq!(model.entries[&3].2, b"small");
    // It got a segment larger than the others.
    assert!(
        segments(&disk)
            .iter()
            .any(|name| disk.bytes(name).len() == 1 << 20)
    );
    let (log, ..) = open(&disk, options()).unwrap();
    log.wal.append(&entry(4, b"behind it"), 1);
    log.wal.close();
    assert_eq!(read_log(&disk).unwrap().entries.len(), 4);
}

#[test]
fn released_segments_are_recycled_or_removed_and_those_behind_the_mark_stay() {
    let disk = MemDisk::default();
    let log = create(&disk, options()).unwrap();
    append_each(&log, 1, 100);
    wait_for_segments(&disk, 16);
    // Without a mark everything is needed.
    log.wal.release(100);
    log.wal.close();
    assert_eq!(segments(&disk).len(), 16);
    let (log, ..) = open(&disk, options()).unwrap();
    let mut records = Vec::new();
    mark(&mut records, 50);
    log.wal.append(&records, 1);
    log.follower.wait_durable(1);
    log.wal.release(100);
    wait_for_segments(&disk, 9);
    assert_eq!(
        disk.names()
            .iter()
            .filter(|name| name.ends_with(".tmp"))
            .count(),
        1
    );
    let model = read_log(&disk).unwrap();
    assert_eq!(
        model.entries.keys().copied().collect::<Vec<_>>(),
        (51..=100).collect::<Vec<_>>()
    );
    log.wal.close();
    let (log, recovered, mut replay) = open(&disk, options()).unwrap();
    assert_eq!(recovered.mark.as_ref().unwrap().conf_state, b"conf");
    assert_eq!(
        plain(&model_of(&recovered, &mut replay).unwrap()),
        plain(&model)
    );
    // A temporary file of the last run is gone.
    log.wal.close();
    assert!(disk.names().iter().all(|name| !name.ends_with(".tmp")));
}

#[test]
fn a_recycled_segment_is_zero_before_it_is_used() {
    let disk = MemDisk::default();
    let log = create(&disk, options()).unwrap();
    for round in 0..30u64 {
        append_each(&log, round * 10 + 1, round * 10 + 10);
        let mut records = Vec::new();
        mark(&mut records, round * 10 + 10);
        // The token may stay: it says no more than that everything before is durable.
        log.wal.append(&records, round * 10 + 10);
        log.wal.release(round * 10 + 10);
    }
    log.wal.close();
    assert!(segments(&disk).len() <= 4, "{:?}", disk.names());
    let model = read_log(&disk).unwrap();
    assert_eq!((model.entries.len(), model.mark.unwrap().index), (0, 300));
}

/// Space that is only allocated costs a write of the file system's own at each sync of a fresh block.
#[test]
fn every_segment_is_written_all_over_before_it_is_used() {
    let disk = MemDisk::default();
    let log = create(&disk, options()).unwrap();
    wait_for_segments(&disk, 2);
    for name in segments(&disk) {
        assert_eq!(disk.written_bytes(&name), disk.bytes(&name).len(), "{name}");
    }
    log.wal.close();
}

#[test]
fn missing_segments_are_refused() {
    let disk = MemDisk::default();
    let log = create(&disk, options()).unwrap();
    append_each(&log, 1, 40);
    log.wal.close();
    let names = segments(&disk);
    for (i, name) in names.iter().enumerate() {
        let damaged = disk.copy();
        damaged.remove(std::path::Path::new(name)).unwrap();
        let spare_at_the_end = i + 1 == names.len();
        assert_eq!(read_log(&damaged).is_ok(), spare_at_the_end, "{name}");
    }
}

#[test]
fn a_failed_sync_is_final() {
    let disk = MemDisk::default();
    let log = create(&disk, options()).unwrap();
    append_each(&log, 1, 3);
    wait_for_segments(&disk, 2);
    disk.set_faults(Faults {
        sync: Some(disk.counts().1),
        ..Faults::default()
    });
    log.wal.append(&entry(4, b"lost"), 4);
    log.follower.wait(|_, flags| flags & FLAG_FAILED != 0);
    let syncs = disk.counts().1;
    log.wal.append(&entry(5, b"after"), 5);
    log.wal.release(3);
    log.wal.close();
    assert_eq!(log.follower.acknowledged.load(Ordering::SeqCst), 3);
    assert_eq!(disk.counts().1, syncs, "synced again after a failure");
    let failure = log.wal.failure().unwrap();
    assert!(
        matches!(
            &failure,
            WalError::Io {
                operation: "sync",
                no_space: false,
                ..
            }
        ),
        "{failure}"
    );
}

/// The writer waits for a spare that cannot be made: it is told, whoever comes first, and nothing is written after.
#[test]
fn a_failed_preparer_ends_the_log_and_wakes_a_writer_that_waits_for_it() {
    for round in 0..100 {
        let disk = MemDisk::default();
        let log = create(&disk, options()).unwrap();
        wait_for_segments(&disk, 2);
        // The roll's own writes and those of the next spare begin here; one of them fails.
        append_each(&log, 1, 6);
        disk.set_faults(Faults {
            write: Some((disk.counts().0 + 3 + round % 8, libc::EIO)),
            ..Faults::default()
        });
        let mut index = 7;
        while log.wal.failure().is_none() {
            log.wal.append(&entry(index, &[7; 5000]), index);
            index += 1;
        }
        log.wal.close();
        let failure = log.wal.failure().unwrap();
        assert!(
            matches!(
                failure,
                WalError::Io {
                    no_space: false,
                    ..
                }
            ),
            "{failure}"
        );
        let acknowledged = log.wal.poll().durable;
        assert!(read_log(&disk.copy()).unwrap().entries.len() as u64 >= acknowledged);
    }
}

#[test]
fn no_space_inside_a_batch_is_final() {
    let disk = MemDisk::default();
    let log = create(&disk, options()).unwrap();
    append_each(&log, 1, 1);
    wait_for_segments(&disk, 2);
    disk.set_faults(Faults {
        write: Some((disk.counts().0, libc::ENOSPC)),
        ..Faults::default()
    });
    log.wal.append(&entry(2, b"lost"), 2);
    log.follower.wait(|_, flags| flags & FLAG_FAILED != 0);
    assert!(log.wal.failure().unwrap().is_no_space());
    assert_eq!(log.follower.acknowledged.load(Ordering::SeqCst), 1);
}

#[test]
fn a_full_disk_is_told_while_there_is_still_room_and_so_is_its_end() {
    let disk = MemDisk::default();
    let log = create(&disk, options()).unwrap();
    wait_for_segments(&disk, 2);
    disk.set_faults(Faults {
        capacity: Some(2 * (64 << 10) + 1000),
        ..Faults::default()
    });
    // Into the spare; another one cannot be made.
    append_each(&log, 1, 10);
    log.follower.wait(|_, flags| flags & FLAG_SPACE_LOW != 0);
    append_each(&log, 11, 12);
    assert!(
        disk.names().iter().all(|name| !name.ends_with(".tmp")),
        "space is held for nothing"
    );
    disk.set_faults(Faults::default());
    log.follower.wait(|_, flags| flags & FLAG_SPACE_LOW == 0);
    append_each(&log, 13, 40);
    log.wal.close();
    assert_eq!(read_log(&disk).unwrap().entries.len(), 40);
}

#[test]
fn a_full_disk_ends_the_log_when_the_last_segment_is_full() {
    let disk = MemDisk::default();
    let log = create(&disk, options()).unwrap();
    wait_for_segments(&disk, 2);
    disk.set_faults(Faults {
        capacity: Some(2 * (64 << 10)),
        ..Faults::default()
    });
    append_each(&log, 1, 30);
    let failure = log.wal.failure().unwrap();
    assert!(failure.is_no_space(), "{failure}");
    let acknowledged = log.follower.acknowledged.load(Ordering::SeqCst);
    log.wal.close();
    assert!(acknowledged > 10);
    assert_eq!(
        read_log(&disk.copy()).unwrap().entries.len() as u64,
        acknowledged
    );
}

#[test]
fn released_space_ends_a_shortage() {
    let disk = MemDisk::default();
    let log = create(&disk, options()).unwrap();
    wait_for_segments(&disk, 2);
    disk.set_faults(Faults {
        capacity: Some(2 * (64 << 10)),
        ..Faults::default()
    });
    append_each(&log, 1, 10);
    log.follower.wait(|_, flags| flags & FLAG_SPACE_LOW != 0);
    let mut records = Vec::new();
    mark(&mut records, 10);
    log.wal.append(&records, 11);
    log.wal.release(10);
    log.follower.wait(|_, flags| flags & FLAG_SPACE_LOW == 0);
}

#[test]
fn without_direct_access_it_writes_through_the_cache() {
    let disk = MemDisk::default();
    disk.set_faults(Faults {
        no_direct: true,
        ..Faults::default()
    });
    let log = create(&disk, options()).unwrap();
    append_each(&log, 1, 20);
    log.wal.close();
    assert_eq!(disk.opened_direct(), 0);
    let (_log, recovered, _) = open(&disk, options()).unwrap();
    assert!(!recovered.direct);
    let other = MemDisk::default();
    create(&other, options()).unwrap().wal.close();
    assert!(open(&other, options()).unwrap().1.direct);
}

#[test]
fn without_fsync_nothing_is_synced_for_appends() {
    let disk = MemDisk::default();
    let log = create(
        &disk,
        Options {
            no_fsync: true,
            ..options()
        },
    )
    .unwrap();
    wait_for_segments(&disk, 2);
    let before = disk.counts().1;
    append_each(&log, 1, 5);
    assert_eq!(disk.counts().1, before);
}

#[test]
fn what_no_member_may_write_is_refused_before_it_is_written() {
    type Case = (&'static str, fn(&mut Vec<u8>));
    let cases: [Case; 5] = [
        ("gap", |records| records.extend(entry(5, b"x"))),
        ("rewrite of what is committed", |records| {
            records.extend(entry(2, b"x"))
        }),
        ("commit beyond the log", |records| commit(records, 9)),
        ("commit goes back", |records| commit(records, 1)),
        ("mark beyond the log", |records| mark(records, 4)),
    ];
    for (name, make) in cases {
        let disk = MemDisk::default();
        let log = create(&disk, options()).unwrap();
        let mut records = [entry(1, b"a"), entry(2, b"b"), entry(3, b"c")].concat();
        commit(&mut records, 2);
        log.wal.append(&records, 1);
        log.follower.wait_durable(1);
        let mut records = Vec::new();
        make(&mut records);
        log.wal.append(&records, 2);
        log.follower.wait_durable(2);
        assert!(
            matches!(log.wal.failure(), Some(WalError::Invalid { .. })),
            "{name}"
        );
        log.wal.close();
        assert_eq!(read_log(&disk).unwrap().entries.len(), 3, "{name}");
    }
}

#[test]
fn segments_of_another_size_are_read_and_followed_by_new_ones() {
    let disk = MemDisk::default();
    let log = create(&disk, options()).unwrap();
    append_each(&log, 1, 20);
    log.wal.close();
    let larger = Options {
        segment_bytes: 128 << 10,
        ..options()
    };
    let (log, ..) = open(&disk, larger).unwrap();
    append_each(&log, 21, 60);
    log.wal.close();
    assert_eq!(read_log(&disk).unwrap().entries.len(), 60);
    assert!(
        segments(&disk)
            .iter()
            .any(|name| disk.bytes(name).len() == 128 << 10)
    );
}

/// Whether this process has a segment below `dir` open past the page cache, as the system says.
#[cfg(target_os = "linux")]
fn written_directly(dir: &std::path::Path) -> bool {
    let is_direct = |entry: std::fs::DirEntry| -> Option<bool> {
        let target = std::fs::read_link(entry.path()).ok()?;
        if !target.starts_with(dir) || target.extension()? != "seg" {
            return None;
        }
        let info = std::fs::read_to_string(format!(
            "/proc/self/fdinfo/{}",
            entry.file_name().to_string_lossy()
        ));
        let info = info.ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        Some(i32::from_str_radix(flags.trim(), 8).ok()? & libc::O_DIRECT != 0)
    };
    let open = std::fs::read_dir("/proc/self/fd").expect("proc");
    open.flatten().filter_map(is_direct).any(|direct| direct)
}

#[test]
fn the_real_disk_keeps_a_log() {
    let dir = std::env::temp_dir().join(format!("etcd-ts-wal-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let options = Options {
        segment_bytes: 256 << 10,
        ..Options::new(dir.join("member/wal"))
    };
    let (wal, recovered) =
        Wal::create(disk.clone(), options.clone(), b"id", Box::new(|| {})).unwrap();
    for index in 1..=200 {
        wal.append(&entry(index, &[7; 4000]), index);
    }
    assert!(matches!(
        Wal::open(disk.clone(), options.clone(), Box::new(|| {})),
        Err(WalError::Locked { .. })
    ));
    #[cfg(target_os = "linux")]
    assert_eq!(written_directly(&dir), recovered.direct);
    wal.close();
    assert_eq!(wal.poll().durable, 200);
    let mut numbers = [0.0; STATS_NUMBERS];
    wal.stats().read(&mut numbers);
    assert!(numbers[STATS_NUMBERS - 1] > 800_000.0);
    drop(wal);
    let (wal, recovered, mut replay) = Wal::open(disk, options, Box::new(|| {})).unwrap();
    assert_eq!(
        model_of(&recovered, &mut replay).unwrap().entries.len(),
        200
    );
    drop(wal);
    std::fs::remove_dir_all(&dir).unwrap();
}
