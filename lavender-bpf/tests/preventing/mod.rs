//! What the tests of prevention share: plans of one rule, options that hold only in a group, what was told.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real kernel")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lavender_bpf::support::PreventionHook;
use lavender_bpf::{Prevention, PreventionOptions};
use lavender_core::{
    PreventionAction, PreventionPlan, PreventionRule, PreventionTest, ResponseOutcome,
};

use crate::support::{Group, PATIENCE};

pub const RULE: &str = "the rule";

pub fn plan(
    action: PreventionAction,
    tests: impl IntoIterator<Item = PreventionTest>,
) -> PreventionPlan {
    let tests = tests.into_iter().collect();
    PreventionPlan::new([PreventionRule { id: RULE.into(), action, tests }])
}

/// Only in the group, and not in dry-run.
pub fn armed(group: &Group) -> PreventionOptions {
    PreventionOptions {
        dry_run: false,
        included_cgroups: vec![group.folder.clone()],
        ..PreventionOptions::default()
    }
}

pub fn start(plan: &PreventionPlan, options: PreventionOptions) -> Prevention {
    Prevention::start(plan, options).unwrap()
}

/// Whether a hook is there; says if it is not.
pub fn has(prevention: &Prevention, hook: PreventionHook) -> bool {
    let report = prevention.hooks().iter().find(|report| report.hook == hook).unwrap();
    if let Some(reason) = report.reason() {
        println!("skipped: {hook}: {reason}");
    }
    report.is_available()
}

/// Waits for so many outcomes, and then for more that should not come.
pub fn outcomes(prevention: &mut Prevention, count: usize) -> Vec<ResponseOutcome> {
    let begun = Instant::now();
    let mut all = Vec::new();
    while all.len() < count && begun.elapsed() < PATIENCE {
        all.extend(prevention.poll(Duration::from_millis(100)).unwrap());
    }
    all.extend(prevention.poll(Duration::from_millis(50)).unwrap());
    all
}

/// What connects to each of its arguments, and prints the errors: another program than the test's own, which is spared.
const CONNECT: &str = r#"
    use Socket qw(:DEFAULT inet_pton pack_sockaddr_in6);
    my ($times, @to) = @ARGV;
    for my $one ((@to) x $times) {
        my ($host, $port) = split m{/}, $one;
        my $v6 = $host =~ /:/;
        my $at = $v6 ? pack_sockaddr_in6($port, inet_pton(AF_INET6, $host)) : pack_sockaddr_in($port, inet_aton($host));
        socket(my $socket, $v6 ? PF_INET6 : PF_INET, SOCK_STREAM, 0) or die $!;
        print connect($socket, $at) ? 0 : $! + 0, " ";
    }
"#;

/// Connects from within the group, to each so many times: the errors, or 0.
pub fn connects(group: &Group, to: &[SocketAddr], times: usize) -> Vec<i32> {
    let mut command = group.command("/usr/bin/perl");
    command.args(["-e", CONNECT]).arg(times.to_string());
    command.args(to.iter().map(|to| format!("{}/{}", to.ip(), to.port())));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let errors = String::from_utf8(output.stdout).unwrap();
    errors.split_whitespace().map(|error| error.parse().unwrap()).collect()
}
