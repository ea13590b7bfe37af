//! A small log cut, flipped, zeroed and overwritten at every sector: each outcome is the right one.

use super::mem_disk::{Faults, MemDisk};
use super::model::{Model, create, open, options, plain, read_log};
use super::random::{Random, seed};
use crate::wal::codec::{SECTOR_BYTES, is_zero, record_at};
use crate::wal::error::WalError;

/// A log of one batch an append, and where each batch lies.
struct Sample {
    disk: MemDisk,
    /// After each append; the first is the empty log.
    models: Vec<Model>,
    /// Segment name, start, end of each batch; those that open segments, too.
    batches: Vec<(String, usize, usize)>,
    /// Number of appends before the batch, for each batch.
    appends_before: Vec<usize>,
}

fn sample(appends: u64, entry_bytes_max: u64, seed: u64) -> Sample {
    let mut random = Random::new(seed);
    let disk = MemDisk::default();
    let log = create(&disk, options()).unwrap();
    let mut models = vec![Model::default()];
    for token in 1..=appends {
        let mut model = models.last().unwrap().clone();
        log.wal
            .append(&model.random_append(&mut random, entry_bytes_max), token);
        log.follower.wait_durable(token);
        models.push(plain(&model));
    }
    log.wal.close();
    let (batches, appends_before) = batches(&disk);
    assert_eq!(*appends_before.last().unwrap() + 1, models.len() - 1);
    Sample {
        disk,
        models,
        batches,
        appends_before,
    }
}

fn batches(disk: &MemDisk) -> (Vec<(String, usize, usize)>, Vec<usize>) {
    let (mut batches, mut appends_before, mut appends) = (Vec::new(), Vec::new(), 0);
    for name in disk
        .names()
        .into_iter()
        .filter(|name| name.ends_with(".seg"))
    {
        let bytes = disk.bytes(&name);
        let mut at = 0;
        while at < bytes.len() && !is_zero(&bytes[at..at + SECTOR_BYTES]) {
            let used = u32::from_le_bytes(
                record_at(&bytes, at).unwrap().data[4..8]
                    .try_into()
                    .unwrap(),
            );
            let end = at + (used as usize).next_multiple_of(4096);
            appends_before.push(appends);
            appends += usize::from(at > 0);
            batches.push((name.clone(), at, end));
            at = end;
        }
    }
    (batches, appends_before)
}

impl Sample {
    fn damaged(&self, name: &str, damage: impl FnOnce(&mut Vec<u8>)) -> MemDisk {
        let disk = self.disk.copy();
        let mut bytes = disk.bytes(name);
        damage(&mut bytes);
        disk.set_bytes(name, bytes);
        disk
    }

    /// The log as it was after so many appends.
    fn expect(&self, disk: &MemDisk, appends: usize, what: &str) {
        let found = read_log(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(
            plain(&found) == self.models[appends],
            "{what}: not the log after {appends} appends"
        );
    }

    fn expect_refusal(&self, disk: &MemDisk, what: &str) -> (String, u64) {
        match read_log(disk) {
            Err(WalError::Corrupt {
                segment, offset, ..
            }) => (segment, offset),
            Err(error) => panic!("{what}: {error}"),
            Ok(_) => panic!("{what}: read as if it were whole"),
        }
    }

    fn newest(&self) -> &(String, usize, usize) {
        self.batches.last().unwrap()
    }
}

/// (a) What was written after some moment is not there: that moment's acknowledged appends are.
#[test]
fn a_log_that_ends_at_any_sector_has_all_batches_before_it() {
    let sample = sample(40, 3000, 1);
    let names: Vec<String> = sample
        .batches
        .iter()
        .map(|(name, ..)| name.clone())
        .collect();
    for (i, (name, start, end)) in sample.batches.iter().enumerate() {
        for at in (*start..*end).step_by(SECTOR_BYTES) {
            let disk = sample.damaged(name, |bytes| bytes[at..].fill(0));
            for later in names.iter().filter(|later| *later > name) {
                let zeros = vec![0; disk.bytes(later).len()];
                disk.set_bytes(later, zeros);
            }
            let what = format!("{name} ends at {at}");
            if *start == 0 && i == 0 {
                sample.expect_refusal(&disk, &what);
                continue;
            }
            sample.expect(&disk, sample.appends_before[i], &what);
        }
    }
}

/// (a) A file that was shortened is not one that a crash left.
#[test]
fn a_segment_cut_short_is_refused() {
    let sample = sample(30, 3000, 2);
    let mut names: Vec<String> = sample
        .batches
        .iter()
        .map(|(name, ..)| name.clone())
        .collect();
    names.dedup();
    for name in names {
        for at in (0..sample.disk.bytes(&name).len()).step_by(SECTOR_BYTES) {
            let disk = sample.damaged(&name, |bytes| bytes.truncate(at));
            let (segment, _) = sample.expect_refusal(&disk, &format!("{name} cut at {at}"));
            assert!(segment >= name, "refused at {segment} where {name} was cut");
        }
    }
}

/// (b) A damaged sector is named, unless it is one of zeros in the newest batch.
#[test]
fn every_damaged_sector_is_refused_and_named() {
    let sample = sample(40, 3000, 3);
    let mut random = Random::new(33);
    let newest = sample.newest().clone();
    for (name, start, end) in &sample.batches {
        let original = sample.disk.bytes(name);
        for at in (*start..*end).step_by(SECTOR_BYTES) {
            let other =
                random.below((original.len() / SECTOR_BYTES) as u64) as usize * SECTOR_BYTES;
            let damages: [(&str, Vec<u8>); 4] = [
                (
                    "flipped",
                    flipped(&original[at..at + SECTOR_BYTES], &mut random),
                ),
                ("random", random.bytes(SECTOR_BYTES)),
                (
                    "of another place",
                    original[other..other + SECTOR_BYTES].to_vec(),
                ),
                ("zero", vec![0; SECTOR_BYTES]),
            ];
            for (kind, sector) in damages {
                let what = format!("{name} at {at} {kind}");
                let disk = sample.damaged(name, |bytes| {
                    bytes[at..at + SECTOR_BYTES].copy_from_slice(&sector)
                });
                if sector == original[at..at + SECTOR_BYTES] {
                    sample.expect(&disk, sample.models.len() - 1, &what);
                } else if is_zero(&sector) && (name, start) == (&newest.0, &newest.1) {
                    sample.expect(&disk, sample.models.len() - 2, &what);
                } else {
                    let (segment, offset) = sample.expect_refusal(&disk, &what);
                    assert_eq!(&segment, name, "{what}");
                    assert!(
                        (*start as u64..*end as u64).contains(&offset),
                        "{what}: named {offset}"
                    );
                }
            }
        }
    }
}

fn flipped(sector: &[u8], random: &mut Random) -> Vec<u8> {
    let mut sector = sector.to_vec();
    let bit = random.below(SECTOR_BYTES as u64 * 8) as usize;
    sector[bit / 8] ^= 1 << (bit % 8);
    sector
}

/// (b) A batch that is whole, and at its place, but belongs to another history of the same segment.
#[test]
fn a_batch_that_does_not_follow_the_one_before_it_is_refused() {
    let history = |fill: u8| {
        let disk = MemDisk::default();
        let log = create(&disk, options()).unwrap();
        let mut model = Model::default();
        for token in 1..=4 {
            log.wal.append(&model.append_one(fill), token);
            log.follower.wait_durable(token);
        }
        log.wal.close();
        disk
    };
    let (one, other) = (history(1), history(2));
    let (places, _) = batches(&one);
    assert_eq!(batches(&other).0, places, "the same segments and places");
    // The head and the first batch of a history have nothing but what is the same before them.
    for (name, start, end) in &places[2..] {
        let disk = one.copy();
        let mut bytes = disk.bytes(name);
        bytes[*start..*end].copy_from_slice(&other.bytes(name)[*start..*end]);
        disk.set_bytes(name, bytes);
        match read_log(&disk) {
            Err(WalError::Corrupt {
                segment,
                offset,
                reason,
            }) => {
                assert_eq!((&segment, offset), (name, *start as u64), "{reason}");
                assert_eq!(reason, "batch does not follow the one before it");
            }
            read => panic!("at {start}: {read:?}"),
        }
    }
}

/// (b) Bits behind the log's end, where there should be zeros.
#[test]
fn bytes_behind_the_end_are_refused() {
    let sample = sample(10, 3000, 4);
    let (name, _, end) = sample.newest().clone();
    for at in (end..sample.disk.bytes(&name).len()).step_by(4096) {
        // A block that begins with zeros looks like a batch whose first sector was lost.
        let disk = sample.damaged(&name, |bytes| bytes[at] = 1);
        if at == end {
            let refused = sample.expect_refusal(&disk, "first block behind the end");
            assert_eq!(refused, (name.clone(), end as u64));
        } else {
            sample.expect(&disk, sample.models.len() - 1, "a later block");
        }
    }
}

/// (c) Any sectors of the newest batch may be missing.
#[test]
fn a_newest_batch_with_sectors_missing_is_cut() {
    for (entry_bytes_max, seed) in [(60, 5), (5000, 6), (9000, 7)] {
        let sample = sample(12, entry_bytes_max, seed);
        let (name, start, end) = sample.newest().clone();
        let sectors = (end - start) / SECTOR_BYTES;
        let mut random = Random::new(seed);
        let all = if sectors <= 8 { 1 << sectors } else { 3000 };
        for i in 0..all {
            let missing = if sectors <= 8 {
                i
            } else {
                random.next() & random.next()
            };
            let disk = sample.damaged(&name, |bytes| {
                for sector in (0..sectors).filter(|sector| missing >> (sector % 64) & 1 == 1) {
                    let at = start + sector * SECTOR_BYTES;
                    bytes[at..at + SECTOR_BYTES].fill(0);
                }
            });
            let whole = disk.bytes(&name) == sample.disk.bytes(&name);
            let appends = sample.models.len() - if whole { 1 } else { 2 };
            sample.expect(&disk, appends, &format!("missing {missing:b} of {sectors}"));
        }
    }
}

#[test]
fn the_cut_area_is_zero_before_the_log_goes_on() {
    let sample = sample(12, 9000, 6);
    let (name, start, end) = sample.newest().clone();
    for missing in [start, start + SECTOR_BYTES, end - SECTOR_BYTES] {
        let disk = sample.damaged(&name, |bytes| {
            bytes[missing..missing + SECTOR_BYTES].fill(0)
        });
        let (log, recovered, _) = open(&disk, options()).unwrap();
        let (segment, from, length) = recovered.cut.unwrap();
        assert_eq!((&segment, from), (&name, start as u64));
        assert!(length > 0 && from + length <= end as u64);
        assert!(is_zero(&disk.bytes(&name)[start..]));
        let mut model = sample.models[sample.models.len() - 2].clone();
        let records = model.random_append(&mut Random::new(99), 100);
        log.wal.append(&records, 1);
        log.wal.close();
        assert!(plain(&read_log(&disk).unwrap()) == plain(&model));
    }
}

/// A power cut while the first batch after a cut is written: what is left of the one that was cut must not count.
#[test]
fn a_power_cut_behind_a_cut_leaves_nothing_of_what_was_cut() {
    let sample = sample(12, 9000, 6);
    let (name, start, end) = sample.newest().clone();
    let torn = sample.damaged(&name, |bytes| {
        bytes[end - SECTOR_BYTES..end].fill(0);
    });
    assert!(end - start > 2 * 4096, "it is longer than what comes after");
    let mut random = Random::new(3);
    let mut images = 0;
    for round in 0..200 {
        let disk = torn.copy();
        let (log, ..) = open(&disk, options()).unwrap();
        disk.set_faults(Faults {
            capture: Some(disk.operations() + round % 4),
            ..Faults::default()
        });
        let before = sample.models[sample.models.len() - 2].clone();
        let mut after = before.clone();
        log.wal.append(&after.append_one(9), 1);
        log.wal.close();
        let Some(image) = disk.captured(&mut random) else {
            continue;
        };
        images += 1;
        let found = plain(&read_log(&image).unwrap_or_else(|error| panic!("{round}: {error}")));
        assert!(found == plain(&before) || found == plain(&after), "{round}");
    }
    assert!(images > 50, "{images} images");
}

/// Seeded mutations of a whole log: no panic, and never anything but a first part of the log.
#[test]
fn mutated_logs_never_read_as_another_log() {
    let seed = seed(77);
    println!("SEED={seed}");
    let mut random = Random::new(seed);
    let sample = sample(60, 2500, seed);
    let names: Vec<String> = sample
        .disk
        .names()
        .into_iter()
        .filter(|name| name.ends_with(".seg"))
        .collect();
    let (mut refused, mut accepted) = (0, 0);
    for round in 0..3000 {
        let disk = sample.disk.copy();
        let mut zeroed = false;
        for _ in 0..1 + random.below(3) {
            let name = &names[random.below(names.len() as u64) as usize];
            let mut bytes = disk.bytes(name);
            zeroed |= mutate(&mut bytes, &mut random);
            disk.set_bytes(name, bytes);
        }
        match read_log(&disk) {
            Err(WalError::Corrupt { .. }) => refused += 1,
            Err(error) => panic!("seed {seed} round {round}: {error}"),
            Ok(found) => {
                accepted += 1;
                let found = plain(&found);
                let which = sample.models.iter().rposition(|model| *model == found);
                let lost = which.map(|which| sample.models.len() - 1 - which);
                let right = if zeroed {
                    lost.is_some()
                } else {
                    lost == Some(0)
                };
                assert!(right, "seed {seed} round {round}: lost {lost:?}");
            }
        }
    }
    assert!(
        refused > 1000 && accepted > 10,
        "{refused} refused, {accepted} accepted"
    );
}

/// Returns whether a whole sector may have become zero.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) -> bool {
    if bytes.is_empty() {
        return true;
    }
    let at = random.below(bytes.len() as u64) as usize;
    let length = (1 + random.below(3000) as usize).min(bytes.len() - at);
    match random.below(6) {
        0 | 1 => bytes[at] ^= 1 << random.below(8),
        2 => {
            let noise = random.bytes(length);
            bytes[at..at + length].copy_from_slice(&noise);
        }
        3 => {
            bytes[at..at + length].fill(0);
            return true;
        }
        4 => {
            let to = random.below((bytes.len() - length + 1) as u64) as usize;
            bytes.copy_within(at..at + length, to);
            return true;
        }
        _ => bytes.truncate(at),
    }
    false
}

/// Random bytes never make the decoder panic.
#[test]
fn random_bytes_are_only_ever_malformed() {
    use crate::wal::codec::{
        Entries, Malformed, for_each_record, put_record, read_hard_state, read_snapshot_mark,
    };
    use crate::wal::codec::{Kind, read_segment_head};
    let mut random = Random::new(seed(78));
    for _ in 0..20_000 {
        let length = random.below(120) as usize;
        let mut bytes = random.bytes(length);
        if random.below(2) == 0 {
            // A well-formed record around noise.
            let kinds = [
                Kind::SegmentHead,
                Kind::HardState,
                Kind::SnapshotMark,
                Kind::Entries,
            ];
            let (kind, noise) = (kinds[random.below(4) as usize], bytes);
            bytes = Vec::new();
            let small = |byte: u8| byte % 3;
            let noise: Vec<u8> = if random.below(2) == 0 {
                noise.into_iter().map(small).collect()
            } else {
                noise
            };
            put_record(&mut bytes, kind, 0, random.below(5), &[&noise]);
        }
        let _ = for_each_record(&bytes, |record| {
            if let Ok(entries) = Entries::read(&record) {
                for index in entries.first_index..=entries.last_index() {
                    let _ = entries.entry(index);
                }
            }
            let _ = (
                read_hard_state(&record),
                read_snapshot_mark(&record),
                read_segment_head(&record),
            );
            Ok::<(), Malformed>(())
        });
    }
}
