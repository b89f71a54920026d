//! Rule files that belong together.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::RulesetDigest;
use super::bundle::canonical;
use crate::id::shown;

/// The most files of a ruleset: all public Sigma rules for every system are some 3,500.
pub const MAX_FILES: usize = 4_096;

/// The most bytes that the texts of a ruleset have together.
pub const MAX_TEXT_BYTES: usize = 4 << 20;

/// The longest name of a file, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// Why files are no ruleset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RulesetError {
    /// A name that none of its files may have.
    #[error("`{name}` is no name of a rule file: {why}")]
    Name {
        /// The name, cut to 80 characters.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Two files have one name.
    #[error("there are two files `{name}`")]
    Twice {
        /// The name.
        name: String,
    },
    /// Too many files.
    #[error("there are more than {MAX_FILES} files")]
    Files,
    /// Too much text.
    #[error("the files have more than {MAX_TEXT_BYTES} bytes together")]
    Bytes,
}

/// A rule file: a name, and its text in YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFile {
    name: Arc<str>,
    text: Arc<str>,
}

impl RuleFile {
    /// A file. Its name is 1 to 255 bytes of UTF-8: parts between slashes, none of them empty or beginning with a dot,
    /// no backslash and no control character, and `.yml` or `.yaml` at the end.
    ///
    /// # Errors
    ///
    /// [`RulesetError::Name`].
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Result<Self, RulesetError> {
        let name = name.into();
        match fault(&name) {
            Some(why) => Err(RulesetError::Name { name: shown(&name), why }),
            None => Ok(Self { name, text: text.into() }),
        }
    }

    /// Its name.
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its text.
    pub const fn text(&self) -> &Arc<str> {
        &self.text
    }
}

fn fault(name: &str) -> Option<&'static str> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return Some("it has 1 to 255 bytes");
    }
    if name.chars().any(|character| character.is_control() || character == '\\') {
        return Some("it has no backslash and no control character");
    }
    if name.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
        return Some("no part of it is empty or begins with a dot");
    }
    if !(name.ends_with(".yml") || name.ends_with(".yaml")) {
        return Some("it ends in .yml or .yaml");
    }
    None
}

/// A set of rule files, in the order of their names, and its digest. Cloning is cheap. One without files is one, too:
/// it adds nothing to the rules of those who take it.
///
/// ```
/// use lavender_core::ruleset::{RuleFile, Ruleset};
///
/// # fn main() -> Result<(), lavender_core::ruleset::RulesetError> {
/// let (a, b) = (RuleFile::new("a.yml", "title: A")?, RuleFile::new("b.yml", "title: B")?);
/// let rules = Ruleset::new([b.clone(), a.clone()])?;
/// assert_eq!(rules.files(), [a.clone(), b.clone()]);
/// assert_eq!(rules.digest(), Ruleset::new([a, b])?.digest());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    files: Arc<[RuleFile]>,
    digest: RulesetDigest,
}

impl Ruleset {
    /// A set of these files.
    ///
    /// # Errors
    ///
    /// [`RulesetError`] when they are too many or too large, or two have one name.
    pub fn new(files: impl IntoIterator<Item = RuleFile>) -> Result<Self, RulesetError> {
        let mut sorted = BTreeMap::new();
        let mut bytes = 0;
        for file in files {
            if sorted.len() == MAX_FILES {
                return Err(RulesetError::Files);
            }
            bytes += file.text.len();
            if bytes > MAX_TEXT_BYTES {
                return Err(RulesetError::Bytes);
            }
            if let Some(file) = sorted.insert(Arc::clone(&file.name), file) {
                return Err(RulesetError::Twice { name: file.name.to_string() });
            }
        }
        let files: Arc<[RuleFile]> = sorted.into_values().collect();
        let digest = RulesetDigest::from_bytes(Sha256::digest(canonical(&files)).into());
        Ok(Self { files, digest })
    }

    /// The files, in the order of their names.
    pub fn files(&self) -> &[RuleFile] {
        &self.files
    }

    /// What it is known by.
    pub const fn digest(&self) -> RulesetDigest {
        self.digest
    }

    /// How many bytes the texts have together.
    pub fn text_bytes(&self) -> usize {
        self.files.iter().map(|file| file.text.len()).sum()
    }
}
