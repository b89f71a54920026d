//! Texts of events, in buffers that are used again once nobody has the text any more.
//!
//! A text is shared bytes like any other ([`Bytes`]): whoever has it may keep it for as long as it is wanted. Each has a
//! buffer of its own, at the most twice as long as asked for, so that a text that is kept keeps no others.

use bytes::{Bytes, BytesMut};
use lavender_core::ByteString;

use crate::lent::Lent;

/// The size of the smallest buffers, in bytes. Most paths fit.
const SMALLEST_BYTES: usize = 64;

/// Each size is twice the one before: up to 128 KiB, for the arguments of a failed exec, which are written twice.
const SIZES: usize = 12;

/// The most bytes of buffers of one size that are waited for or kept. Beyond it, whoever lets go of a text last frees it.
const SIZE_MAX_BYTES: usize = 2 << 20;

/// Where texts of events are written.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    sizes: [Buffers; SIZES],
}

/// Buffers of one size.
#[derive(Debug, Default)]
struct Buffers {
    lent: Lent<BytesMut>,
    free: Vec<BytesMut>,
}

impl Texts {
    /// Takes back the buffers of texts that nobody has any more.
    pub(crate) fn take_back(&mut self) {
        for (index, Buffers { lent, free }) in self.sizes.iter_mut().enumerate() {
            let size = SMALLEST_BYTES << index;
            lent.take_back(|buffer| buffer.try_reclaim(size), |buffer| free.push(buffer));
        }
    }

    /// The same bytes.
    pub(crate) fn copy(&mut self, text: &[u8]) -> ByteString {
        self.write(text.len(), |buffer| buffer.extend_from_slice(text))
    }

    /// What is written into an empty buffer with room for so many bytes.
    pub(crate) fn write(
        &mut self,
        capacity: usize,
        write: impl FnOnce(&mut BytesMut),
    ) -> ByteString {
        let text = self.with(capacity, |buffer| {
            write(buffer);
            buffer.split().freeze()
        });
        // Without a reference to the buffer where there is nothing to refer to.
        ByteString::new(if text.is_empty() { Bytes::new() } else { text })
    }

    /// What is made with an empty buffer with room for so many bytes, by splitting off what was written there.
    pub(crate) fn with<T>(&mut self, capacity: usize, make: impl FnOnce(&mut BytesMut) -> T) -> T {
        let size = capacity.max(SMALLEST_BYTES).next_power_of_two();
        let index = (size / SMALLEST_BYTES).trailing_zeros() as usize;
        let Some(buffers) = self.sizes.get_mut(index) else {
            return make(&mut BytesMut::with_capacity(capacity));
        };
        let mut buffer = buffers.take(size);
        let made = make(&mut buffer);
        buffers.keep(buffer, size);
        made
    }

    /// How many bytes the buffers have that are waited for or kept.
    pub(crate) fn bytes(&self) -> usize {
        let bytes = |(index, buffers): (usize, &Buffers)| buffers.len() * (SMALLEST_BYTES << index);
        self.sizes.iter().enumerate().map(bytes).sum()
    }
}

impl Buffers {
    fn len(&self) -> usize {
        self.lent.len() + self.free.len()
    }

    fn take(&mut self, size: usize) -> BytesMut {
        self.free.pop().unwrap_or_else(|| BytesMut::with_capacity(size))
    }

    fn keep(&mut self, mut buffer: BytesMut, size: usize) {
        buffer.clear();
        if self.len() >= SIZE_MAX_BYTES / size && self.free.pop().is_none() {
            self.lent.forget(1);
        }
        self.lent.push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_once_its_text_is_gone() {
        let mut texts = Texts::default();
        let first = texts.copy(b"/etc/passwd");
        let at = first.as_ptr();
        let second = texts.copy(b"/etc/shadow");
        assert_ne!(second.as_ptr(), at);
        let kept = first.clone();
        drop(first);
        texts.take_back();
        assert_ne!(texts.copy(b"/etc/group").as_ptr(), at);
        assert_eq!(kept, "/etc/passwd");
        drop(kept);
        texts.take_back();
        let addresses = [(); 3].map(|()| texts.copy(b"x"));
        assert!(addresses.iter().any(|text| text.as_ptr() == at));
        assert_eq!(second, "/etc/shadow");
    }

    #[test]
    fn it_never_keeps_more_than_it_may() {
        let mut texts = Texts::default();
        let long = vec![b'x'; 40_000];
        for length in [1, 64, 65, 4_000, 40_000] {
            let kept: Vec<ByteString> =
                (0..20_000).map(|_| texts.copy(&long[..length.min(4_000)])).collect();
            assert!(kept.iter().all(|text| text.len() == length.min(4_000)));
        }
        let kept: Vec<ByteString> = (0..40).map(|_| texts.copy(&long)).collect();
        assert!(kept.iter().all(|text| **text == *long));
        assert!(texts.bytes() <= SIZES * SIZE_MAX_BYTES);
    }

    #[test]
    fn what_is_longer_than_any_buffer_is_whole() {
        let mut texts = Texts::default();
        let long = vec![b'x'; 200_000];
        assert_eq!(*texts.copy(&long), *long);
        assert_eq!(texts.bytes(), 0);
        assert!(texts.copy(b"").is_empty());
    }
}
