//! The file that holds the signing key: made once, read at the start.

use std::fs::OpenOptions;
use std::io::{Error, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use lavender_core::command::{KeyId, Signer, SigningError};
use zeroize::Zeroizing;

use crate::access::{hex, unhex};

/// The longest file that is read: an id and 64 digits are shorter.
const FILE_MAX: u64 = 1_024;

/// Why there is no signing key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be made: one that is there is not overwritten.
    #[error("signing key {}: it cannot be written: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: Error,
    },
    /// The file cannot be read.
    #[error("signing key {}: it cannot be read: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: Error,
    },
    /// Others may read the file.
    #[error("signing key {}: others may read it; say `chmod 600`, or make a new key", path.display())]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// The file holds something else.
    #[error(
        "signing key {}: it holds no signing key; make one by `keys generate --id ID FILE`",
        path.display()
    )]
    Invalid {
        /// The file.
        path: PathBuf,
    },
    /// None could be made.
    #[error(transparent)]
    Signing(#[from] SigningError),
}

/// Makes a key and the file that holds it, for its owner alone. A file that is there stays as it is.
///
/// # Errors
///
/// When no key can be made or kept.
pub fn generate(id: KeyId, path: &Path) -> Result<Signer, KeyError> {
    let signer = Signer::generate(id)?;
    let secret = Zeroizing::new(hex(&*signer.secret()));
    let text = Zeroizing::new(format!("{} {}\n", signer.key(), *secret));
    let fail = |error| KeyError::Write { path: path.to_owned(), error };
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(fail)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)?;
    Ok(signer)
}

/// What the agents' configuration has to say to take commands of a key.
pub fn agent_configuration(signer: &Signer) -> String {
    let (key, public_key) = (signer.key(), hex(&signer.public_key()));
    format!("[commands]\nkeys = [{{ id = \"{key}\", public_key = \"{public_key}\" }}]\n")
}

/// Reads the key that [`generate`] made.
///
/// # Errors
///
/// When it cannot be read, holds no key, or others may read it.
pub fn load(path: &Path) -> Result<Signer, KeyError> {
    let fail = |error| KeyError::Read { path: path.to_owned(), error };
    let file = OpenOptions::new().read(true).open(path).map_err(fail)?;
    if file.metadata().map_err(fail)?.permissions().mode() & 0o077 != 0 {
        return Err(KeyError::Open { path: path.to_owned() });
    }
    let mut text = Zeroizing::new(String::with_capacity(FILE_MAX as usize));
    file.take(FILE_MAX).read_to_string(&mut text).map_err(fail)?;
    let read = || {
        let (id, secret) = text.trim_end().split_once(' ')?;
        let secret = Zeroizing::new(unhex::<32>(secret)?);
        Some(Signer::from_secret(KeyId::new(id).ok()?, &secret))
    };
    read().ok_or_else(|| KeyError::Invalid { path: path.to_owned() })
}
