//! Power cuts at any operation: what was acknowledged is there, and the log is one that was once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::mem_disk::{Faults, MemDisk};
use super::model::{Model, Opened, create, model_of, open, options, plain};
use super::random::{Random, seed};
use crate::wal::error::WalError;

/// Appends at random until an image of the disk was taken. Returns the models after each append.
fn write(log: &Opened, random: &mut Random, start: Model, captured: &AtomicU64) -> Vec<Model> {
    let mut models = vec![start];
    while captured.load(Ordering::SeqCst) == u64::MAX && models.len() < 300 {
        let mut model = models.last().unwrap().clone();
        let token = models.len() as u64;
        log.wal.append(&model.random_append(random, 4000), token);
        if random.below(3) == 0 {
            log.follower.wait_durable(token);
        }
        if random.below(10) == 0 {
            log.wal
                .release(model.mark.as_ref().map_or(0, |mark| mark.index));
        }
        models.push(model);
    }
    models
}

/// One life of a log up to a power cut at the operation `at`, and what is left behind.
fn life(
    disk: &MemDisk,
    log: &Opened,
    start: Model,
    at: u64,
    random: &mut Random,
) -> (MemDisk, Vec<Model>, usize) {
    let acknowledged = Arc::new(AtomicU64::new(u64::MAX));
    let (follower, seen) = (log.follower.clone(), acknowledged.clone());
    disk.on_capture(Box::new(move || {
        seen.store(
            follower.acknowledged.load(Ordering::SeqCst),
            Ordering::SeqCst,
        );
    }));
    disk.set_faults(Faults {
        capture: Some(disk.operations() + at),
        ..Faults::default()
    });
    let models = write(log, random, start, &acknowledged);
    log.wal.close();
    assert!(log.wal.failure().is_none(), "{:?}", log.wal.failure());
    match disk.captured(random) {
        Some(image) => (image, models, acknowledged.load(Ordering::SeqCst) as usize),
        None => {
            let all = models.len() - 1;
            (disk.crashed(random), models, all)
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_over_many_power_cuts() {
    let seed = seed(20_261_121);
    println!("SEED={seed}");
    let mut random = Random::new(seed);
    for round in 0..60 {
        let mut disk = MemDisk::default();
        let mut log = create(&disk, options()).unwrap();
        let mut model = Model::default();
        for life_number in 0..6 {
            let at = random.below(400);
            let (image, models, acknowledged) = life(&disk, &log, model, at, &mut random);
            drop(log);
            let (next, recovered, mut replay) = open(&image, options())
                .unwrap_or_else(|e| panic!("seed {seed} round {round} life {life_number}: {e}"));
            let found = plain(&model_of(&recovered, &mut replay).unwrap());
            let which = models[acknowledged..]
                .iter()
                .position(|model| plain(model) == found);
            assert!(
                which.is_some(),
                "seed {seed} round {round} life {life_number}: acknowledged data is not there"
            );
            assert_eq!(recovered.metadata, b"member 1");
            (disk, log, model) = (image, next, found);
        }
    }
}

#[test]
fn a_power_cut_while_a_log_is_made_leaves_none_or_a_whole_one() {
    let mut random = Random::new(5);
    let mut whole = 0;
    for at in 0..12 {
        for _ in 0..20 {
            let disk = MemDisk::default();
            disk.set_faults(Faults {
                capture: Some(at),
                ..Faults::default()
            });
            create(&disk, options()).unwrap().wal.close();
            let Some(image) = disk.captured(&mut random) else {
                continue;
            };
            match open(&image, options()) {
                Ok((_, recovered, _)) => {
                    assert_eq!(recovered.metadata, b"member 1");
                    whole += 1;
                }
                Err(WalError::Absent { .. }) => create(&image, options()).unwrap().wal.close(),
                Err(error) => panic!("cut at {at}: {error}"),
            }
        }
    }
    assert!(whole > 0);
}
