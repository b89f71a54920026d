//! Containers of control groups, and what their runtimes say of them.
//!
//! A container is asked for when its first process is met. What its processes do meanwhile is told without the answer, and
//! what they do once it has come is told with it: no event waits.

use std::collections::HashMap;
use std::sync::Arc;

use lavender_core::ProcessId;
use lavender_core::event::{Container, Process, Undescribed};

use super::Assembler;
use crate::host::{ContainerDescription, Host, container, described};

/// The most control groups that are kept, and the most containers.
const CONTAINERS_MAX: usize = 16_384;

type Descriptions = HashMap<Arc<str>, Result<ContainerDescription, Undescribed>>;

/// What is known of control groups and containers.
#[derive(Debug, Default)]
pub(super) struct Containers {
    by_cgroup: HashMap<u64, Option<Arc<Container>>>,
    /// What has come, by the ids of containers. It holds for as long as it is kept: runtimes change little of it.
    descriptions: Descriptions,
}

impl Containers {
    /// How many containers are remembered with what their runtime says.
    pub(super) fn described(&self) -> usize {
        self.descriptions.len()
    }

    /// The container of a control group. A group whose path is not known is asked for again, and so is a container of which
    /// there was no room to ask.
    pub(super) fn of(
        &mut self,
        host: &mut impl Host,
        cgroup: u64,
        process: ProcessId,
    ) -> Option<Arc<Container>> {
        if let Some(known) = self.by_cgroup.get(&cgroup)
            && !known.as_ref().is_some_and(|known| is_to_be_asked(known))
        {
            return known.clone();
        }
        let path = host.cgroup(cgroup, process)?;
        if self.by_cgroup.len() >= CONTAINERS_MAX {
            self.by_cgroup.clear();
        }
        let found = container(&path).map(|found| Arc::new(self.describe(host, found)));
        self.by_cgroup.insert(cgroup, found.clone());
        found
    }

    /// With what is known of it; what is not is asked for.
    fn describe(&self, host: &mut impl Host, container: Container) -> Container {
        match self.descriptions.get(&container.id) {
            Some(known) => described(&container, known),
            None => Container { undescribed: host.describe(&container).undescribed(), ..container },
        }
    }

    fn take(&mut self, arrived: &Descriptions) {
        if self.descriptions.len() + arrived.len() > CONTAINERS_MAX {
            self.descriptions.clear();
        }
        self.descriptions.extend(arrived.iter().map(|(id, known)| (Arc::clone(id), known.clone())));
        for container in self.by_cgroup.values_mut().flatten() {
            if let Some(known) = arrived.get(&container.id) {
                *container = Arc::new(described(container, known));
            }
        }
    }

    /// A process with what has come of its container, where that was missing.
    fn with(&self, process: &Process, arrived: &Descriptions) -> Option<Process> {
        let missing = process.container.as_ref().filter(|of| of.undescribed.is_some())?;
        let known = arrived.get(&missing.id)?;
        let shared = self.by_cgroup.get(&process.cgroup_id).and_then(Option::as_ref);
        let container = match shared.filter(|shared| shared.id == missing.id) {
            Some(shared) => Arc::clone(shared),
            None => Arc::new(described(missing, known)),
        };
        Some(Process { container: Some(container), ..process.clone() })
    }
}

fn is_to_be_asked(container: &Container) -> bool {
    container.undescribed == Some(Undescribed::QueueFull)
}

impl<H: Host> Assembler<H> {
    /// Takes what has come of containers: from here on what happens in them is told with it, and so are the execs that wait
    /// for something else.
    pub(super) fn take_descriptions(&mut self) {
        let arrived: Descriptions = self.host.take_descriptions().into_iter().collect();
        if arrived.is_empty() {
            return;
        }
        self.containers.take(&arrived);
        self.last = None;
        let containers = &self.containers;
        self.processes.update(|process| containers.with(process, &arrived));
        self.hashes.update_held(|process| containers.with(process, &arrived));
    }
}
