//! What was of late, by key.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// A map that forgets its oldest when it is full.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    all: HashMap<K, V>,
    order: VecDeque<K>,
    max: usize,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    pub(super) fn new(max: usize) -> Self {
        Self { all: HashMap::new(), order: VecDeque::new(), max }
    }

    /// Adds a value, unless there is one. Whether there was none.
    pub(super) fn insert(&mut self, key: K, value: V) -> bool {
        if self.all.contains_key(&key) {
            return false;
        }
        self.all.insert(key.clone(), value);
        self.order.push_back(key);
        while self.order.len() > self.max {
            if let Some(oldest) = self.order.pop_front() {
                self.all.remove(&oldest);
            }
        }
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.all.get(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten() {
        let mut recent = Recent::new(2);
        assert_eq!(
            [recent.insert(1, 'a'), recent.insert(1, 'b'), recent.insert(2, 'c')],
            [true, false, true]
        );
        assert_eq!(recent.get(&1), Some(&'a'));
        assert!(recent.insert(3, 'd'));
        assert_eq!(recent.get(&1), None);
        assert_eq!(recent.get(&2), Some(&'c'));
        assert_eq!(recent.all.len(), 2);
    }
}
