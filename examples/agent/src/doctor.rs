//! `lavender-agent doctor`.

use std::fmt::Write as _;
use std::io::Write as _;

use lavender_bpf::support::{self, Capabilities, ProbeStatus};
use serde::Serialize;

use crate::cli::DoctorArgs;
use crate::doctor_plan::PlanReport;
use crate::exit::{Exit, Failure};
use crate::live::cannot;
use crate::measure::{Measured, measure};

/// Says what this host's kernel and this process's privileges allow. Each probe is really loaded and attached,
/// for a moment, and so is each hook of prevention; isolation is loaded. Or which events leave the kernel, by what rules need.
///
/// # Errors
///
/// [`Exit::Host`] when nothing can be watched here; [`Exit::Configuration`] when the plan is asked for, and the
/// configuration or a rule is wrong.
pub fn doctor(args: &DoctorArgs) -> Result<(), Failure> {
    let capabilities = support::capabilities();
    let measured = match args.measure {
        Some(time) if capabilities.missing.is_empty() => Some(measure(time)?),
        _ => None,
    };
    let text = match (args.plan, args.json) {
        (false, false) => {
            table(&capabilities) + &measured.map_or_else(String::new, |measured| measured.table())
        }
        (false, true) => {
            json(&Answer { capabilities: &capabilities, measured: measured.as_ref() })?
        }
        (true, false) => PlanReport::new(args, &capabilities)?.text(),
        (true, true) => json(&PlanReport::new(args, &capabilities)?)?,
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::new(Exit::Failure, format!("stdout: {error}")))?;
    if capabilities.missing.is_empty() { Ok(()) } else { Err(cannot(&capabilities.missing)) }
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    capabilities: &'a Capabilities,
    #[serde(skip_serializing_if = "Option::is_none")]
    measured: Option<&'a Measured>,
}

fn json(value: &impl Serialize) -> Result<String, Failure> {
    Ok(serde_json::to_string(value).map_err(|e| Failure::new(Exit::Failure, e))? + "\n")
}

fn table(capabilities: &Capabilities) -> String {
    let yes_no = |yes| if yes { "yes" } else { "no" };
    let mut rows = vec![
        ("kernel", format!("{} {}", capabilities.kernel_release, capabilities.architecture)),
        ("types (BTF)", yes_no(capabilities.btf).to_owned()),
    ];
    if let Some(lockdown) = &capabilities.lockdown {
        rows.push(("lockdown", lockdown.clone()));
    }
    if let Some(bytes) = capabilities.memlock_bytes {
        rows.push(("lockable memory", format!("{bytes} bytes (counts before kernel 5.11)")));
    }
    let mount = capabilities.cgroup_mount.as_deref().unwrap_or("not mounted");
    rows.push(("cgroup v2", mount.to_owned()));
    let mut text = String::new();
    for (name, value) in rows {
        let _ = writeln!(text, "{name:<16} {value}");
    }
    text.push('\n');
    let probes = capabilities.probes.iter();
    let rows = probes.map(|probe| (probe.probe.as_str(), &*probe.mechanism, &probe.status));
    let prevention = capabilities.prevention.iter();
    let prevention = prevention.map(|row| (row.hook.as_str(), &*row.mechanism, &row.status));
    let isolation = [("isolate", "cgroup_skb", &capabilities.isolation)];
    for (name, mechanism, status) in rows.chain(isolation).chain(prevention) {
        let status = match status {
            ProbeStatus::Available => "yes".to_owned(),
            ProbeStatus::Unavailable { reason } => format!("no: {reason}"),
        };
        let _ = writeln!(text, "{name:<17} {mechanism:<28} {status}");
    }
    text
}
