//! Reads the lines of `/proc/self/maps` as they come, in fixed memory.

use std::ops::Range;

/// Linux's longest path, and the numbers before it.
const LINE_BYTES: usize = 4096 + 128;
const DATABASE: &[u8] = b"/data.mdb";
/// In the path of lmdb's library (`@lmdb/lmdb-<platform>/…`, or `lmdb/build/…`).
const LIBRARY: &[u8] = b"lmdb";

/// A mapped part of a file.
pub(super) struct Region {
    start: u64,
    offset: u64,
    path: [u8; LINE_BYTES],
    path_bytes: usize,
}

impl Region {
    pub fn path(&self) -> &[u8] {
        &self.path[..self.path_bytes]
    }

    /// Where in the file an address of the region is.
    pub fn file_offset(&self, address: u64) -> u64 {
        address - self.start + self.offset
    }
}

/// What a fault's addresses lie in.
pub(super) struct Search {
    address: u64,
    instruction: u64,
    stack: u64,
    line: [u8; LINE_BYTES],
    line_bytes: usize,
    /// The database's part in which `address` lies.
    pub database: Option<Region>,
    /// The program or library in which `instruction` lies; none: it was compiled by V8.
    pub code: Option<Region>,
    /// LMDB's instructions.
    pub library: Range<u64>,
    /// Where the memory ends in which the thread's stack is; 0: not known.
    pub stack_end: u64,
}

impl Search {
    /// `address`: what could not be reached; then the thread's instruction and stack pointer.
    pub fn new(address: u64, instruction: u64, stack: u64) -> Self {
        Self {
            address,
            instruction,
            stack,
            line: [0; LINE_BYTES],
            line_bytes: 0,
            database: None,
            code: None,
            library: 0..0,
            stack_end: 0,
        }
    }

    /// The next bytes of the file, which may end within a line.
    pub fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' {
                self.end_line();
                self.line_bytes = 0;
            } else if let Some(place) = self.line.get_mut(self.line_bytes) {
                *place = byte;
                self.line_bytes += 1;
            }
        }
    }

    /// `start-end rights offset device inode   path`
    fn end_line(&mut self) {
        let line = &self.line[..self.line_bytes];
        let Some((start, rest)) = number(line) else {
            return;
        };
        let Some((end, rest)) = number(rest.get(1..).unwrap_or_default()) else {
            return;
        };
        let mut fields = rest
            .splitn(6, |byte| *byte == b' ')
            .filter(|f| !f.is_empty());
        let rights = fields.next().unwrap_or_default();
        let Some((offset, _)) = fields.next().and_then(number) else {
            return;
        };
        let path = fields.nth(2).unwrap_or_default().trim_ascii_start();
        let name = path.strip_suffix(b" (deleted)").unwrap_or(path);
        let region = || {
            let mut path = [0; LINE_BYTES];
            path[..name.len()].copy_from_slice(name);
            Some(Region {
                start,
                offset,
                path,
                path_bytes: name.len(),
            })
        };
        if name.ends_with(DATABASE) && (start..end).contains(&self.address) {
            self.database = region();
        }
        if name.starts_with(b"/") && (start..end).contains(&self.instruction) {
            self.code = region();
        }
        if rights.contains(&b'x') && contains(name, LIBRARY) {
            self.library = start..end;
        }
        if (start..end).contains(&self.stack) {
            self.stack_end = end;
        }
    }
}

fn contains(whole: &[u8], part: &[u8]) -> bool {
    whole.windows(part.len()).any(|window| window == part)
}

/// A hexadecimal number at the front, and what follows it.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let digits = bytes.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let (front, rest) = bytes.split_at(digits);
    let text = core::str::from_utf8(front).ok()?;
    Some((u64::from_str_radix(text, 16).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/node
7f0000000000-7f0000400000 r--s 00200000 fe:01 1234                       /var/lib/my etcd/member/db/data.mdb
7f1000000000-7f1000001000 rw-p 00000000 00:00 0
7f2000000000-7f2000080000 r-xp 00010000 fe:01 77 /n/@lmdb/lmdb-linux-x64/node.napi.glibc.node
7f3000000000-7f3000400000 r--s 00000000 fe:01 99  /d/data.mdb (deleted)
";

    fn search(address: u64, stack: u64, chunk: usize) -> Search {
        let mut search = Search::new(address, 0x40_1000, stack);
        for bytes in MAPS.as_bytes().chunks(chunk) {
            search.feed(bytes);
        }
        search
    }

    #[test]
    fn an_address_in_a_database_is_a_place_in_its_file() {
        for chunk in [1, 7, 4096] {
            let found = search(0x7f00_0000_3010, 0, chunk);
            let region = found.database.expect("a region");
            assert_eq!(region.path(), b"/var/lib/my etcd/member/db/data.mdb");
            assert_eq!(region.file_offset(0x7f00_0000_3010), 0x20_3010);
        }
        let replaced = search(0x7f30_0000_0000, 0, 100);
        assert_eq!(replaced.database.expect("a region").path(), b"/d/data.mdb");
        assert!(search(0x7f10_0000_0800, 0, 64).database.is_none());
    }

    #[test]
    fn the_librarys_instructions_the_program_and_the_stacks_end_are_found() {
        let found = search(0, 0x7f10_0000_0800, 64);
        assert_eq!(found.library, 0x7f20_0000_0000..0x7f20_0008_0000);
        assert_eq!(found.stack_end, 0x7f10_0000_1000);
        assert_eq!(found.code.expect("a program").path(), b"/usr/bin/node");
        assert_eq!(search(0, 0x10, 64).stack_end, 0);
    }

    #[test]
    fn lines_that_are_none_or_too_long_are_passed_over() {
        let mut found = Search::new(0x10, 0x10, 0x10);
        found.feed(b"nonsense\n\n-\n00-\n00-20 r\n00000000-");
        found.feed(&[b'7'; 10_000]);
        assert_eq!(found.stack_end, 0);
        found.feed(b"\n00000000-00000020 r-xp 0 00:00 0 lmdb\n");
        assert_eq!((found.library, found.stack_end), (0..0x20, 0x20));
        assert!(found.code.is_none());
    }
}
