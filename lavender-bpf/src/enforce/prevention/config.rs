//! What is fixed before the programs are loaded.

use std::path::PathBuf;

use zerocopy::{Immutable, IntoBytes};

use super::{PreventionError, PreventionOptions};
use crate::sensor::{CGROUPS_MAX, CgroupFilter, UIDS_MAX, fill_cgroups, fill_uids};

/// `struct prevent_config`.
#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Config {
    include_count: u32,
    exclude_count: u32,
    uid_count: u32,
    dry_run: u32,
    include: [CgroupFilter; CGROUPS_MAX],
    exclude: [CgroupFilter; CGROUPS_MAX],
    uids: [u32; UIDS_MAX],
}

impl Config {
    pub(super) fn new(options: &PreventionOptions) -> Result<Self, PreventionError> {
        let mut config = Self { dry_run: options.dry_run.into(), ..Self::default() };
        config.include_count = fill_cgroups(&mut config.include, &options.included_cgroups)?;
        config.exclude_count = fill_cgroups(&mut config.exclude, &options.excluded_cgroups)?;
        config.uid_count = fill_uids(&mut config.uids, &options.included_uids)?;
        Ok(config)
    }
}

/// The control groups at which connects are looked at: what is outside of them is none of ours.
pub(super) fn cgroups(options: &PreventionOptions) -> Vec<PathBuf> {
    if options.included_cgroups.is_empty() {
        crate::host::cgroup_mount().map(PathBuf::from).into_iter().collect()
    } else {
        options.included_cgroups.clone()
    }
}
