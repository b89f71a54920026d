//! Names of users and groups, as the host gave them, for a while.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lavender_core::BootTime;

use crate::host::Host;

/// How long a name holds before it is asked for again.
const NAME_AGE: Duration = Duration::from_secs(300);

/// The most names of each sort that are kept.
const NAMES_MAX: usize = 16_384;

/// Aged by the time of the batches, so that a replay asks when the live run did.
#[derive(Debug, Default)]
pub(super) struct Names {
    users: HashMap<u32, (BootTime, Option<Arc<str>>)>,
    groups: HashMap<u32, (BootTime, Option<Arc<str>>)>,
}

impl Names {
    pub(super) fn user(
        &mut self,
        host: &mut impl Host,
        now: BootTime,
        uid: u32,
    ) -> Option<Arc<str>> {
        cached(&mut self.users, now, uid, || host.user(uid))
    }

    pub(super) fn group(
        &mut self,
        host: &mut impl Host,
        now: BootTime,
        gid: u32,
    ) -> Option<Arc<str>> {
        cached(&mut self.groups, now, gid, || host.group(gid))
    }
}

fn cached(
    names: &mut HashMap<u32, (BootTime, Option<Arc<str>>)>,
    now: BootTime,
    id: u32,
    ask: impl FnOnce() -> Option<Arc<str>>,
) -> Option<Arc<str>> {
    if let Some((asked, name)) = names.get(&id)
        && now.since(*asked) < NAME_AGE
    {
        return name.clone();
    }
    if names.len() >= NAMES_MAX {
        names.clear();
    }
    let name = ask();
    names.insert(id, (now, name.clone()));
    name
}
