//! What the kernel can look an event up by.

use std::fmt;

use serde::Serialize;

/// Something that an event has and that the kernel can look up before it reports the event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKey {
    /// The last part of a path, such as `shadow`.
    FileName(KeyText),
    /// The first part of a path or the first two, such as `etc` or `etc/cron.d`: what is there, and all below.
    Folder(KeyText),
    /// The port of this side.
    SourcePort(u16),
    /// The port of the other side.
    DestinationPort(u16),
}

impl EventKey {
    /// The key of all files with this name. `None` where it is none that can be looked up: an empty one, one of more than
    /// [`KeyText::MAX_BYTES`], or with other characters than ASCII, whose case the kernel does not know.
    pub fn file_name(name: &[u8]) -> Option<Self> {
        if name.contains(&b'/') { None } else { KeyText::new(name).map(Self::FileName) }
    }

    /// The key of all paths that begin with this text. `None` where it has not one whole part of a path.
    ///
    /// ```
    /// use lavender_core::EventKey;
    ///
    /// let key = |prefix: &str| EventKey::folder(prefix.as_bytes()).map(|key| key.to_string());
    /// assert_eq!(key("/etc/cron.d/").as_deref(), Some("/etc/cron.d/*"));
    /// assert_eq!(key("/var/spool/cron/tabs").as_deref(), Some("/var/spool/*"));
    /// assert_eq!(key("/etc/sha").as_deref(), Some("/etc/*"));
    /// assert_eq!(key("/et"), None);
    /// ```
    pub fn folder(prefix: &[u8]) -> Option<Self> {
        let rest = prefix.strip_prefix(b"/")?;
        // Behind the last slash stands a part that is not whole.
        let end = rest.iter().rposition(|byte| *byte == b'/')?;
        let mut parts = rest[..end].split(|byte| *byte == b'/');
        let first = parts.next().filter(|part| !part.is_empty())?;
        let both = parts
            .next()
            .filter(|part| !part.is_empty())
            .and_then(|second| KeyText::new(&[first, b"/", second].concat()));
        both.or_else(|| KeyText::new(first)).map(Self::Folder)
    }
}

impl fmt::Display for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileName(name) => write!(f, "*/{name}"),
            Self::Folder(folder) => write!(f, "/{folder}/*"),
            Self::SourcePort(port) => write!(f, "from port {port}"),
            Self::DestinationPort(port) => write!(f, "to port {port}"),
        }
    }
}

/// A short text of ASCII in lower case. Rules compare without regard to case, so the kernel folds before it looks up; and
/// a text with other characters, which might fold to anything, it takes for a hit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct KeyText(Box<str>);

impl KeyText {
    /// The most bytes of one: a key of the kernel's has 32, and whoever compares has to see that a text is longer.
    pub const MAX_BYTES: usize = 30;

    fn new(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii())?;
        let fits = (1..=Self::MAX_BYTES).contains(&text.len()) && !text.contains('\0');
        fits.then(|| Self(text.to_ascii_lowercase().into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
