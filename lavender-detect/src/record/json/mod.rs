//! JSON as records: parsed values, and lines that are never parsed whole.

mod cursor;
mod error;
mod found;
mod line;
mod number;
mod scan;
mod slots;
mod text;
mod tree;
mod value;
mod values;

pub use self::error::{JsonFault, JsonLineError};
pub use self::line::{JsonLine, JsonLines};
pub use self::value::{JsonFields, JsonRecord};

/// A buffer that one huge line made larger than this is given back with the next line.
const KEPT_BYTES: usize = 256 << 10;

/// Empties a buffer, and gives it back if it is larger than what is kept.
fn give_back<T>(buffer: &mut Vec<T>) {
    buffer.clear();
    if buffer.capacity() * size_of::<T>() > KEPT_BYTES {
        *buffer = Vec::new();
    }
}
