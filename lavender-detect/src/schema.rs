//! Field names as numbers.

use std::collections::HashMap;
use std::sync::Arc;

use crate::event::EventField;

/// The number of a field name in a rule set.
///
/// The names of [`EventField`] have the same numbers in every rule set; those that only rules mention follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldId(pub(crate) u16);

impl FieldId {
    /// The number.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Some of the fields of a rule set.
#[derive(Clone, Debug, Default)]
pub(crate) struct FieldSet {
    words: Box<[u64]>,
}

impl FieldSet {
    /// Whether a field is one of them.
    #[inline]
    pub(crate) fn contains(&self, field: FieldId) -> bool {
        let word = self.words.get(field.index() / 64);
        word.is_some_and(|word| word >> (field.index() % 64) & 1 == 1)
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.words)
    }
}

impl FromIterator<FieldId> for FieldSet {
    fn from_iter<T: IntoIterator<Item = FieldId>>(fields: T) -> Self {
        let mut words = Vec::new();
        for field in fields {
            let at = field.index() / 64;
            words.resize(words.len().max(at + 1), 0);
            words[at] |= 1 << (field.index() % 64);
        }
        Self { words: words.into() }
    }
}

/// The field names that a rule set knows, and their numbers.
#[derive(Clone, Debug)]
pub struct Fields {
    names: Vec<Arc<str>>,
    ids: HashMap<Arc<str>, FieldId>,
}

impl Fields {
    pub(crate) fn new() -> Self {
        let mut fields = Self { names: Vec::new(), ids: HashMap::new() };
        for field in EventField::ALL {
            fields.intern(field.name());
        }
        fields
    }

    /// The number of a name, given out when it is new. `None` when there are more names than numbers.
    pub(crate) fn intern(&mut self, name: &str) -> Option<FieldId> {
        if let Some(id) = self.ids.get(name) {
            return Some(*id);
        }
        let id = FieldId(u16::try_from(self.names.len()).ok()?);
        let name: Arc<str> = name.into();
        self.names.push(Arc::clone(&name));
        self.ids.insert(name, id);
        Some(id)
    }

    /// The number of a name, if any rule asks for it.
    pub fn id(&self, name: &str) -> Option<FieldId> {
        self.ids.get(name).copied()
    }

    /// The name behind a number of this rule set.
    pub fn name(&self, id: FieldId) -> &Arc<str> {
        // Ids are only made by `intern`; one from another rule set names its last field at worst.
        &self.names[id.index().min(self.names.len() - 1)]
    }

    /// Every name with its number.
    pub fn iter(&self) -> impl Iterator<Item = (FieldId, &Arc<str>)> {
        self.names.iter().enumerate().map(|(index, name)| (FieldId(index as u16), name))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none: never, since Lavender's own are always there.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}
