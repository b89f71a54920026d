//! Which groups have changed since their state was asked for.

use super::groups::Group;

/// A group's key, and the place where it is, or was.
type Noted = (u128, u32);

/// Nothing is noted before somebody asks for the first time, and gets everything then; or restores what somebody has.
#[derive(Debug, Default)]
pub(super) struct Changes(Option<Vec<Noted>>);

impl Changes {
    /// Notes that the group in a place has changed, unless its mark says that it is noted.
    #[inline]
    pub(super) fn note(&mut self, group: &mut Group, place: u32) {
        if let Some(noted) = &mut self.0
            && !std::mem::replace(&mut group.changed, true)
        {
            noted.push((group.key(), place));
        }
    }

    /// Notes from here on, where nothing was noted so far; `there` are the groups that there are.
    pub(super) fn begin(&mut self, there: impl Iterator<Item = Noted>) {
        self.0.get_or_insert_with(|| there.collect());
    }

    /// The groups that have changed, sorted; `None` for all of them. Notes from here on. One that was forgotten and begun
    /// anew is there for each of its places.
    pub(super) fn take(&mut self) -> Option<Vec<Noted>> {
        let mut noted = self.0.replace(Vec::new())?;
        noted.sort_unstable();
        noted.dedup();
        Some(noted)
    }
}
