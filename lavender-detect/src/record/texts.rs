//! Texts of a record, gathered without a call for each.

/// More texts than this are asked for one by one.
const ROOM: usize = 32;

/// The texts of a record, up to 32 of them.
///
/// ```
/// use lavender_detect::Texts;
///
/// let mut texts = Texts::new();
/// assert!(texts.add(b"/usr/bin/scp", 4) && texts.add(b"-", 4));
/// assert_eq!(texts.as_slice(), [b"/usr/bin/scp"], "too short to be looked at");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Texts<'a> {
    texts: [&'a [u8]; ROOM],
    count: usize,
}

impl<'a> Texts<'a> {
    /// None yet.
    #[inline]
    pub const fn new() -> Self {
        Self { texts: [&[]; ROOM], count: 0 }
    }

    /// Adds a text, unless it is ASCII and shorter than `least` bytes. Says whether there was room.
    #[inline]
    pub fn add(&mut self, text: &'a [u8], least: usize) -> bool {
        // Folding makes only other texts than ASCII longer.
        if text.len() < least && text.is_ascii() {
            return true;
        }
        let Some(place) = self.texts.get_mut(self.count) else { return false };
        *place = text;
        self.count += 1;
        true
    }

    /// The texts, in the order that they were added in.
    #[inline]
    pub fn as_slice(&self) -> &[&'a [u8]] {
        &self.texts[..self.count]
    }
}

impl Default for Texts<'_> {
    fn default() -> Self {
        Self::new()
    }
}
