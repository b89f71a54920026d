//! Ids that are a UUID, and are written as its text.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserializer, Serializer};
use uuid::Uuid;

macro_rules! uuid_text {
    ($name:ident, $what:literal, $accept:expr) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.hyphenated(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let refuse = |why: String| IdError::Uuid { what: $what, text: shown(text), why };
                let uuid = Uuid::parse_str(text).map_err(|error| refuse(error.to_string()))?;
                let accept: fn(&Uuid) -> Result<(), &'static str> = $accept;
                accept(&uuid).map_err(|why| refuse(why.to_owned()))?;
                Ok(Self(uuid))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::id::text::serialize(self.0, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::id::text::deserialize(deserializer)
            }
        }

        impl $name {
            /// The 128 bits of the UUID.
            pub const fn as_u128(self) -> u128 {
                self.0.as_u128()
            }
        }
    };
}

pub(crate) use uuid_text;

/// Writes the text without a copy.
pub(crate) fn serialize<S: Serializer>(uuid: Uuid, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
}

/// Reads the text where it stands: ids are a quarter of a batch's strings.
pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    struct Text<T>(PhantomData<T>);

    impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the text of a UUID")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Text(PhantomData))
}
