//! Gives memory back that the process holds and does not use.
//!
//! * [`release_program`]: pages of the program's own file. Node reads far more of it at a start (its snapshot, tables of
//!   locales, the compiler) than it runs afterwards. The pages stay in the kernel's cache; those that are needed again
//!   come back by minor faults, 64 KiB each.
//! * [`release_heap`]: what `malloc` holds free after a burst.
//!
//! On Linux with glibc; elsewhere they do nothing.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub use linux::{release_heap, release_program};

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod elsewhere {
    pub fn release_program() {}
    pub fn release_heap() {}
}
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub use elsewhere::{release_heap, release_program};

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod linux {
    use std::ffi::{c_int, c_void};
    use std::fs;
    use std::ops::Range;

    /// Gives free memory of every arena back; each arena is locked meanwhile, about 1 ms for 20 MiB.
    pub fn release_heap() {
        // SAFETY: takes no pointer, and may be called by any thread at any time.
        unsafe { libc::malloc_trim(0) };
    }

    /// Drops the program's read-only pages from the process. Threads that run meanwhile are not held.
    pub fn release_program() {
        let Ok(maps) = fs::read_to_string("/proc/self/smaps") else {
            return;
        };
        let segments = read_only_segments();
        for pages in untouched_mappings(&maps) {
            if segments
                .iter()
                .any(|segment| segment.start <= pages.start && pages.end <= segment.end)
            {
                let length = pages.end - pages.start;
                // SAFETY: the range is a segment of the program itself, which stays mapped until the process ends, is not
                // writable, and has no page that differs from the file: each comes back as it was when it is touched.
                unsafe { libc::madvise(pages.start as *mut c_void, length, libc::MADV_DONTNEED) };
            }
        }
    }

    /// Mappings of files, in what /proc/self/smaps says, that cannot be written and of which no page is the process' own
    /// (as after relocations, with a debugger's breakpoints, or with `node --use-largepages`).
    pub(super) fn untouched_mappings(maps: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let mut candidate = None;
        for line in maps.lines() {
            let mut words = line.split_ascii_whitespace();
            let first = words.next().unwrap_or("");
            if first == "Anonymous:" {
                found.extend(candidate.take().filter(|_| words.next() == Some("0")));
            } else if !first.ends_with(':') {
                let rights = words.next().unwrap_or("");
                let is_file = words.nth(3).is_some_and(|path| path.starts_with('/'));
                candidate =
                    range_of(first).filter(|_| is_file && (rights == "r--p" || rights == "r-xp"));
            }
        }
        found
    }

    /// "00400000-00b6f000".
    fn range_of(text: &str) -> Option<Range<usize>> {
        let (start, end) = text.split_once('-')?;
        Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
    }

    /// Where the program's segments lie that are not writable, in whole pages.
    fn read_only_segments() -> Vec<Range<usize>> {
        let mut segments = Vec::new();
        // SAFETY: the callback runs before this returns, and takes its last argument for what it is.
        unsafe { libc::dl_iterate_phdr(Some(first_object), (&raw mut segments).cast()) };
        segments
    }

    /// Of the objects that are loaded, the program comes first.
    unsafe extern "C" fn first_object(
        info: *mut libc::dl_phdr_info,
        _size: usize,
        segments: *mut c_void,
    ) -> c_int {
        // SAFETY: given by dl_iterate_phdr for the time of this call.
        let info = unsafe { &*info };
        // SAFETY: `read_only_segments` passes its own vector, which nothing else uses meanwhile.
        let segments = unsafe { &mut *segments.cast::<Vec<Range<usize>>>() };
        // SAFETY: the table of the program's headers has so many, and lasts as long as the program.
        let headers =
            unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
        for header in headers {
            if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0 {
                let start = info.dlpi_addr as usize + header.p_vaddr as usize;
                let end = start + header.p_memsz as usize;
                segments.push(start / PAGE_BYTES * PAGE_BYTES..end.next_multiple_of(PAGE_BYTES));
            }
        }
        1
    }

    /// The largest page of any platform, 64 KiB, may be wider than a segment's end; mappings lie within all the same.
    const PAGE_BYTES: usize = 1 << 16;
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::linux::untouched_mappings;

    const MAPS: &str = "\
00400000-00b6f000 r--p 00000000 fe:00 264 /usr/bin/node
Rss:                7348 kB
Anonymous:             0 kB
00b72000-025fe000 r-xp 00771000 fe:00 264 /usr/bin/node
Rss:               20728 kB
Anonymous:             4 kB
0563b000-0563e000 rw-p 05239000 fe:00 264 /usr/bin/node
Anonymous:             0 kB
7f5110000000-7f5110657000 r--p 00000000 00:00 0
Anonymous:             0 kB
7fff00000000-7fff00002000 r-xp 00000000 00:00 0 [vdso]
Anonymous:             0 kB
";

    #[test]
    fn takes_only_files_that_are_read_and_never_written() {
        let only = std::iter::once(0x400000..0xb6f000);
        assert!(untouched_mappings(MAPS).into_iter().eq(only));
    }
}
