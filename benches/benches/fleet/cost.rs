//! What something takes: time on the clock, and CPU time of this process and of servers.

use std::fs;

use lavender_core::{Clock as _, SystemClock};

/// Ticks of `/proc/PID/stat` in a second: 100 on Linux, whatever the kernel's own.
const TICKS: f64 = 100.0;

/// Seconds.
#[derive(Clone, Copy, Default)]
pub struct Cost {
    pub wall: f64,
    /// CPU time of this process.
    pub own: f64,
    /// CPU time of the servers.
    pub servers: f64,
}

impl Cost {
    pub fn rate(self, events: usize) -> f64 {
        events as f64 / self.wall
    }

    /// The rate, and what an event costs.
    pub fn per_event(self, events: usize) -> String {
        let us = |seconds: f64| seconds * 1e6 / events as f64;
        format!(
            "{:.0} events/s; {:.2} µs of CPU an event here, {:.2} in servers",
            self.rate(events),
            us(self.own),
            us(self.servers)
        )
    }

    /// Events a second of two cores, by CPU time.
    pub fn of_two_cores(self, events: usize) -> f64 {
        2.0 * events as f64 / (self.own + self.servers)
    }
}

/// The medians of each.
pub fn middle(costs: &[Cost]) -> Cost {
    let of = |each: fn(&Cost) -> f64| super::median(costs.iter().map(each).collect());
    Cost { wall: of(|cost| cost.wall), own: of(|cost| cost.own), servers: of(|cost| cost.servers) }
}

/// CPU seconds that a process has used so far, and those of its children that have ended.
fn of_process(pid: &str) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split_whitespace();
    let ticks: f64 = fields.skip(11).take(4).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / TICKS
}

fn of_servers(pids: &[u32]) -> f64 {
    let of = |pid: &u32| {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        of_process(&pid.to_string()) + children.split_whitespace().map(of_process).sum::<f64>()
    };
    pids.iter().map(of).sum()
}

/// What something takes, with the servers that it uses.
pub async fn cost_of(servers: &[u32], work: impl Future<Output = ()>) -> Cost {
    let (start, own, theirs) = (SystemClock.boot_time(), of_process("self"), of_servers(servers));
    work.await;
    Cost {
        wall: SystemClock.boot_time().since(start).as_secs_f64(),
        own: of_process("self") - own,
        servers: of_servers(servers) - theirs,
    }
}
