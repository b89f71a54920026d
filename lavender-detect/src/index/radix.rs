//! Literals anchored at one end of a value, in one walk.

use std::ops::Range;

/// Which end of a value the literals are anchored at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Start,
    Stop,
}

/// A radix tree: every edge holds as many bytes as no literal branches in. A walk visits as many nodes as there
/// are nested literals, and mostly ends at the first byte.
#[derive(Debug)]
pub(crate) struct Radix {
    end: End,
    /// The node for each first byte; `NONE` where no literal begins with it.
    root: Box<[u32; 256]>,
    nodes: Box<[Node]>,
    /// The bytes of the edges into the nodes, in the order of the walk.
    labels: Box<[u8]>,
    /// First byte and node.
    children: Box<[(u8, u32)]>,
}

const NONE: u32 = u32::MAX;

/// The value has a byte that is part of a longer character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotAscii;

#[derive(Debug)]
struct Node {
    label: Range<u32>,
    children: Range<u32>,
    /// The number of the literal that ends here; `NONE` when none does.
    literal: u32,
}

impl Radix {
    /// A tree of these distinct, non-empty literals, each known by its place in the list.
    pub(crate) fn new(end: End, literals: &[&[u8]]) -> Self {
        // Literals in the order of the walk, sorted, so that those under one node stand together.
        let mut keys: Vec<(Vec<u8>, u32)> = literals
            .iter()
            .enumerate()
            .map(|(number, literal)| {
                let mut key = literal.to_vec();
                if end == End::Stop {
                    key.reverse();
                }
                (key, number as u32)
            })
            .collect();
        keys.sort_unstable();
        let mut builder = Builder {
            nodes: Vec::new(),
            labels: Vec::new(),
            children: Vec::new(),
            open: Vec::new(),
        };
        let mut root = Box::new([NONE; 256]);
        for (byte, node) in builder.begin_children(&keys, 0) {
            root[usize::from(byte)] = node;
        }
        builder.finish_nodes();
        Self {
            end,
            root,
            nodes: builder.nodes.into(),
            labels: builder.labels.into(),
            children: builder.children.into(),
        }
    }

    /// Gives `visit` every literal that the value begins (or ends) with, and whether it is the whole value. The value
    /// is folded on the way.
    ///
    /// # Errors
    ///
    /// [`NotAscii`] at another byte: only a whole text can be folded then, for [`walk_folded`](Self::walk_folded).
    #[inline]
    pub(crate) fn walk(&self, value: &[u8], visit: impl FnMut(u32, bool)) -> Result<(), NotAscii> {
        let fold =
            |byte: u8| if byte.is_ascii() { Ok(byte.to_ascii_lowercase()) } else { Err(NotAscii) };
        match self.end {
            End::Start => self.walk_by(value, |rest| rest.split_first(), fold, visit),
            End::Stop => self.walk_by(value, |rest| rest.split_last(), fold, visit),
        }
    }

    /// As [`walk`](Self::walk), of a value that is folded.
    pub(crate) fn walk_folded(&self, value: &[u8], visit: impl FnMut(u32, bool)) {
        let walked: Result<(), std::convert::Infallible> = match self.end {
            End::Start => self.walk_by(value, |rest| rest.split_first(), Ok, visit),
            End::Stop => self.walk_by(value, |rest| rest.split_last(), Ok, visit),
        };
        let Ok(()) = walked;
    }

    #[inline]
    fn walk_by<E>(
        &self,
        value: &[u8],
        split: impl Fn(&[u8]) -> Option<(&u8, &[u8])>,
        fold: impl Fn(u8) -> Result<u8, E>,
        mut visit: impl FnMut(u32, bool),
    ) -> Result<(), E> {
        let mut rest = value;
        let Some((first, _)) = split(rest) else { return Ok(()) };
        let mut next = self.root[usize::from(fold(*first)?)];
        while next != NONE {
            let node = &self.nodes[next as usize];
            for expected in &self.labels[node.label.start as usize..node.label.end as usize] {
                let Some((byte, after)) = split(rest) else { return Ok(()) };
                if fold(*byte)? != *expected {
                    return Ok(());
                }
                rest = after;
            }
            if node.literal != NONE {
                visit(node.literal, rest.is_empty());
            }
            let Some((byte, _)) = split(rest) else { return Ok(()) };
            let byte = fold(*byte)?;
            let children = &self.children[node.children.start as usize..node.children.end as usize];
            next =
                children.iter().find(|(first, _)| *first == byte).map_or(NONE, |(_, node)| *node);
        }
        Ok(())
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        1_024 + size_of_val(&*self.nodes) + self.labels.len() + size_of_val(&*self.children)
    }
}

/// Literals in the order of the walk, sorted, each with its number.
type Keys = [(Vec<u8>, u32)];

struct Builder<'k> {
    nodes: Vec<Node>,
    labels: Vec<u8>,
    children: Vec<(u8, u32)>,
    /// Nodes that have a number and nothing else yet: the keys under them, and how far these agreed before. A list
    /// rather than recursion: literals that begin with each other make a tree as deep as they are many.
    open: Vec<(u32, &'k Keys, usize)>,
}

impl<'k> Builder<'k> {
    /// Numbers the nodes below a place at which all of `keys` agree on their first `depth` bytes.
    fn begin_children(&mut self, keys: &'k Keys, depth: usize) -> Vec<(u8, u32)> {
        let longer = keys.iter().position(|(key, _)| key.len() > depth).unwrap_or(keys.len());
        let groups = keys[longer..].chunk_by(|(a, _), (b, _)| a[depth] == b[depth]);
        let mut children = Vec::new();
        for group in groups {
            let number = self.nodes.len() as u32;
            self.nodes.push(Node { label: 0..0, children: 0..0, literal: NONE });
            self.open.push((number, group, depth));
            children.push((group[0].0[depth], number));
        }
        children
    }

    fn finish_nodes(&mut self) {
        while let Some((number, keys, depth)) = self.open.pop() {
            let (first, last) = (&keys[0].0, &keys[keys.len() - 1].0);
            // Sorted: what the first and the last share, all share.
            let shared = first.iter().zip(last).take_while(|(a, b)| a == b).count();
            let start = self.labels.len();
            self.labels.extend_from_slice(&first[depth..shared]);
            let label = start as u32..self.labels.len() as u32;
            let literal = if first.len() == shared { keys[0].1 } else { NONE };
            let below = self.begin_children(keys, shared);
            let start = self.children.len() as u32;
            self.children.extend(below);
            let children = start..self.children.len() as u32;
            self.nodes[number as usize] = Node { label, children, literal };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_literal_at_its_end() {
        let literals: [&[u8]; 6] = [b"/bash", b"bash", b"/sh", b"sh", b"x", b"/bin/bash"];
        let suffixes = Radix::new(End::Stop, &literals);
        let prefixes = Radix::new(End::Start, &literals);
        for value in ["/usr/bin/bash", "/bin/bash", "bash", "h", "", "xsh", "shx", "/shell"] {
            let upper = value.to_uppercase();
            let value = value.as_bytes();
            let check = |tree: &Radix, fits: fn(&[u8], &[u8]) -> bool| {
                let (mut found, mut folding) = (Vec::new(), Vec::new());
                tree.walk_folded(value, |literal, whole| {
                    assert_eq!(whole, literals[literal as usize] == value);
                    found.push(literal as usize);
                });
                tree.walk(upper.as_bytes(), |literal, _| folding.push(literal as usize)).unwrap();
                assert_eq!(found, folding);
                found.sort_unstable();
                let expected: Vec<_> =
                    (0..literals.len()).filter(|at| fits(value, literals[*at])).collect();
                assert_eq!(found, expected, "{}", value.escape_ascii());
            };
            check(&suffixes, |value, literal| value.ends_with(literal));
            check(&prefixes, |value, literal| value.starts_with(literal));
        }
    }

    #[test]
    fn says_when_it_meets_what_it_cannot_fold() {
        let tree = Radix::new(End::Stop, &[b"sh"]);
        assert_eq!(tree.walk("\u{212a}".as_bytes(), |_, _| {}), Err(NotAscii));
        assert_eq!(tree.walk("/bin/\u{17f}h".as_bytes(), |_, _| {}), Err(NotAscii));
        assert_eq!(tree.walk("é/bin/ls".as_bytes(), |_, _| {}), Ok(()));
    }
}
