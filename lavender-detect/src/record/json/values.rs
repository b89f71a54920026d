//! Every scalar of a value, at any depth: what keywords are searched in.

use std::hash::{BuildHasher as _, RandomState};
use std::ops::{ControlFlow, Range};

use super::cursor::{Cursor, KeyToken};
use super::error::JsonFault;
use super::found::Found;
use super::{give_back, text};
use crate::record::FieldValue;

/// The fewest places of the table of keys.
const FEWEST_PLACES: usize = 64;

/// Gathers the scalars of a value, without those under a key that stands again later in the same object: the last
/// one counts. Costs time linear in the value, whatever its keys are: they are hashed with a secret.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// Which line's scalars these are, and of the value where in it.
    gathered: Option<(u32, usize)>,
    scalars: Vec<Scalar>,
    members: Vec<Member>,
    /// The members by object and key: open addressing, at most half full. An entry is a member's number plus one.
    table: Vec<u32>,
    /// The keys with escapes, decoded.
    keys: Vec<u8>,
    /// A decoded string, while it is shown.
    text: Vec<u8>,
    hasher: RandomState,
    objects: u32,
}

#[derive(Clone, Copy, Debug)]
struct Scalar {
    found: Found,
    /// Whether another value took its place.
    replaced: bool,
}

#[derive(Clone, Debug)]
struct Member {
    object: u32,
    key: Name,
    hash: u64,
    /// Its scalars.
    scalars: Range<usize>,
}

/// Where a key stands.
#[derive(Clone, Debug)]
enum Name {
    InLine(Range<usize>),
    Decoded(Range<usize>),
}

impl Values {
    /// Forgets what the line before left.
    pub(super) fn begin(&mut self) {
        self.gathered = None;
        give_back(&mut self.scalars);
        give_back(&mut self.members);
        give_back(&mut self.table);
        give_back(&mut self.keys);
        give_back(&mut self.text);
    }

    /// Gives `visit` every scalar of the value at this place of a line that was found to be JSON.
    pub(super) fn visit(
        &mut self,
        line: &[u8],
        stamp: u32,
        at: usize,
        visit: &mut dyn FnMut(FieldValue<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if self.gathered != Some((stamp, at)) {
            self.gather(line, at);
            self.gathered = Some((stamp, at));
        }
        let Self { scalars, text, .. } = self;
        let mut left = scalars.iter().filter(|scalar| !scalar.replaced);
        left.try_for_each(|scalar| visit(scalar.found.value_with(line, text)))
    }

    fn gather(&mut self, line: &[u8], at: usize) {
        self.scalars.clear();
        self.members.clear();
        self.keys.clear();
        self.table.clear();
        self.table.resize(FEWEST_PLACES, 0);
        self.objects = 0;
        let gathered = self.value(&mut Cursor::new(line, at));
        debug_assert_eq!(gathered, Ok(()), "the line was found to be JSON");
    }

    fn value(&mut self, cursor: &mut Cursor<'_>) -> Result<(), JsonFault> {
        match cursor.expect()? {
            b'{' => self.object(cursor),
            b'[' => {
                let element =
                    |cursor: &mut Cursor<'_>, _| self.value(cursor).map(ControlFlow::Continue);
                each_element(cursor, element).map(drop)
            }
            _ => {
                let found = scalar(cursor)?;
                self.scalars.push(Scalar { found, replaced: false });
                Ok(())
            }
        }
    }

    fn object(&mut self, cursor: &mut Cursor<'_>) -> Result<(), JsonFault> {
        let object = self.objects;
        self.objects += 1;
        cursor.at += 1;
        while cursor.expect()? != b'}' {
            if cursor.expect()? == b',' {
                cursor.at += 1;
                cursor.expect()?;
            }
            let key = cursor.key()?;
            cursor.expect()?;
            cursor.at += 1;
            let first = self.scalars.len();
            self.value(cursor)?;
            self.member(cursor.line, object, key, first..self.scalars.len());
        }
        cursor.at += 1;
        Ok(())
    }

    /// Enters a member, in the place of the one of the same key before it.
    fn member(&mut self, line: &[u8], object: u32, key: KeyToken, scalars: Range<usize>) {
        let inside = key.start..key.end;
        let key = if key.escaped {
            let start = self.keys.len();
            text::decode(&line[inside], &mut self.keys);
            Name::Decoded(start..self.keys.len())
        } else {
            Name::InLine(inside)
        };
        let hash = self.hasher.hash_one((object, name(line, &self.keys, &key)));
        let place = self.place(line, object, &key, hash);
        match self.table[place].checked_sub(1) {
            Some(before) => {
                let before = &mut self.members[before as usize];
                for scalar in &mut self.scalars[before.scalars.clone()] {
                    scalar.replaced = true;
                }
                before.scalars = scalars;
            }
            None => {
                self.members.push(Member { object, key, hash, scalars });
                self.table[place] = self.members.len() as u32;
                if self.members.len() * 2 > self.table.len() {
                    self.grow();
                }
            }
        }
    }

    /// Where the table has this key, or has room for it.
    fn place(&self, line: &[u8], object: u32, key: &Name, hash: u64) -> usize {
        let mask = self.table.len() - 1;
        let mut at = hash as usize & mask;
        while let Some(number) = self.table[at].checked_sub(1) {
            let member = &self.members[number as usize];
            if member.hash == hash
                && member.object == object
                && name(line, &self.keys, &member.key) == name(line, &self.keys, key)
            {
                break;
            }
            at = (at + 1) & mask;
        }
        at
    }

    fn grow(&mut self) {
        let places = self.table.len() * 4;
        self.table.clear();
        self.table.resize(places, 0);
        for (number, member) in (1..).zip(&self.members) {
            let mut at = member.hash as usize & (places - 1);
            while self.table[at] != 0 {
                at = (at + 1) & (places - 1);
            }
            self.table[at] = number;
        }
    }
}

fn name<'a>(line: &'a [u8], decoded: &'a [u8], name: &Name) -> &'a [u8] {
    match name {
        Name::InLine(range) => &line[range.clone()],
        Name::Decoded(range) => &decoded[range.clone()],
    }
}

/// Gives `element` the cursor at each element of the list that begins here, with the element's first byte, until it
/// breaks. It moves past the element.
pub(super) fn each_element<'l>(
    cursor: &mut Cursor<'l>,
    mut element: impl FnMut(&mut Cursor<'l>, u8) -> Result<ControlFlow<()>, JsonFault>,
) -> Result<ControlFlow<()>, JsonFault> {
    cursor.at += 1;
    loop {
        let mut next = cursor.expect()?;
        if next == b',' {
            cursor.at += 1;
            next = cursor.expect()?;
        }
        if next == b']' {
            cursor.at += 1;
            return Ok(ControlFlow::Continue(()));
        }
        if element(cursor, next)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
}

/// Moves past a scalar.
pub(super) fn scalar(cursor: &mut Cursor<'_>) -> Result<Found, JsonFault> {
    let start = cursor.at;
    let kind = cursor.scalar()?;
    Ok(Found::new(kind, start, cursor.at))
}
