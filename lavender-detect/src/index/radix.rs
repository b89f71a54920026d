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
    /// The bytes of the edges into the nodes, in the order of the value.
    labels: Box<[u8]>,
    /// First byte and node.
    children: Box<[(u8, u32)]>,
}

const NONE: u32 = u32::MAX;

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
            end,
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

    /// Gives `visit` every literal that the value begins (or ends) with, and whether it is the whole value.
    #[inline]
    pub(crate) fn walk(&self, value: &[u8], mut visit: impl FnMut(u32, bool)) {
        let mut rest = value;
        let next_byte = |rest: &[u8]| match self.end {
            End::Start => rest.first().copied(),
            End::Stop => rest.last().copied(),
        };
        let Some(first) = next_byte(rest) else { return };
        let mut next = self.root[usize::from(first)];
        while next != NONE {
            let node = &self.nodes[next as usize];
            let label = &self.labels[node.label.start as usize..node.label.end as usize];
            let stripped = match self.end {
                End::Start => rest.strip_prefix(label),
                End::Stop => rest.strip_suffix(label),
            };
            let Some(after) = stripped else { return };
            rest = after;
            if node.literal != NONE {
                visit(node.literal, rest.is_empty());
            }
            let Some(byte) = next_byte(rest) else { return };
            let children = &self.children[node.children.start as usize..node.children.end as usize];
            next =
                children.iter().find(|(first, _)| *first == byte).map_or(NONE, |(_, node)| *node);
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        1_024 + size_of_val(&*self.nodes) + self.labels.len() + size_of_val(&*self.children)
    }
}

/// Literals in the order of the walk, sorted, each with its number.
type Keys = [(Vec<u8>, u32)];

struct Builder<'k> {
    end: End,
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
            self.labels.extend(&first[depth..shared]);
            if self.end == End::Stop {
                self.labels[start..].reverse();
            }
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
            let value = value.as_bytes();
            let check = |tree: &Radix, fits: fn(&[u8], &[u8]) -> bool| {
                let mut found = Vec::new();
                tree.walk(value, |literal, whole| {
                    assert_eq!(whole, literals[literal as usize] == value);
                    found.push(literal as usize);
                });
                found.sort_unstable();
                let expected: Vec<_> =
                    (0..literals.len()).filter(|at| fits(value, literals[*at])).collect();
                assert_eq!(found, expected, "{}", value.escape_ascii());
            };
            check(&suffixes, |value, literal| value.ends_with(literal));
            check(&prefixes, |value, literal| value.starts_with(literal));
        }
    }
}
