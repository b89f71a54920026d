//! What the probes' programs take, as the kernel itself counts it. It counts only while somebody asks, since that costs some
//! 20 ns a run.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libbpf_rs::libbpf_sys;
use serde::{Deserialize, Serialize};

use super::SensorError;
use super::live::Sensor;

/// What one program of the probes took while it was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramCost {
    /// Its name in the kernel. The exits of all system calls are seen by one, or by copies of one at the functions of calls,
    /// which go on with the same and are added up.
    pub program: String,
    /// How often it ran.
    pub runs: u64,
    /// How long it ran in all, in ns of one processor.
    pub run_time_ns: u64,
}

/// A measurement that goes on: see [`Sensor::measure`]. The kernel stops counting when it is dropped.
#[derive(Debug)]
pub struct CostMeasurement {
    programs: Vec<(OwnedFd, ProgramCost)>,
    _counting: OwnedFd,
}

impl Sensor {
    /// Has the kernel count what the probes' programs take, from now on; all BPF programs of the host are counted meanwhile.
    ///
    /// ```no_run
    /// # fn example(sensor: &lavender_bpf::Sensor) -> Result<(), Box<dyn std::error::Error>> {
    /// let measurement = sensor.measure()?;
    /// std::thread::sleep(std::time::Duration::from_secs(5));
    /// for cost in measurement.costs() {
    ///     println!("{}: {} runs, {} ns", cost.program, cost.runs, cost.run_time_ns);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the kernel does not count (`BPF_ENABLE_STATS`, since 5.8), or the programs cannot be asked for.
    pub fn measure(&self) -> Result<CostMeasurement, SensorError> {
        let failed = |source| SensorError::Read { what: "the time that programs take", source };
        let counting = count_run_time().map_err(failed)?;
        let mut programs = Vec::new();
        let mut begin = |name: &str, program: BorrowedFd<'_>| -> io::Result<()> {
            let (runs, run_time_ns) = read(program)?;
            let cost = ProgramCost { program: name.into(), runs, run_time_ns };
            programs.push((program.try_clone_to_owned()?, cost));
            Ok(())
        };
        for program in self.loaded().object.progs_mut().filter(|program| program.autoload()) {
            begin(&program.name().to_string_lossy(), program.as_fd()).map_err(failed)?;
        }
        for copy in self.loaded().call_exits() {
            begin("call_exit", copy).map_err(failed)?;
        }
        Ok(CostMeasurement { programs, _counting: counting })
    }
}

impl CostMeasurement {
    /// What each program has taken since it began. One that cannot be asked is left out.
    pub fn costs(&self) -> Vec<ProgramCost> {
        let mut costs: Vec<ProgramCost> = Vec::new();
        for (program, start) in &self.programs {
            let Ok((runs, run_time_ns)) = read(program.as_fd()) else { continue };
            let runs = runs.saturating_sub(start.runs);
            let run_time_ns = run_time_ns.saturating_sub(start.run_time_ns);
            match costs.iter_mut().find(|cost| cost.program == start.program) {
                Some(cost) => {
                    cost.runs += runs;
                    cost.run_time_ns += run_time_ns;
                }
                None => {
                    costs.push(ProgramCost { program: start.program.clone(), runs, run_time_ns })
                }
            }
        }
        costs
    }
}

fn count_run_time() -> io::Result<OwnedFd> {
    #[allow(unsafe_code, reason = "libbpf-rs does not offer it")]
    // SAFETY: takes a number, and gives a descriptor that nobody else has, or an error.
    unsafe {
        match libbpf_sys::bpf_enable_stats(libbpf_sys::BPF_STATS_RUN_TIME) {
            error if error < 0 => Err(io::Error::from_raw_os_error(-error)),
            descriptor => Ok(OwnedFd::from_raw_fd(descriptor)),
        }
    }
}

/// `bpf_prog_info.run_cnt` and `run_time_ns`.
fn read(program: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut length = size_of_val(&info) as u32;
    #[allow(unsafe_code, reason = "libbpf-rs reads this for all programs of the host, not for one")]
    // SAFETY: `info` is as long as `length` says, and lives; its pointers are null, so nothing else is written.
    let result = unsafe {
        libbpf_sys::bpf_prog_get_info_by_fd(program.as_raw_fd(), &raw mut info, &raw mut length)
    };
    match result {
        0 => Ok((info.run_cnt, info.run_time_ns)),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}
