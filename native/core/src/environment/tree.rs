//! Walks the trees of a file. Each page may be reached once, and no free page may be reached.

use super::page::{HEADER_BYTES, Kind, Meta, Node, Page, Place, Tree, Value, u64_at};
use super::{Fault, damaged};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// No tree of LMDB is deeper.
const DEPTH_MAX: u16 = 32;
/// Of the tree of free pages: its keys are numbers.
const INTEGER_KEY: u16 = 0x08;
/// lmdb-js's own mark of a tree whose keys it compares; the order is that of the bytes.
const TREE_FLAGS: u16 = 0x100;

type Visit<'a> = dyn FnMut(&[u8], &Value) -> Result<(), Fault> + 'a;

pub struct Walk<'f> {
    file: &'f File,
    page_bytes: usize,
    last_page: u64,
    /// One bit a page.
    reached: Vec<u64>,
    overflow: Vec<u8>,
}

/// What is known of the tree under way.
struct Progress<'t> {
    name: &'t str,
    tree: &'t Tree,
    is_integer: bool,
    found: Tree,
    last_key: Option<Vec<u8>>,
    /// No key from here on may be less.
    low_key: Vec<u8>,
}

impl Progress<'_> {
    fn is_less(&self, a: &[u8], b: &[u8]) -> bool {
        if self.is_integer && a.len() == 8 && b.len() == 8 {
            return u64_at(a, 0) < u64_at(b, 0);
        }
        a < b
    }

    fn key(&mut self, key: &[u8], page: u64) -> Result<(), Fault> {
        let follows = self
            .last_key
            .as_ref()
            .is_none_or(|last| self.is_less(last, key));
        let fits = self.low_key.is_empty() || !self.is_less(key, &self.low_key);
        if key.is_empty() || !follows || !fits || (self.is_integer && key.len() != 8) {
            return damaged(format!(
                "the key \"{}\" on page {page} of bucket \"{}\" is out of order",
                key.escape_ascii(),
                self.name
            ));
        }
        let last = self.last_key.get_or_insert_default();
        last.clear();
        last.extend_from_slice(key);
        Ok(())
    }
}

impl<'f> Walk<'f> {
    pub fn new(file: &'f File, meta: &Meta) -> Self {
        Self {
            file,
            page_bytes: meta.page_bytes,
            last_page: meta.last_page,
            reached: Vec::new(),
            overflow: Vec::new(),
        }
    }

    /// Visits the entries of a tree in order.
    pub fn tree(&mut self, name: &str, tree: &Tree, visit: &mut Visit) -> Result<(), Fault> {
        let is_integer = tree.flags & INTEGER_KEY != 0;
        let flags_fit = if name == "free pages" {
            is_integer
        } else {
            tree.flags & !TREE_FLAGS == 0
        };
        if !flags_fit || tree.depth > DEPTH_MAX {
            return damaged(format!(
                "bucket \"{name}\" has flags {:#x} and depth {}",
                tree.flags, tree.depth
            ));
        }
        let found = Tree {
            branches: 0,
            leaves: 0,
            overflows: 0,
            entries: 0,
            ..tree.clone()
        };
        let mut progress = Progress {
            name,
            tree,
            is_integer,
            found,
            last_key: None,
            low_key: Vec::new(),
        };
        if let Some(root) = tree.root {
            self.page(&mut progress, root, 1, visit)?;
        }
        if progress.found == *tree && (tree.root.is_some() || tree.depth == 0) {
            return Ok(());
        }
        damaged(format!(
            "bucket \"{name}\" is {:?}, written was {tree:?}",
            progress.found
        ))
    }

    fn page(
        &mut self,
        progress: &mut Progress,
        number: u64,
        depth: u16,
        visit: &mut Visit,
    ) -> Result<(), Fault> {
        self.reach(number, 1)?;
        let mut bytes = vec![0; self.page_bytes];
        self.read(&mut bytes, number)?;
        let page = Page::parse(&bytes, number)?;
        let kind = if depth == progress.tree.depth {
            Kind::Leaf
        } else {
            Kind::Branch
        };
        if page.kind != kind {
            return damaged(format!(
                "page {number} of bucket \"{}\" is a {:?}",
                progress.name, page.kind
            ));
        }
        for i in 0..page.node_count() {
            let node = page.node(i)?;
            if kind == Kind::Branch {
                self.branch(progress, &node, i, depth, visit)?;
            } else {
                self.leaf(progress, &node, number, visit)?;
            }
        }
        match kind {
            Kind::Branch => progress.found.branches += 1,
            _ => progress.found.leaves += 1,
        }
        Ok(())
    }

    fn branch(
        &mut self,
        progress: &mut Progress,
        node: &Node,
        i: usize,
        depth: u16,
        visit: &mut Visit,
    ) -> Result<(), Fault> {
        if i > 0 {
            let follows = progress
                .last_key
                .as_ref()
                .is_none_or(|last| progress.is_less(last, node.key));
            if !follows {
                return damaged(format!(
                    "a branch of bucket \"{}\" does not divide its keys at \"{}\"",
                    progress.name,
                    node.key.escape_ascii()
                ));
            }
            progress.low_key = node.key.to_vec();
        }
        self.page(progress, node.child(), depth + 1, visit)
    }

    fn leaf(
        &mut self,
        progress: &mut Progress,
        node: &Node,
        page: u64,
        visit: &mut Visit,
    ) -> Result<(), Fault> {
        progress.key(node.key, page)?;
        progress.found.entries += 1;
        match node.place() {
            Some(Place::Here(value)) => visit(
                node.key,
                &Value {
                    value,
                    is_tree: false,
                },
            ),
            Some(Place::Tree(value)) => visit(
                node.key,
                &Value {
                    value,
                    is_tree: true,
                },
            ),
            Some(Place::Overflow { page, bytes }) => {
                progress.found.overflows += self.overflow(page, bytes)?;
                let value = &self.overflow[HEADER_BYTES..HEADER_BYTES + bytes];
                visit(
                    node.key,
                    &Value {
                        value,
                        is_tree: false,
                    },
                )
            }
            None => damaged(format!(
                "the entry \"{}\" on page {page} of bucket \"{}\" does not end on it",
                node.key.escape_ascii(),
                progress.name
            )),
        }
    }

    /// Reads a value of its own pages; returns how many.
    fn overflow(&mut self, number: u64, bytes: usize) -> Result<u64, Fault> {
        let pages = (HEADER_BYTES + bytes).div_ceil(self.page_bytes);
        self.reach(number, pages as u64)?;
        let mut buffer = std::mem::take(&mut self.overflow);
        buffer.resize(pages * self.page_bytes, 0);
        self.read(&mut buffer, number)?;
        let head = Page::parse(&buffer, number)?;
        let fits = head.kind == Kind::Overflow && head.pages() == pages as u64;
        self.overflow = buffer;
        if fits {
            Ok(pages as u64)
        } else {
            damaged(format!(
                "page {number} is not that of a value of {bytes} bytes"
            ))
        }
    }

    fn read(&self, bytes: &mut [u8], number: u64) -> Result<(), Fault> {
        match self
            .file
            .read_exact_at(bytes, number * self.page_bytes as u64)
        {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                damaged(format!("it ends before page {number}"))
            }
            result => Ok(result?),
        }
    }

    fn reach(&mut self, number: u64, pages: u64) -> Result<(), Fault> {
        let end = number.saturating_add(pages);
        if number < 2 || end > self.last_page.saturating_add(1) || end > self.file_pages()? {
            return damaged(format!("it names page {number}, which it does not have"));
        }
        for page in number..end {
            let (word, bit) = ((page / 64) as usize, 1 << (page % 64));
            if word >= self.reached.len() {
                self.reached.resize((word + 1) * 2, 0);
            }
            if self.reached[word] & bit != 0 {
                return damaged(format!("page {page} is used twice"));
            }
            self.reached[word] |= bit;
        }
        Ok(())
    }

    fn file_pages(&self) -> Result<u64, Fault> {
        Ok(self.file.metadata()?.len() / self.page_bytes as u64)
    }

    /// The tree of free pages: lists of page numbers, a negative number −n before a page meaning n pages from it on,
    /// zeros being room.
    pub fn free_pages(&mut self, tree: &Tree) -> Result<(), Fault> {
        let mut free: Vec<(u64, u64)> = Vec::new();
        self.tree("free pages", tree, &mut |_, node| {
            read_list(node.value, &mut free)
        })?;
        for (first, count) in free {
            let end = first.saturating_add(count);
            if first < 2 || end > self.last_page.saturating_add(1) {
                return damaged(format!(
                    "its list of free pages names page {first}, which it does not have"
                ));
            }
            for page in first..end {
                let reached = self
                    .reached
                    .get((page / 64) as usize)
                    .is_some_and(|word| word >> (page % 64) & 1 != 0);
                if reached {
                    return damaged(format!(
                        "page {page} is in use and in the list of free pages"
                    ));
                }
            }
        }
        Ok(())
    }
}

fn read_list(value: &[u8], free: &mut Vec<(u64, u64)>) -> Result<(), Fault> {
    if value.len() < 8
        || !value.len().is_multiple_of(8)
        || u64_at(value, 0) > (value.len() / 8 - 1) as u64
    {
        return damaged("its list of free pages is not readable");
    }
    let mut count = 1;
    for i in 1..=u64_at(value, 0) as usize {
        let entry = u64_at(value, i * 8).cast_signed();
        match entry {
            0 => {}
            1.. => {
                free.push((entry.cast_unsigned(), count));
                count = 1;
            }
            _ => count = entry.unsigned_abs(),
        }
    }
    Ok(())
}
