//! The keys that rules ask for, as a tree: what a scan looks keys up in.

use super::text::KeyHash;
use super::value::JsonPath;

/// The number of a key of the tree. What a line holds under it goes into the slot of the same number.
pub(super) type KeyId = u32;

/// No key, no parent.
pub(super) const NO_KEY: KeyId = KeyId::MAX;

/// The keys of one object of the tree.
pub(super) type NodeId = u32;

/// The keys at the top.
pub(super) const ROOT: NodeId = 0;

/// An object in which nothing is looked for.
pub(super) const NOWHERE: NodeId = NodeId::MAX;

/// Where a field is found: its name at the top, else the end of its path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) whole: KeyId,
    /// [`NO_KEY`] where the name has no dot.
    pub(super) path: KeyId,
}

#[derive(Debug)]
pub(super) struct KeyTree {
    nodes: Vec<Node>,
    keys: Vec<Key>,
    places: Vec<Place>,
}

#[derive(Debug)]
struct Key {
    name: Box<[u8]>,
    /// The key that the object around it stands under.
    parent: KeyId,
    /// Where the keys below it are.
    child: NodeId,
}

/// Open addressing, at most half full.
#[derive(Debug, Default)]
struct Node {
    keys: Vec<KeyId>,
    table: Box<[Entry]>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u32,
    key: KeyId,
}

impl KeyTree {
    /// The tree of these paths, whose places are in their order.
    pub(super) fn new<'p>(paths: impl IntoIterator<Item = &'p JsonPath>) -> Self {
        let mut tree = Self { nodes: vec![Node::default()], keys: Vec::new(), places: Vec::new() };
        for path in paths {
            let place = Place {
                whole: tree.add(ROOT, NO_KEY, path.whole()),
                path: tree.add_steps(path.steps()),
            };
            tree.places.push(place);
        }
        tree
    }

    fn add_steps(&mut self, steps: &[Box<str>]) -> KeyId {
        steps.iter().fold(NO_KEY, |parent, step| {
            let node = self.below(parent);
            self.add(node, parent, step)
        })
    }

    /// The object under a key.
    fn below(&mut self, key: KeyId) -> NodeId {
        let Some(key) = self.keys.get_mut(key as usize) else { return ROOT };
        if key.child == NOWHERE {
            key.child = self.nodes.len() as NodeId;
            self.nodes.push(Node::default());
        }
        key.child
    }

    fn add(&mut self, node: NodeId, parent: KeyId, name: &str) -> KeyId {
        let name = name.as_bytes();
        if let Some(key) = self.find_name(node, name) {
            return key;
        }
        let key = self.keys.len() as KeyId;
        self.keys.push(Key { name: name.into(), parent, child: NOWHERE });
        let Self { nodes, keys, .. } = self;
        let node = &mut nodes[node as usize];
        node.keys.push(key);
        if node.keys.len() * 2 > node.table.len() {
            let entry = Entry { hash: 0, key: NO_KEY };
            node.table = vec![entry; node.keys.len().next_power_of_two() * 4].into();
            for key in &node.keys {
                enter(&mut node.table, KeyHash::of(&keys[*key as usize].name), *key);
            }
        } else {
            enter(&mut node.table, KeyHash::of(name), key);
        }
        key
    }

    /// The key of this name in an object.
    pub(super) fn find_name(&self, node: NodeId, name: &[u8]) -> Option<KeyId> {
        self.find(node, KeyHash::of(name), name)
    }

    /// The key of this name in an object, given its hash.
    #[inline]
    pub(super) fn find(&self, node: NodeId, hash: u32, name: &[u8]) -> Option<KeyId> {
        let table = &*self.nodes.get(node as usize)?.table;
        let mask = table.len().wrapping_sub(1);
        let mut at = hash as usize;
        loop {
            let entry = table.get(at & mask)?;
            if entry.key == NO_KEY {
                return None;
            }
            if entry.hash == hash && *self.keys[entry.key as usize].name == *name {
                return Some(entry.key);
            }
            at = at.wrapping_add(1);
        }
    }

    /// Where the keys below a key are.
    #[inline]
    pub(super) fn child(&self, key: KeyId) -> NodeId {
        self.keys[key as usize].child
    }

    /// The key that the object around a key stands under; [`NO_KEY`] at the top.
    #[inline]
    pub(super) fn parent(&self, key: KeyId) -> KeyId {
        self.keys[key as usize].parent
    }

    /// Where the path of this number is found.
    pub(super) fn place(&self, path: usize) -> Option<Place> {
        self.places.get(path).copied()
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

fn enter(table: &mut [Entry], hash: u32, key: KeyId) {
    let mask = table.len() - 1;
    let mut at = hash as usize;
    while table[at & mask].key != NO_KEY {
        at = at.wrapping_add(1);
    }
    table[at & mask] = Entry { hash, key };
}
