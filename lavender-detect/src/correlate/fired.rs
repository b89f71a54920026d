//! The cells that an alert was raised for.

use super::resident::allocated;

/// The cells that an alert was raised for and that elements may still come to: mostly one or none, which need no heap.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fired {
    /// One; none where it is [`NONE`].
    One(i64),
    /// Two or more.
    More(Box<[i64]>),
}

/// No time is in this cell.
const NONE: i64 = i64::MIN;

impl Default for Fired {
    fn default() -> Self {
        Self::One(NONE)
    }
}

impl Fired {
    #[inline]
    pub(crate) fn cells(&self) -> &[i64] {
        match self {
            Self::One(NONE) => &[],
            Self::One(cell) => std::slice::from_ref(cell),
            Self::More(cells) => cells,
        }
    }

    #[inline]
    pub(crate) fn has(&self, cell: i64) -> bool {
        match self {
            Self::One(one) => *one == cell,
            Self::More(cells) => cells.contains(&cell),
        }
    }

    pub(crate) fn add(&mut self, cell: i64) {
        *self = self.cells().iter().copied().chain([cell]).collect();
    }

    #[inline]
    pub(crate) fn retain(&mut self, lasts: impl Fn(i64) -> bool) {
        if !self.cells().iter().all(|cell| lasts(*cell)) {
            *self = self.cells().iter().copied().filter(|cell| lasts(*cell)).collect();
        }
    }

    /// What it takes on the heap, in bytes.
    #[inline]
    pub(crate) const fn heap_bytes(&self) -> usize {
        match self {
            Self::One(_) => 0,
            Self::More(cells) => allocated(size_of_val(&**cells)),
        }
    }
}

impl FromIterator<i64> for Fired {
    fn from_iter<I: IntoIterator<Item = i64>>(cells: I) -> Self {
        let mut cells = cells.into_iter();
        let (Some(first), second) = (cells.next(), cells.next()) else { return Self::default() };
        match second {
            None => Self::One(first),
            Some(second) => Self::More([first, second].into_iter().chain(cells).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Fired;

    #[test]
    fn takes_no_more_room_than_a_list() {
        assert_eq!(size_of::<Fired>(), size_of::<Box<[i64]>>());
    }
}
