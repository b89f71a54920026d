//! What the heap takes for what is asked of it.

/// What an allocation of so many bytes takes: the allocator adds a word, and rounds up to two.
pub(crate) const fn allocated(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        1..=24 => 32,
        _ => (bytes + 8).next_multiple_of(16),
    }
}
