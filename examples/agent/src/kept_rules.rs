//! The published rules that were taken last, on disk: the agent starts with them while the broker is away.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use lavender_core::ruleset::{MAX_BUNDLE_BYTES, Ruleset, RulesetDigest};
use lavender_core::{Error, ErrorKind, Result, TenantId};
use serde::{Deserialize, Serialize};

use crate::published::Published;
use crate::trust;

const FILE: &str = "published.bundle";

/// The first line, behind which the bundle stands. No tenant's is longer than this.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    tenant: TenantId,
    revision: u64,
    digest: RulesetDigest,
}

const MAX_HEAD_BYTES: usize = 512;

/// Where they are kept.
#[derive(Clone, Debug)]
pub struct Kept {
    folder: PathBuf,
    tenant: TenantId,
}

impl Kept {
    /// In this folder, for this tenant.
    pub fn new(folder: impl AsRef<Path>, tenant: &TenantId) -> Self {
        Self { folder: folder.as_ref().into(), tenant: tenant.clone() }
    }

    /// What is kept; `None` where nothing is, or that of another tenant.
    ///
    /// # Errors
    ///
    /// When it cannot be read, others could have changed it, or it is not what was kept.
    pub fn read(&self) -> Result<Option<Published>> {
        let path = self.folder.join(FILE);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(ErrorKind::Internal, error)),
        };
        trust::check(&path).map_err(|error| self.failed(ErrorKind::Denied, error))?;
        let mut bytes = Vec::new();
        // One byte more than there may be, so that what is too long is seen to be.
        let most = (MAX_HEAD_BYTES + MAX_BUNDLE_BYTES + 1) as u64;
        let read = file.take(most).read_to_end(&mut bytes);
        read.map_err(|error| self.failed(ErrorKind::Internal, error))?;
        let corrupt = |why: &'static str| self.failed(ErrorKind::Corrupt, why);
        let end = bytes.iter().take(MAX_HEAD_BYTES).position(|byte| *byte == b'\n');
        let end = end.ok_or_else(|| corrupt("it does not begin with a line of its own"))?;
        let head: Head = serde_json::from_slice(&bytes[..end])
            .map_err(|error| self.failed(ErrorKind::Corrupt, error))?;
        if head.tenant != self.tenant {
            return Ok(None);
        }
        let rules = Ruleset::from_bundle(&bytes[end + 1..], head.digest)
            .map_err(|error| self.failed(ErrorKind::Corrupt, error))?;
        Ok(Some(Published { revision: head.revision, rules }))
    }

    /// Keeps these in place of what is kept, in one step.
    ///
    /// # Errors
    ///
    /// When they cannot be written.
    pub fn write(&self, published: &Published) -> Result<()> {
        let failed = |error: std::io::Error| self.failed(ErrorKind::Internal, error);
        let Published { revision, rules } = published;
        let head =
            Head { tenant: self.tenant.clone(), revision: *revision, digest: rules.digest() };
        let mut bytes =
            serde_json::to_vec(&head).map_err(|error| self.failed(ErrorKind::Internal, error))?;
        bytes.push(b'\n');
        let bundle = rules.to_bundle();
        bytes.extend(bundle.map_err(|error| self.failed(ErrorKind::Internal, error))?);

        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(failed)?;
        let (path, new) = (self.folder.join(FILE), self.folder.join(format!("{FILE}.new")));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&new).map_err(failed)?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&new, &path).map_err(failed)?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    fn failed(
        &self,
        kind: ErrorKind,
        why: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error::new(kind, self.folder.join(FILE).display().to_string(), why)
    }
}
