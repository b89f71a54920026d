//! One pass over a line: whether it is JSON, and where the values are that rules ask for.

use super::cursor::{Cursor, KeyToken, Kind};
use super::error::{JsonFault, JsonLineError};
use super::slots::Slots;
use super::tree::{KeyId, KeyTree, NOWHERE, NodeId, ROOT};

/// So many lists and objects may stand in one another. `serde_json` allows as many.
const MAX_DEPTH: u32 = 127;

/// Reads a line into the slots.
pub(super) fn scan(line: &[u8], tree: &KeyTree, slots: &mut Slots) -> Result<(), JsonLineError> {
    slots.begin();
    let mut scan = Scan { cursor: Cursor::new(line, 0), tree, slots, depth: 0 };
    match scan.line() {
        Ok(Top::Object) if !scan.cursor.has_non_ascii() => {}
        outcome => {
            std::str::from_utf8(line)
                .map_err(|error| JsonLineError::NotUtf8 { at: error.valid_up_to() })?;
            match outcome {
                Ok(Top::Object) => {}
                Ok(Top::Other { at }) => return Err(JsonLineError::NotAnObject { at }),
                Err(reason) => {
                    return Err(JsonLineError::NotJson { at: scan.cursor.at, reason });
                }
            }
        }
    }
    slots.decode(line);
    Ok(())
}

/// What a line is.
enum Top {
    Object,
    Other { at: usize },
}

struct Scan<'s, 'l> {
    cursor: Cursor<'l>,
    tree: &'s KeyTree,
    slots: &'s mut Slots,
    depth: u32,
}

impl Scan<'_, '_> {
    fn line(&mut self) -> Result<Top, JsonFault> {
        self.cursor.expect()?;
        let at = self.cursor.at;
        let kind = self.value(ROOT)?;
        if self.cursor.peek().is_some() {
            return Err(JsonFault::TrailingCharacters);
        }
        Ok(if kind == Kind::Object { Top::Object } else { Top::Other { at } })
    }

    /// Moves past the value that begins here. If it is an object, its keys are looked up in `node`.
    #[inline(always)]
    fn value(&mut self, node: NodeId) -> Result<Kind, JsonFault> {
        match self.cursor.line.get(self.cursor.at) {
            Some(b'{') => self.nested(|scan| scan.object(node)),
            Some(b'[') => self.nested(Self::array),
            _ => self.cursor.scalar(),
        }
    }

    fn nested(
        &mut self,
        container: impl FnOnce(&mut Self) -> Result<Kind, JsonFault>,
    ) -> Result<Kind, JsonFault> {
        if self.depth == MAX_DEPTH {
            return Err(JsonFault::TooDeep);
        }
        self.depth += 1;
        self.cursor.at += 1;
        let kind = container(self)?;
        self.depth -= 1;
        Ok(kind)
    }

    /// Moves past the rest of a list, from behind its bracket.
    fn array(&mut self) -> Result<Kind, JsonFault> {
        if self.cursor.expect()? == b']' {
            self.cursor.at += 1;
            return Ok(Kind::Array);
        }
        loop {
            self.value(NOWHERE)?;
            let next = self.cursor.expect()?;
            match next {
                b',' | b']' => self.cursor.at += 1,
                _ => return Err(JsonFault::ExpectedCommaOrBracket),
            }
            if next == b']' {
                return Ok(Kind::Array);
            }
            self.cursor.expect()?;
        }
    }

    /// Moves past the rest of an object, from behind its brace.
    fn object(&mut self, node: NodeId) -> Result<Kind, JsonFault> {
        let mut next = self.cursor.expect()?;
        if next == b'}' {
            self.cursor.at += 1;
            return Ok(Kind::Object);
        }
        loop {
            if next != b'"' {
                return Err(JsonFault::ExpectedKey);
            }
            self.member(node)?;
            next = self.cursor.expect()?;
            match next {
                b',' | b'}' => self.cursor.at += 1,
                _ => return Err(JsonFault::ExpectedCommaOrBrace),
            }
            if next == b'}' {
                return Ok(Kind::Object);
            }
            next = self.cursor.expect()?;
        }
    }

    /// Moves past a key and its value, and notes where the value is if anything asks for it.
    #[inline]
    fn member(&mut self, node: NodeId) -> Result<(), JsonFault> {
        let token = self.cursor.key()?;
        if self.cursor.expect()? != b':' {
            return Err(JsonFault::ExpectedColon);
        }
        self.cursor.at += 1;
        self.cursor.expect()?;
        let start = self.cursor.at;
        match self.key(node, token) {
            None => {
                self.value(NOWHERE)?;
            }
            Some(key) => {
                let kind = self.value(self.tree.child(key))?;
                self.slots.put(key, kind, start, self.cursor.at);
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn key(&mut self, node: NodeId, token: KeyToken) -> Option<KeyId> {
        if node == NOWHERE {
            return None;
        }
        let name = &self.cursor.line[token.start..token.end];
        if token.escaped {
            let tree = self.tree;
            return self.slots.with_decoded_key(name, |name| tree.find_name(node, name));
        }
        self.tree.find(node, token.hash, name)
    }
}
