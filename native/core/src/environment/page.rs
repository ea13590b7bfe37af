//! Pages of an LMDB file (data format 2 of lmdb-js 3.5), little-endian: a header of 24 bytes (page number, transaction,
//! padding, flags, then bounds of the free space or, of an overflow page, the count of pages), the nodes' offsets from
//! the front, the nodes from the back; offsets and bounds count from behind the header. See `struct MDB_page_header`, `MDB_node`, `MDB_db`, `MDB_meta` in its mdb.c.

use super::{Fault, damaged};
use std::fs::File;
use std::os::unix::fs::FileExt;

pub const HEADER_BYTES: usize = 24;
const META_BYTES: usize = 160;
const NODE_BYTES: usize = 8;
const TREE_BYTES: usize = 48;
const META_FLAG: u16 = 0x08;
const MAGIC: u32 = 0xbeef_c0de;
const VERSION: u16 = 2;
const NO_PAGE: u64 = u64::MAX;
/// Of a meta page: it was written before its transaction was flushed.
const OVERLAPPING_SYNC: u16 = 0x1000;
/// The last page may lie behind the end: a transaction that took pages and gave them back has not written them.
const PAGES_BEYOND_MAX: u64 = 1 << 16;
const BIG_DATA: u16 = 1;
const SUB_DATA: u16 = 2;

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// A tree's root and what is said of it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    pub flags: u16,
    pub depth: u16,
    pub branches: u64,
    pub leaves: u64,
    pub overflows: u64,
    pub entries: u64,
    pub root: Option<u64>,
}

impl Tree {
    fn read(bytes: &[u8]) -> Self {
        let root = u64_at(bytes, 40);
        Self {
            flags: u16_at(bytes, 4),
            depth: u16_at(bytes, 6),
            branches: u64_at(bytes, 8),
            leaves: u64_at(bytes, 16),
            overflows: u64_at(bytes, 24),
            entries: u64_at(bytes, 32),
            root: (root != NO_PAGE).then_some(root),
        }
    }
}

/// The state at which the file will open.
#[derive(Debug, Clone)]
pub struct Meta {
    pub page_bytes: usize,
    pub last_page: u64,
    pub free: Tree,
    pub main: Tree,
    transaction: u64,
    flags: u16,
}

impl Meta {
    /// Chooses as `mdb_env_pick_meta` does with overlapping sync and safe restore: there are two meta pages and, in the
    /// first one's second half, that of the last flush.
    pub fn choose(file: &File) -> Result<Self, Fault> {
        let first = Self::read(file, 0)?;
        let second = Self::read(file, first.page_bytes as u64)?;
        let flushed = Self::read(file, first.page_bytes as u64 / 2)?;
        if second.page_bytes != first.page_bytes || flushed.page_bytes != first.page_bytes {
            return damaged("its meta pages tell of different page sizes");
        }
        let latest = if first.transaction >= second.transaction {
            first.clone()
        } else {
            second.clone()
        };
        let safe = Self::pick(Self::pick(first, second), flushed);
        // Of one transaction, LMDB goes on with the page that is not the flushed one's: they must agree.
        if latest.transaction == safe.transaction && !latest.is_state_of(&safe) {
            return damaged("its meta pages tell of different trees for one transaction");
        }
        let file_pages = file.metadata()?.len() / safe.page_bytes as u64;
        if safe.last_page > file_pages + PAGES_BEYOND_MAX {
            return damaged(format!(
                "its last page is {}, of {file_pages}",
                safe.last_page
            ));
        }
        Ok(safe)
    }

    fn is_state_of(&self, other: &Self) -> bool {
        let same_free = Tree {
            flags: 0,
            ..self.free.clone()
        } == Tree {
            flags: 0,
            ..other.free.clone()
        };
        same_free && self.main == other.main && self.last_page == other.last_page
    }

    fn pick(a: Self, b: Self) -> Self {
        if b.transaction == 0 {
            return a;
        }
        let (latest, oldest) = if a.transaction >= b.transaction {
            (a, b)
        } else {
            (b, a)
        };
        if latest.flags & OVERLAPPING_SYNC == 0 {
            latest
        } else {
            oldest
        }
    }

    fn read(file: &File, at: u64) -> Result<Self, Fault> {
        let mut bytes = [0; META_BYTES];
        file.read_exact_at(&mut bytes, at)?;
        let body = &bytes[HEADER_BYTES..];
        if at == 0
            && (u16_at(&bytes, 18) & META_FLAG == 0
                || u32_at(body, 0) != MAGIC
                || u16_at(body, 4) != VERSION)
        {
            return damaged("its first page is not LMDB's meta page");
        }
        let page_bytes = u32_at(body, 24) as usize;
        if !(512..=65_536).contains(&page_bytes) || !page_bytes.is_power_of_two() {
            return damaged(format!("a meta page tells of pages of {page_bytes} bytes"));
        }
        let free = Tree::read(&body[24..]);
        Ok(Self {
            page_bytes,
            last_page: u64_at(body, 24 + 2 * TREE_BYTES),
            main: Tree::read(&body[24 + TREE_BYTES..]),
            transaction: u64_at(body, 32 + 2 * TREE_BYTES),
            flags: free.flags,
            free,
        })
    }
}

/// What a page is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Branch,
    Leaf,
    Overflow,
}

/// A page as it was read, with a sound header.
pub struct Page<'a> {
    bytes: &'a [u8],
    pub kind: Kind,
    pub number: u64,
}

/// A node of a branch or leaf, within its page.
pub struct Node<'a> {
    pub key: &'a [u8],
    low: u32,
    flags: u16,
    data: &'a [u8],
}

/// Where a leaf's value is.
pub enum Place<'a> {
    Here(&'a [u8]),
    Tree(&'a [u8]),
    /// On so many bytes of overflow pages from this page on.
    Overflow {
        page: u64,
        bytes: usize,
    },
}

impl<'a> Page<'a> {
    pub fn parse(bytes: &'a [u8], number: u64) -> Result<Self, Fault> {
        let kind = match u16_at(bytes, 18) & 0x6f {
            0x01 => Kind::Branch,
            0x02 => Kind::Leaf,
            0x04 => Kind::Overflow,
            other => return damaged(format!("page {number} is of kind {other:#x}")),
        };
        if u64_at(bytes, 0) != number {
            return damaged(format!(
                "page {number} says that it is page {}",
                u64_at(bytes, 0)
            ));
        }
        let page = Self {
            bytes,
            kind,
            number,
        };
        let (lower, upper) = (u16_at(bytes, 20) as usize, u16_at(bytes, 22) as usize);
        let sound =
            lower.is_multiple_of(2) && lower <= upper && upper <= bytes.len() - HEADER_BYTES;
        if kind != Kind::Overflow && !sound {
            return damaged(format!(
                "page {number} has its free space from {lower} to {upper}"
            ));
        }
        Ok(page)
    }

    /// Of an overflow page: how many there are.
    pub fn pages(&self) -> u64 {
        u32_at(self.bytes, 20).into()
    }

    pub fn node_count(&self) -> usize {
        u16_at(self.bytes, 20) as usize / 2
    }

    pub fn node(&self, i: usize) -> Result<Node<'a>, Fault> {
        let at = u16_at(self.bytes, HEADER_BYTES + 2 * i) as usize;
        let upper = u16_at(self.bytes, 22) as usize;
        let body = &self.bytes[HEADER_BYTES..];
        let Some(bytes) = body
            .get(at..)
            .filter(|bytes| at >= upper && bytes.len() >= NODE_BYTES)
        else {
            return damaged(format!("node {i} of page {} is at {at}", self.number));
        };
        let key_bytes = u16_at(bytes, 6) as usize;
        let Some(key) = bytes.get(NODE_BYTES..NODE_BYTES + key_bytes) else {
            return damaged(format!(
                "node {i} of page {} has a key of {key_bytes} bytes",
                self.number
            ));
        };
        Ok(Node {
            key,
            low: u32_at(bytes, 0),
            flags: u16_at(bytes, 4),
            data: &bytes[NODE_BYTES + key_bytes..],
        })
    }
}

impl<'a> Node<'a> {
    /// Of a branch: the page below.
    pub fn child(&self) -> u64 {
        u64::from(self.low) | u64::from(self.flags) << 32
    }

    /// Of a leaf.
    pub fn place(&self) -> Option<Place<'a>> {
        let size = self.low as usize;
        match self.flags {
            0 => self.data.get(..size).map(Place::Here),
            SUB_DATA => self
                .data
                .get(..size)
                .filter(|data| data.len() == TREE_BYTES)
                .map(Place::Tree),
            BIG_DATA => {
                let at = self.data.get(..24)?;
                Some(Place::Overflow {
                    page: u64_at(at, 0),
                    bytes: size,
                })
            }
            _ => None,
        }
    }
}

/// An entry of a leaf as its visitor gets it.
pub struct Value<'a> {
    pub value: &'a [u8],
    pub is_tree: bool,
}

impl Value<'_> {
    /// What stands in the main tree.
    pub fn tree(&self) -> Result<Tree, Fault> {
        if self.is_tree {
            Ok(Tree::read(self.value))
        } else {
            damaged("the main tree has an entry that is no database")
        }
    }
}
