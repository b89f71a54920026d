//! Answers on their way into a capture, and out of one.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use lavender_core::event::{Container, ExecutableHash, Process, Undescribed};
use lavender_core::{ByteString, ExecId, ProcessId};

use super::{
    ContainerDescription, DescribeAnswer, ExecutableFile, Fact, FoundProcess, HashAnswer,
    HashCause, Host,
};

/// Passes answers on and notes them, for the capture.
#[cfg(all(feature = "load", target_os = "linux"))]
#[derive(Debug)]
pub(crate) struct Recorder<H> {
    inner: H,
    noted: Option<Vec<Fact>>,
}

#[cfg(all(feature = "load", target_os = "linux"))]
impl<H> Recorder<H> {
    /// Notes answers only where there is a capture to put them in.
    pub(crate) fn new(inner: H, recording: bool) -> Self {
        Self { inner, noted: recording.then(Vec::new) }
    }

    /// What was answered since the last call.
    pub(crate) fn take(&mut self) -> Vec<Fact> {
        self.noted.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Notes nothing any more.
    pub(crate) fn stop(&mut self) {
        self.noted = None;
    }

    /// The host that is asked.
    pub(crate) const fn inner_mut(&mut self) -> &mut H {
        &mut self.inner
    }

    fn note(&mut self, fact: impl FnOnce() -> Fact) {
        if let Some(noted) = &mut self.noted {
            noted.push(fact());
        }
    }
}

#[cfg(all(feature = "load", target_os = "linux"))]
impl<H: Host> Host for Recorder<H> {
    fn user(&mut self, uid: u32) -> Option<Arc<str>> {
        let answer = self.inner.user(uid);
        self.note(|| Fact::User(uid, answer.clone()));
        answer
    }

    fn group(&mut self, gid: u32) -> Option<Arc<str>> {
        let answer = self.inner.group(gid);
        self.note(|| Fact::Group(gid, answer.clone()));
        answer
    }

    fn cgroup(&mut self, id: u64, process: ProcessId) -> Option<Arc<str>> {
        let answer = self.inner.cgroup(id, process);
        self.note(|| Fact::Cgroup(id, answer.clone()));
        answer
    }

    fn arguments(&mut self, process: ProcessId) -> Option<ByteString> {
        let answer = self.inner.arguments(process);
        self.note(|| Fact::Arguments(process, answer.clone()));
        answer
    }

    fn process(&mut self, process: ProcessId) -> Option<FoundProcess> {
        let answer = self.inner.process(process);
        self.note(|| Fact::Process(process, answer.clone().map(Box::new)));
        answer
    }

    fn hash(&mut self, file: ExecutableFile, process: &Process, cause: HashCause) -> HashAnswer {
        let answer = self.inner.hash(file, process, cause);
        if answer != HashAnswer::Off {
            self.note(|| Fact::Hashing(process.exec_id, answer));
        }
        answer
    }

    fn take_hashes(&mut self) -> Vec<(ExecutableFile, ExecutableHash)> {
        let hashes = self.inner.take_hashes();
        for (file, hash) in &hashes {
            self.note(|| Fact::Hash(*file, hash.clone()));
        }
        hashes
    }

    fn describe(&mut self, container: &Container) -> DescribeAnswer {
        let answer = self.inner.describe(container);
        if answer != DescribeAnswer::Off {
            self.note(|| Fact::Describing(Arc::clone(&container.id), answer));
        }
        answer
    }

    fn take_descriptions(&mut self) -> Vec<(Arc<str>, Result<ContainerDescription, Undescribed>)> {
        let descriptions = self.inner.take_descriptions();
        for (id, description) in &descriptions {
            self.note(|| Fact::Description(Arc::clone(id), description.clone()));
        }
        descriptions
    }
}

/// Answers out of a capture. An answer holds until the capture has a newer one.
#[derive(Debug, Default)]
pub(crate) struct RecordedHost {
    users: HashMap<u32, Option<Arc<str>>>,
    groups: HashMap<u32, Option<Arc<str>>>,
    cgroups: HashMap<u64, Option<Arc<str>>>,
    arguments: HashMap<ProcessId, Option<ByteString>>,
    processes: HashMap<ProcessId, Option<FoundProcess>>,
    /// In the order in which they were asked for.
    hashing: VecDeque<(ExecId, HashAnswer)>,
    hashes: Vec<(ExecutableFile, ExecutableHash)>,
    /// In the order in which they were asked for.
    describing: VecDeque<(Arc<str>, DescribeAnswer)>,
    /// What was answered last about each: whoever begins midway asks again about what was asked before.
    last_describing: HashMap<Arc<str>, DescribeAnswer>,
    descriptions: Vec<(Arc<str>, Result<ContainerDescription, Undescribed>)>,
}

impl RecordedHost {
    /// Takes the answers of the next batch. Those about one process are of use in that batch only.
    pub(crate) fn learn(&mut self, facts: Vec<Fact>) {
        self.arguments.clear();
        self.processes.clear();
        self.hashing.clear();
        self.describing.clear();
        for fact in facts {
            match fact {
                Fact::User(uid, name) => drop(self.users.insert(uid, name)),
                Fact::Group(gid, name) => drop(self.groups.insert(gid, name)),
                Fact::Cgroup(id, path) => drop(self.cgroups.insert(id, path)),
                Fact::Arguments(process, arguments) => {
                    drop(self.arguments.insert(process, arguments));
                }
                Fact::Process(process, found) => {
                    drop(self.processes.insert(process, found.map(|found| *found)));
                }
                Fact::Hashing(exec, answer) => self.hashing.push_back((exec, answer)),
                Fact::Hash(file, hash) => self.hashes.push((file, hash)),
                Fact::Describing(id, answer) => {
                    self.last_describing.insert(Arc::clone(&id), answer);
                    self.describing.push_back((id, answer));
                }
                Fact::Description(id, description) => self.descriptions.push((id, description)),
            }
        }
    }
}

impl Host for RecordedHost {
    fn user(&mut self, uid: u32) -> Option<Arc<str>> {
        self.users.get(&uid).cloned().flatten()
    }

    fn group(&mut self, gid: u32) -> Option<Arc<str>> {
        self.groups.get(&gid).cloned().flatten()
    }

    fn cgroup(&mut self, id: u64, _process: ProcessId) -> Option<Arc<str>> {
        self.cgroups.get(&id).cloned().flatten()
    }

    fn arguments(&mut self, process: ProcessId) -> Option<ByteString> {
        self.arguments.get(&process).cloned().flatten()
    }

    fn process(&mut self, process: ProcessId) -> Option<FoundProcess> {
        self.processes.get(&process).cloned().flatten()
    }

    fn hash(&mut self, _file: ExecutableFile, process: &Process, _: HashCause) -> HashAnswer {
        match self.hashing.front() {
            Some((exec, _)) if *exec == process.exec_id => {
                self.hashing.pop_front().map_or(HashAnswer::Off, |(_, answer)| answer)
            }
            _ => HashAnswer::Off,
        }
    }

    fn take_hashes(&mut self) -> Vec<(ExecutableFile, ExecutableHash)> {
        std::mem::take(&mut self.hashes)
    }

    fn describe(&mut self, container: &Container) -> DescribeAnswer {
        if self.describing.front().is_some_and(|(id, _)| *id == container.id)
            && let Some((_, answer)) = self.describing.pop_front()
        {
            return answer;
        }
        self.last_describing.get(&container.id).copied().unwrap_or(DescribeAnswer::Off)
    }

    fn take_descriptions(&mut self) -> Vec<(Arc<str>, Result<ContainerDescription, Undescribed>)> {
        std::mem::take(&mut self.descriptions)
    }
}
