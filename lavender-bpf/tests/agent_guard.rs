//! The agent guarded in the kernel: what others try with it, its files and its objects is refused. The test is the agent.
#![cfg(all(feature = "load", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod preventing;
mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use lavender_bpf::PreventionOptions;
use lavender_bpf::support::PreventionHook;
use lavender_core::{Outcome, PreventionPlan, ResponseAction, ResponseCause};
use preventing::{has, outcomes, start};
use support::{can_run, temporary};

/// What others try with the agent, one after the other: the errors, or 0.
const TOUCH: &str = r#"
    my ($pid, $file, @objects) = @ARGV;
    my @tries = (
        sub { kill('CONT', $pid) },
        sub { open(my $m, '+<', "/proc/$pid/mem") },
        sub { open(my $f, '>>', $file) },
        sub { chmod(0600, $file) },
        sub { truncate($file, 0) },
        sub { rename($file, "$file-2") && rename("$file-2", $file) },
        sub { link($file, "$file-3") && rename("$file-3", "$file-4") && unlink("$file-4") },
        sub { open(my $n, '>', "$file-5"); rename("$file-5", $file) },
        sub { unlink($file) },
    );
    for my $id (@objects) {
        push @tries, sub { my $attr = pack('L4', $id, 0, 0, 0); syscall(321, 14, $attr, 16) >= 0 };
    }
    for my $try (@tries) { $! = 0; print $try->() ? 0 : $! + 0, " "; }
    print kill(0, $pid) ? 0 : $! + 0, " ";
    print open(my $f, '<', $file) ? 0 : $! + 0;
"#;

/// The maps that this process has.
fn own_maps() -> Vec<u32> {
    let descriptors = fs::read_dir("/proc/self/fdinfo").unwrap().flatten();
    let texts = descriptors.filter_map(|one| fs::read_to_string(one.path()).ok());
    let id = |text: String| {
        text.lines().find_map(|line| line.strip_prefix("map_id:")?.trim().parse().ok())
    };
    texts.filter_map(id).collect()
}

fn touch(file: &Path, maps: &[u32]) -> Vec<i32> {
    let mut command = Command::new("/usr/bin/perl");
    command.args(["-e", TOUCH]).arg(std::process::id().to_string()).arg(file);
    command.args(maps.iter().map(ToString::to_string));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let errors = String::from_utf8(output.stdout).unwrap();
    errors.split_whitespace().map(|error| error.parse().unwrap()).collect()
}

#[test]
fn the_agent_is_guarded_with_its_files_and_its_objects_in_the_kernel() {
    if !can_run() {
        return;
    }
    let folder = temporary();
    let file = fs::canonicalize(folder.path()).unwrap().join("own");
    fs::write(&file, "content").unwrap();
    let mut options = PreventionOptions {
        dry_run: false,
        protect_agent: true,
        own_files: vec![file.clone()],
        ..PreventionOptions::default()
    };
    let mut prevention = start(&PreventionPlan::default(), options.clone());
    if !PreventionHook::GUARDS.iter().all(|hook| has(&prevention, *hook)) {
        assert_eq!(prevention.health().unwrap().unavailable.len(), 4);
        return;
    }
    let maps = own_maps();
    assert!(!maps.is_empty());
    let tried = if cfg!(target_arch = "x86_64") { &maps[..1] } else { &[] };
    let errors = touch(&file, tried);
    let (refused, allowed) = errors.split_at(errors.len() - 2);
    assert!(refused.iter().all(|error| [1, 13].contains(error)), "{errors:?}");
    assert_eq!(refused.len(), 9 + tried.len());
    assert_eq!(allowed, [0, 0], "asking whether it is there, and reading");
    assert_eq!(fs::read_to_string(&file).unwrap(), "content");
    let told = outcomes(&mut prevention, refused.len());
    assert!(told.len() >= refused.len(), "{told:?}");
    let rule = ResponseCause::Rule("lavender-agent-protection".into());
    assert!(told.iter().all(|told| told.order.cause == rule), "{told:?}");
    assert!(told.iter().all(|told| told.order.action == ResponseAction::Deny), "{told:?}");
    // The agent itself does as it likes.
    fs::write(&file, "other").unwrap();
    for rest in ["own-3", "own-5"] {
        fs::remove_file(folder.path().join(rest)).unwrap();
    }
    // In dry-run, and afterwards, so does everybody.
    drop(prevention);
    options.dry_run = true;
    let mut prevention = start(&PreventionPlan::default(), options);
    let errors = touch(&file, &[]);
    assert!(errors[..9].iter().all(|error| *error == 0), "{errors:?}");
    let told = outcomes(&mut prevention, 9);
    assert!(told.iter().all(|told| told.outcome == Outcome::DryRun), "{told:?}");
    drop(prevention);
    fs::write(&file, "again").unwrap();
    let errors = touch(&file, &own_maps());
    assert!(errors[..9].iter().all(|error| *error == 0), "{errors:?}");
}
