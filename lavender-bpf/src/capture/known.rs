//! What was known when a capture begins midway: processes, and what the host had said.

use std::collections::HashMap;
use std::sync::Arc;

use lavender_core::ExecId;
use lavender_core::event::Process;
use serde::{Deserialize, Serialize};

use crate::host::Fact;

/// What the batches that follow rest on, where the capture does not begin with the sensor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// Processes, each after its parent.
    processes: Vec<KnownProcess>,
    /// Names of users and groups, paths of control groups, what is known of programs and containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) facts: Vec<Fact>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct KnownProcess {
    process: Process,
    /// Where the parent stands, counted from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<u32>,
}

impl Known {
    /// Of these processes; their ancestors are added. Where a program of a process is given several times, the first
    /// stands.
    pub(crate) fn new<'a>(
        processes: impl IntoIterator<Item = &'a Arc<Process>>,
        facts: Vec<Fact>,
    ) -> Self {
        let mut known = Self { processes: Vec::new(), facts };
        let mut places = HashMap::new();
        for process in processes {
            known.add(process, &mut places);
        }
        known
    }

    fn add(&mut self, process: &Arc<Process>, places: &mut HashMap<ExecId, u32>) {
        // The oldest first; what is there already has its ancestors, too.
        let line: Vec<&Arc<Process>> = std::iter::once(process)
            .chain(process.ancestors())
            .take_while(|process| !places.contains_key(&process.exec_id))
            .collect();
        for process in line.into_iter().rev() {
            let parent =
                process.parent.as_ref().and_then(|parent| places.get(&parent.exec_id)).copied();
            places.insert(process.exec_id, self.processes.len() as u32);
            let process = Process { parent: None, ..(**process).clone() };
            self.processes.push(KnownProcess { process, parent });
        }
    }

    /// The processes, each with its ancestors. `None` where one names a parent that does not stand before it, or has
    /// more ancestors than any process keeps.
    pub(crate) fn into_processes(self) -> Option<Vec<Arc<Process>>> {
        let mut processes: Vec<(Arc<Process>, usize)> = Vec::new();
        for KnownProcess { process, parent } in self.processes {
            let (parent, ancestors) = match parent {
                Some(parent) => {
                    let (parent, ancestors) = processes.get(parent as usize)?;
                    (Some(Arc::clone(parent)), ancestors + 1)
                }
                None => (None, 0),
            };
            if ancestors > Process::MAX_ANCESTORS {
                return None;
            }
            processes.push((Arc::new(Process { parent, ..process }), ancestors));
        }
        Some(processes.into_iter().map(|(process, _)| process).collect())
    }
}
