//! Tests of the whole log on a disk in memory.

mod crash;
mod damage;
mod log;
mod mem_disk;
mod model;
mod random;
