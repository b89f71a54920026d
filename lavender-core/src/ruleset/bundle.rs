//! Rulesets as bytes. The tables are in the module's documentation.

use zstd::bulk::{compress, decompress};
use zstd::zstd_safe::get_frame_content_size;

use super::RulesetDigest;
use super::set::{MAX_FILES, MAX_TEXT_BYTES, RuleFile, Ruleset, RulesetError};

const DOMAIN: &[u8; 16] = b"lavender-ruleset";
const VERSION: u8 = 1;
const MAGIC: &[u8; 16] = b"lavender-bundle\x01";

/// The most bytes of a canonical form: all texts, and of each file the name and both lengths.
const MAX_CANONICAL_BYTES: usize = 21 + MAX_TEXT_BYTES + MAX_FILES * (1 + 255 + 4);

/// The most bytes of a bundle: what is longer is refused unread. No compression makes it longer than this.
pub const MAX_BUNDLE_BYTES: usize = MAX_CANONICAL_BYTES + (64 << 10);

/// What makes rules some eight times smaller, at some 10 ms for 4 MiB.
const LEVEL: i32 = 3;

/// Why bytes are not the ruleset that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// More bytes than any bundle has.
    #[error("{bytes} bytes are more than the {MAX_BUNDLE_BYTES} that a bundle of rules may have")]
    TooLong {
        /// How many there are.
        bytes: usize,
    },
    /// The bytes begin as no bundle does.
    #[error("the bytes do not begin as a bundle of rules does, or as one of a later version")]
    NotABundle,
    /// The compressed part cannot be read.
    #[error("the bundle of rules cannot be decompressed: {why}")]
    Compression {
        /// Why not.
        why: String,
    },
    /// What was compressed is not the form of a ruleset.
    #[error("what is in the bundle is no ruleset: the {field} is not valid")]
    Field {
        /// What is wrong.
        field: &'static str,
    },
    /// Its files are no ruleset.
    #[error(transparent)]
    Ruleset(#[from] RulesetError),
    /// It is another ruleset.
    #[error("the bundle holds the ruleset {found}, and not {wanted}")]
    Other {
        /// Which it should be.
        wanted: RulesetDigest,
        /// Which it is.
        found: RulesetDigest,
    },
}

/// The canonical form. The bounds of names and texts hold by then.
pub(super) fn canonical(files: &[RuleFile]) -> Vec<u8> {
    let of_file = |file: &RuleFile| 5 + file.name().len() + file.text().len();
    let mut out = Vec::with_capacity(21 + files.iter().map(of_file).sum::<usize>());
    out.extend_from_slice(DOMAIN);
    out.push(VERSION);
    out.extend_from_slice(&(files.len() as u32).to_be_bytes());
    for file in files {
        out.push(file.name().len() as u8);
        out.extend_from_slice(file.name().as_bytes());
        out.extend_from_slice(&(file.text().len() as u32).to_be_bytes());
        out.extend_from_slice(file.text().as_bytes());
    }
    out
}

impl Ruleset {
    /// The bundle.
    ///
    /// # Errors
    ///
    /// [`BundleError::Compression`] when there is no memory for it.
    pub fn to_bundle(&self) -> Result<Vec<u8>, BundleError> {
        let packed = compress(&canonical(self.files()), LEVEL).map_err(compression)?;
        Ok([MAGIC.as_slice(), &packed].concat())
    }

    /// Reads a bundle, from whomever it is, of the ruleset with this digest. Takes no more memory than the largest
    /// ruleset.
    ///
    /// # Errors
    ///
    /// [`BundleError`] says why it is not that ruleset.
    pub fn from_bundle(bundle: &[u8], wanted: RulesetDigest) -> Result<Self, BundleError> {
        let rules = Self::from_any_bundle(bundle)?;
        match rules.digest() {
            found if found == wanted => Ok(rules),
            found => Err(BundleError::Other { wanted, found }),
        }
    }

    /// Reads a bundle of any ruleset: for who has it from someone they trust.
    ///
    /// # Errors
    ///
    /// [`BundleError`] says why it is none.
    pub fn from_any_bundle(bundle: &[u8]) -> Result<Self, BundleError> {
        if bundle.len() > MAX_BUNDLE_BYTES {
            return Err(BundleError::TooLong { bytes: bundle.len() });
        }
        let packed = bundle.strip_prefix(MAGIC).ok_or(BundleError::NotABundle)?;
        let said = |why: &str| BundleError::Compression { why: why.to_owned() };
        let size = match get_frame_content_size(packed) {
            Ok(Some(size)) => size,
            Ok(None) => return Err(said("the frame does not say how large its content is")),
            Err(_) => return Err(said("it does not begin like a frame of zstd")),
        };
        let size = usize::try_from(size).ok().filter(|size| *size <= MAX_CANONICAL_BYTES);
        let size = size.ok_or_else(|| said("it says that it is larger than any ruleset"))?;
        read(&decompress(packed, size).map_err(compression)?)
    }
}

fn compression(error: std::io::Error) -> BundleError {
    BundleError::Compression { why: error.to_string() }
}

fn read(bytes: &[u8]) -> Result<Ruleset, BundleError> {
    let mut rest = Reader { bytes };
    if rest.take(DOMAIN.len(), "beginning")? != DOMAIN {
        return Err(BundleError::Field { field: "beginning" });
    }
    if rest.take(1, "version")? != [VERSION] {
        return Err(BundleError::Field { field: "version" });
    }
    let count = rest.number("number of files")?;
    if count > MAX_FILES {
        return Err(RulesetError::Files.into());
    }
    let mut files: Vec<RuleFile> = Vec::with_capacity(count);
    for _ in 0..count {
        let length = rest.take(1, "length of a name")?[0];
        let name = rest.text(usize::from(length), "name of a file")?;
        if files.last().is_some_and(|last| **last.name() >= *name) {
            return Err(BundleError::Field { field: "order of the files" });
        }
        let length = rest.number("length of a text")?;
        files.push(RuleFile::new(name, rest.text(length, "text of a file")?)?);
    }
    if !rest.bytes.is_empty() {
        return Err(BundleError::Field { field: "end" });
    }
    Ok(Ruleset::new(files)?)
}

/// What is not read yet.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], BundleError> {
        let split = self.bytes.split_at_checked(count);
        let (taken, rest) = split.ok_or(BundleError::Field { field })?;
        self.bytes = rest;
        Ok(taken)
    }

    fn number(&mut self, field: &'static str) -> Result<usize, BundleError> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or(BundleError::Field { field })?;
        self.bytes = rest;
        Ok(u32::from_be_bytes(*taken) as usize)
    }

    fn text(&mut self, length: usize, field: &'static str) -> Result<&'a str, BundleError> {
        std::str::from_utf8(self.take(length, field)?).map_err(|_| BundleError::Field { field })
    }
}
