//! What `memory` gives back, in a process of its own: other tests would move the figures.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use etcd_core::memory::{release_heap, release_program};
use std::fs;
use std::hint::black_box;

/// Makes the program large: 8 MiB that cannot be written.
static TABLE: [u64; 1 << 20] = [7; 1 << 20];

/// KiB that are resident: "RssFile" of files, "RssAnon" of the process' own.
fn resident_kib(kind: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(kind)).unwrap();
    line.split_ascii_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

/// Reads a byte of each page of the program that cannot be written; their sum.
fn touch_program() -> u64 {
    let program = fs::read_link("/proc/self/exe").unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut sum = 0;
    for line in maps
        .lines()
        .filter(|line| line.ends_with(program.to_str().unwrap()))
    {
        let (range, rest) = line.split_once(' ').unwrap();
        if rest.starts_with("r-") {
            let (start, end) = range.split_once('-').unwrap();
            let [start, end] = [start, end].map(|text| usize::from_str_radix(text, 16).unwrap());
            for address in (start..end).step_by(4096) {
                // SAFETY: a page of the program that can be read.
                sum += u64::from(unsafe { (address as *const u8).read_volatile() });
            }
        }
    }
    sum
}

#[test]
fn gives_back_what_is_not_used() {
    assert_eq!(black_box(&TABLE)[12_345], 7);
    let sum = touch_program();
    let before = resident_kib("RssFile");
    release_program();
    let after = resident_kib("RssFile");
    assert!(
        after + 512 < before,
        "{after} KiB of the program and of libraries are still there, of {before}"
    );
    assert_eq!(touch_program(), sum, "the pages come back as they were");

    // Every sixteenth block stays, so that nothing but `release_heap` gives back what lies between.
    let mut blocks: Vec<Option<Vec<u8>>> = (0..32_000).map(|_| Some(vec![1; 1000])).collect();
    blocks
        .iter_mut()
        .enumerate()
        .filter(|(i, _)| i % 16 > 0)
        .for_each(|(_, block)| *block = None);
    let before = resident_kib("RssAnon");
    release_heap();
    let after = resident_kib("RssAnon");
    assert!(
        after + 8192 < before,
        "{after} KiB of {before} are still there"
    );
    assert!(
        blocks
            .iter()
            .flatten()
            .all(|block| block.iter().all(|&byte| byte == 1))
    );
}
