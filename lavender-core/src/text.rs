//! Kernel strings, and how completely they were captured.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A string as the kernel has it: bytes, with no promise of UTF-8.
///
/// In memory it is lossless. It is shown lossily ([`fmt::Display`]), and serialised without loss: as a
/// plain string when it is UTF-8, as `{"base64": "…"}` otherwise. Cloning is cheap: the bytes are shared.
///
/// ```
/// use lavender_core::ByteString;
///
/// let path = ByteString::from("/etc/shadow");
/// assert!(path.ends_with(b"shadow"));
/// assert_eq!(path.to_string(), "/etc/shadow");
/// assert_eq!(ByteString::from(vec![0xff]).to_string(), "\u{fffd}");
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteString(Bytes);

impl ByteString {
    /// Wraps shared bytes without copying them.
    pub const fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// Wraps a static string.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// The bytes as they are.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text with U+FFFD in place of what is not UTF-8; borrowed when nothing has to be replaced.
    pub fn to_string_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// The shared bytes.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// What follows the last `/`: the file's own name in a path.
    pub fn file_name(&self) -> &[u8] {
        self.0.rsplit(|byte| *byte == b'/').next().unwrap_or(&[])
    }
}

impl Deref for ByteString {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for ByteString {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for ByteString {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for ByteString {
    fn from(text: String) -> Self {
        Self(text.into_bytes().into())
    }
}

impl From<Vec<u8>> for ByteString {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&[u8]> for ByteString {
    fn from(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }
}

impl From<Bytes> for ByteString {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl PartialEq<str> for ByteString {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for ByteString {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl fmt::Display for ByteString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_string_lossy())
    }
}

impl fmt::Debug for ByteString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

impl Serialize for ByteString {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ToWrite(&self.0).serialize(serializer)
    }
}

/// Bytes to be written as a [`ByteString`] of them is.
pub(crate) struct ToWrite<'a>(pub(crate) &'a [u8]);

impl Serialize for ToWrite<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("base64", &STANDARD.encode(self.0))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for ByteString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Written::deserialize(deserializer)?.0 {
            Cow::Borrowed(bytes) => Self::from(bytes),
            Cow::Owned(bytes) => Self::from(bytes),
        })
    }
}

/// The bytes of a [`ByteString`] where they are written, if they stand there as they are.
pub(crate) struct Written<'a>(pub(crate) Cow<'a, [u8]>);

impl<'de> Deserialize<'de> for Written<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrBase64;

        impl<'de> Visitor<'de> for TextOrBase64 {
            type Value = Written<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, or an object with the one key `base64`")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Written<'de>, E> {
                Ok(Written(Cow::Borrowed(text.as_bytes())))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Written<'de>, E> {
                Ok(Written(Cow::Owned(text.into())))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Written<'de>, E> {
                Ok(Written(Cow::Owned(text.into_bytes())))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Written<'de>, A::Error> {
                let Some((key, encoded)) = map.next_entry::<Cow<'_, str>, String>()? else {
                    return Err(de::Error::missing_field("base64"));
                };
                if key != "base64" {
                    return Err(de::Error::unknown_field(&key, &["base64"]));
                }
                let bytes = STANDARD.decode(encoded).map_err(de::Error::custom)?;
                Ok(Written(Cow::Owned(bytes)))
            }
        }

        deserializer.deserialize_any(TextOrBase64)
    }
}

/// How completely a field was captured.
///
/// Rules see this: a rule that depends on a field that is not whole says `undetermined` and not `no match`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "provenance", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Provenance {
    /// The whole value, as the kernel had it when the event happened.
    #[default]
    Complete,
    /// Cut: the value is a prefix (for a path: a suffix) of what was there.
    Truncated {
        /// What the length would have been, in bytes; 0 when even that is not known.
        true_length: u32,
    },
    /// The kernel could not read it; the value is empty.
    Unreadable,
    /// Read from `/proc` some time after the fact: the process may have changed it since.
    FromProc,
}

impl Provenance {
    /// Whether the value can be relied upon to be all there was: [`Complete`](Self::Complete) or
    /// [`FromProc`](Self::FromProc).
    pub const fn is_whole(self) -> bool {
        matches!(self, Self::Complete | Self::FromProc)
    }
}

/// A captured value with its [`Provenance`].
///
/// Serialised as the bare value when it is complete, as `{"value": …, "provenance": "truncated", …}`
/// otherwise.
///
/// ```
/// use lavender_core::{ByteString, Captured, Provenance};
///
/// let whole = Captured::complete(ByteString::from("/bin/true"));
/// assert!(whole.is_whole());
///
/// let cut = Captured::new(ByteString::from("/very/lo"), Provenance::Truncated { true_length: 90 });
/// assert!(!cut.is_whole());
/// assert_eq!(cut.value, "/very/lo");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Captured<T> {
    /// The value, as far as it was captured.
    pub value: T,
    /// How far that is.
    pub provenance: Provenance,
}

impl<T> Captured<T> {
    /// A value and how it was captured.
    pub const fn new(value: T, provenance: Provenance) -> Self {
        Self { value, provenance }
    }

    /// A value that is all there was.
    pub const fn complete(value: T) -> Self {
        Self::new(value, Provenance::Complete)
    }

    /// Whether the value is all there was. See [`Provenance::is_whole`].
    pub const fn is_whole(&self) -> bool {
        self.provenance.is_whole()
    }
}

impl<T: Default> Captured<T> {
    /// Nothing, because it could not be read.
    pub fn unreadable() -> Self {
        Self::new(T::default(), Provenance::Unreadable)
    }
}

impl<T: Serialize> Serialize for Captured<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = match self.provenance {
            Provenance::Complete => return self.value.serialize(serializer),
            _ => serializer.serialize_map(None)?,
        };
        map.serialize_entry("value", &self.value)?;
        match self.provenance {
            Provenance::Complete => {}
            Provenance::Truncated { true_length } => {
                map.serialize_entry("provenance", "truncated")?;
                map.serialize_entry("true_length", &true_length)?;
            }
            Provenance::Unreadable => map.serialize_entry("provenance", "unreadable")?,
            Provenance::FromProc => map.serialize_entry("provenance", "from_proc")?,
        }
        map.end()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Captured<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MarkedOrBare(PhantomData))
    }
}

/// Reads a bare value as it comes. Only an object, which may be either, is read into memory and tried as both: text and
/// lists are nearly all there is, and would take three times as long.
struct MarkedOrBare<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> MarkedOrBare<T> {
    fn bare<E: de::Error, V: IntoDeserializer<'de, E>>(value: V) -> Result<Captured<T>, E> {
        T::deserialize(value.into_deserializer()).map(Captured::complete)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for MarkedOrBare<T> {
    type Value = Captured<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, or an object with the keys `value` and `provenance`")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        Self::bare(value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        Self::bare(value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        Self::bare(value)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        Self::bare(value)
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        T::deserialize(BorrowedStrDeserializer::new(text)).map(Captured::complete)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Self::bare(text)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Self::bare(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        T::deserialize(SeqAccessDeserializer::new(seq)).map(Captured::complete)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        // Marked first: a bare value never has both keys, and `ByteString` refuses the object.
        #[derive(Deserialize)]
        struct Marked<T> {
            value: T,
            #[serde(flatten)]
            provenance: Provenance,
        }

        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form<T> {
            Marked(Marked<T>),
            Bare(T),
        }

        Ok(match Form::deserialize(MapAccessDeserializer::new(map))? {
            Form::Marked(Marked { value, provenance }) => Captured::new(value, provenance),
            Form::Bare(value) => Captured::complete(value),
        })
    }
}
