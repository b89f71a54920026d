//! Texts that the kernel compares whole: short, and of ASCII in lower case.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// Why the kernel cannot compare a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextFault {
    /// It is empty.
    #[error("it is empty")]
    Empty,
    /// It is too long.
    #[error("a part of it has more than {} bytes", PreventionText::MAX_BYTES)]
    Long,
    /// It has other characters than ASCII, which fold to others than the kernel knows.
    #[error("it has other characters than ASCII")]
    NotAscii,
    /// No path is written so.
    #[error("the kernel writes no path so")]
    NoPath,
    /// It lies too deep.
    #[error("it has more than {} parts", PathText::MAX_PARTS)]
    Deep,
}

/// A text of ASCII in lower case, which the kernel compares whole. Rules compare without regard to case, so the kernel folds
/// what it compares; a text with other characters than ASCII is none of these to it, whatever it folds to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct PreventionText(Box<str>);

impl PreventionText {
    /// The most bytes of one: a key of the kernel's has 64, and whoever compares has to see that a text is longer.
    pub const MAX_BYTES: usize = 62;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PreventionText {
    type Err = TextFault;

    fn from_str(text: &str) -> Result<Self, TextFault> {
        match text.len() {
            0 => Err(TextFault::Empty),
            _ if !text.is_ascii() => Err(TextFault::NotAscii),
            _ if text.contains('\0') => Err(TextFault::NoPath),
            length if length > Self::MAX_BYTES => Err(TextFault::Long),
            _ => Ok(Self(text.to_ascii_lowercase().into())),
        }
    }
}

impl fmt::Display for PreventionText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An absolute path in parts that the kernel compares one by one.
///
/// ```
/// use lavender_core::PathText;
///
/// let path: PathText = "/tmp/Evil".parse().unwrap();
/// assert_eq!(path.parts().map(|part| part.as_str()).collect::<Vec<_>>(), ["tmp", "evil"]);
/// assert!("/".parse::<PathText>().is_err() && "/tmp/".parse::<PathText>().is_err());
/// assert!("/tmp/../evil".parse::<PathText>().is_err() && "evil".parse::<PathText>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct PathText(Box<[PreventionText]>);

impl PathText {
    /// The most parts of one.
    pub const MAX_PARTS: usize = 16;

    /// The parts, that at the root first.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = &PreventionText> {
        self.0.iter()
    }
}

impl FromStr for PathText {
    type Err = TextFault;

    fn from_str(path: &str) -> Result<Self, TextFault> {
        let rest = path.strip_prefix('/').ok_or(TextFault::NoPath)?;
        let part = |part: &str| match part {
            "" | "." | ".." => Err(TextFault::NoPath),
            part => part.parse(),
        };
        let parts: Box<[PreventionText]> = rest.split('/').map(part).collect::<Result<_, _>>()?;
        if parts.len() > Self::MAX_PARTS { Err(TextFault::Deep) } else { Ok(Self(parts)) }
    }
}

impl fmt::Display for PathText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| write!(f, "/{part}"))
    }
}
