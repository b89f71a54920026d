//! Rulesets: rule files that belong together, known by what is in them.
//!
//! A [`Ruleset`] is files by name. It is known by its [`RulesetDigest`], and travels as a bundle, which may come from
//! anyone: whoever reads one gets the ruleset with the digest that they asked for, or an error. What the files say is
//! nothing to it: whether they compile, `lavender-detect` knows.
//!
//! ```
//! use lavender_core::ruleset::{RuleFile, Ruleset};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let rules = Ruleset::new([RuleFile::new("ssh/new-key.yml", "title: …\n")?])?;
//! let bundle = rules.to_bundle()?;
//! assert_eq!(Ruleset::from_bundle(&bundle, rules.digest())?, rules);
//! let other = Ruleset::new([])?;
//! assert!(Ruleset::from_bundle(&bundle, other.digest()).is_err());
//! # Ok(())
//! # }
//! ```
//!
//! # Bytes
//!
//! The canonical form, of which the digest is SHA-256. It is the only form that a ruleset has. Numbers are big-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 16 | `lavender-ruleset` |
//! | 1 | version: 1 |
//! | 4 | number of files: 0 to 4,096 |
//! | | for each file, in the order of their names as bytes, no name twice: |
//! | 1 | length of the name |
//! | 1 to 255 | the name: see [`RuleFile::new`] |
//! | 4 | length of the text |
//! | | the text, in UTF-8 |
//!
//! All texts together have at most 4 MiB. A bundle is `lavender-bundle` and the byte 1, then the canonical form as one
//! frame of zstd that says how large its content is.

#[cfg(feature = "ruleset")]
mod bundle;
mod digest;
#[cfg(feature = "ruleset")]
mod published;
#[cfg(feature = "ruleset")]
mod set;

#[cfg(feature = "ruleset")]
pub use self::bundle::{BundleError, MAX_BUNDLE_BYTES};
pub use self::digest::{DigestError, RulesetDigest};
#[cfg(feature = "ruleset")]
pub use self::published::{PublishedRuleset, PublishedRulesets};
#[cfg(feature = "ruleset")]
pub use self::set::{MAX_FILES, MAX_TEXT_BYTES, RuleFile, Ruleset, RulesetError};
