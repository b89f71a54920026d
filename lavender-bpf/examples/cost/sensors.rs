//! What can be attached while the work is done.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lavender_bpf::{ProgramCost, SensorBuilder, host};
use lavender_core::event::EventKind;
use lavender_core::{AgentId, AgentIdentity, Origin, Sequencer, TenantId};

use crate::peers::{self, Calls};
use crate::work::Group;

pub(crate) enum Sensor {
    Nothing,
    /// All of Lavender's probes, read and assembled.
    Probes,
    /// Only what the process table needs: no rule asks for a system call.
    ProcessLife,
    /// The agent: all probes, all bundled rules, alerts and telemetry into SQLite.
    Agent(PathBuf),
    /// auditd, unpacked into this folder, with rules for the same calls.
    Auditd(PathBuf),
    /// bpftrace, with a script for the same events.
    Bpftrace(PathBuf, Calls),
}

/// What a sensor did while the work was done. Only Lavender counts what it saw and lost.
#[derive(Default)]
pub(crate) struct Watched {
    pub(crate) events: u64,
    pub(crate) lost: u64,
    pub(crate) cpu_ns: u64,
    /// What of it was the agent's store.
    pub(crate) store_ns: Option<u64>,
    pub(crate) programs: Vec<ProgramCost>,
}

impl Sensor {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Probes => "Lavender's probes",
            Self::ProcessLife => "without system calls",
            Self::Agent(_) => "Lavender's agent",
            Self::Auditd(_) => "auditd",
            Self::Bpftrace(_, Calls::Single) => "bpftrace",
            Self::Bpftrace(_, Calls::Every) => "bpftrace, 32-bit too",
        }
    }

    /// Attaches, does the work, detaches.
    pub(crate) fn during(&self, group: &Group, work: impl FnOnce()) -> Watched {
        match self {
            Self::Nothing => {
                work();
                Watched::default()
            }
            Self::Probes => probes(group, &[], false, work),
            Self::ProcessLife => probes(group, &[EventKind::Exec], false, work),
            Self::Agent(program) => {
                let agent = peers::agent(program, group);
                // The programs of the work are hashed once, and not again while they are as they are.
                group.run("exec", 1);
                agent.during(work)
            }
            Self::Auditd(folder) => peers::auditd(folder).during(work),
            Self::Bpftrace(program, calls) => peers::bpftrace(program, *calls).during(work),
        }
    }
}

/// All probes, with what each of their programs takes.
pub(crate) fn measured(group: &Group, work: impl FnOnce()) -> Watched {
    probes(group, &[], true, work)
}

/// The probes for these kinds (none: all), and a thread of their own that reads. `measure`: what their programs take.
fn probes(group: &Group, kinds: &[EventKind], measure: bool, work: impl FnOnce()) -> Watched {
    let (ready, is_ready) = std::sync::mpsc::channel();
    let stop = Arc::new(AtomicBool::new(false));
    let (thread_stop, folder) = (Arc::clone(&stop), group.0.clone());
    let kinds = kinds.to_vec();
    let thread = std::thread::spawn(move || {
        let identity = AgentIdentity {
            tenant: TenantId::default(),
            agent: AgentId::new("cost").unwrap(),
            host: "cost".into(),
        };
        let boot = host::boot_id().unwrap();
        let ids = Sequencer::new(Origin::new(&identity.tenant, &identity.agent, boot));
        let builder = SensorBuilder::new(identity, boot, ids);
        let mut sensor = builder.with_kinds(kinds).with_included_cgroup(folder).open().unwrap();
        let measurement = measure.then(|| sensor.measure().unwrap());
        let started = thread_cpu_ns();
        ready.send(()).unwrap();
        let mut events = 0;
        while !thread_stop.load(Ordering::Relaxed) {
            events += sensor.poll(Duration::from_millis(10)).unwrap().events.len() as u64;
        }
        let cpu_ns = thread_cpu_ns() - started;
        let mut lost = sensor.stats().lost;
        let programs = measurement.map(|measurement| measurement.costs()).unwrap_or_default();
        for batch in sensor.finish().unwrap() {
            events += batch.events.len() as u64;
            lost += batch.lost.iter().map(|loss| loss.count).sum::<u64>();
        }
        Watched { events, lost, cpu_ns, store_ns: None, programs }
    });
    is_ready.recv().unwrap();
    work();
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap()
}

fn thread_cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
