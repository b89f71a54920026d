//! Which groups have changed since their state was asked for.

/// Nothing is noted before somebody asks for the first time, and gets everything then; or restores what somebody has.
#[derive(Debug, Default)]
pub(crate) struct Changes(Option<Vec<u128>>);

impl Changes {
    /// Notes that a group has changed, unless its mark says that it is noted.
    pub(crate) fn note(&mut self, key: u128, mark: &mut bool) {
        if let Some(keys) = &mut self.0
            && !std::mem::replace(mark, true)
        {
            keys.push(key);
        }
    }

    /// Notes from here on, where nothing was noted so far; `there` are the groups that there are.
    pub(crate) fn begin(&mut self, there: impl Iterator<Item = u128>) {
        self.0.get_or_insert_with(|| there.collect());
    }

    /// The groups that have changed, each once; `None` for all of them. Notes from here on.
    pub(crate) fn take(&mut self) -> Option<Vec<u128>> {
        // A group that was forgotten and begun anew was noted twice.
        let mut keys = self.0.replace(Vec::new())?;
        keys.sort_unstable();
        keys.dedup();
        Some(keys)
    }
}
