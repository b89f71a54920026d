//! The configuration: what holds without one, and what a wrong one is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use lavender_agent::config::{self, Config};
use lavender_agent::rules::RuleSource;
use lavender_detect::{Budget, OverBudget};

/// The error of a configuration, as it is shown.
fn refusal(text: &str) -> String {
    config::parse(text, Path::new("lavender.toml")).expect_err(text).to_string()
}

#[test]
fn what_is_printed_can_be_read_again() {
    let default = Config::default();
    let text = toml::to_string(&default).unwrap();
    assert_eq!(config::parse(&text, Path::new("lavender.toml")).unwrap(), default);
    assert_eq!(config::parse("", Path::new("lavender.toml")).unwrap(), default);
}

#[test]
fn the_default_does_nothing_to_anybody() {
    let response = Config::default().response;
    assert!(response.dry_run && response.policy.is_empty() && response.rule_actions.is_empty());
}

#[test]
fn an_error_names_file_line_key_and_what_is_allowed() {
    let cases = [
        (
            "[agent]\ntenant = \"acme\"\n",
            "lavender.toml:2:1: unknown field `tenant`",
            "`tenant_id`",
        ),
        ("[agents]\n", "lavender.toml:1:2: unknown field `agents`", "`agent`"),
        (
            "[agent]\nheartbeat_interval_secs = 0\n",
            "lavender.toml:2:27: ",
            "heartbeat_interval_secs = 0",
        ),
        ("[agent]\nagent_id = \"a.b\"\n", "lavender.toml:2:12: ", "use 1 to 64 of the characters"),
        (
            "[[response.policy]]\nactions = [\"kill\"]\nmin_severity = \"fatal\"\n",
            "lavender.toml:3:16: unknown variant `fatal`",
            "`high`, `critical`",
        ),
        (
            "[response]\ndry_run = true\n[[response.policy]]\nactions = [\"kill\"]\n",
            "lavender.toml:3:1: it would answer every alert",
            "give it a severity",
        ),
        (
            "[[response.policy]]\nactions = []\nmin_severity = \"low\"\n",
            "lavender.toml:1:1: it has no action",
            "leave the clause out",
        ),
        (
            "[[response.policy]]\nactions = [\"kill\"]\ntechniques = [\"1059\"]\n",
            "lavender.toml:1:1: `1059` is no technique",
            "write T1059",
        ),
        (
            "[[response.policy]]\nactions = [\"kill\"]\nseverity = \"low\"\n",
            "lavender.toml:3:1: unknown field `severity`",
            "`min_severity`",
        ),
        (
            "[response]\nrule_actions = [\"shoot\"]\n",
            "lavender.toml:2:16: `shoot` is not a response",
            "stop, kill, kill_tree, quarantine, isolate",
        ),
        (
            "[response.isolate]\nallow = [\"broker.example:4222\"]\n",
            "lavender.toml:2:10: invalid socket address",
            "address",
        ),
        (
            "[response.isolate]\ncgroup = \"lavender\"\n",
            "lavender.toml:2:10: `lavender` is not an absolute path",
            "without",
        ),
        (
            "[response]\nquarantine_dir = \"var/quarantine\"\n",
            "lavender.toml:2:18: `var/quarantine` is not an absolute path",
            "without",
        ),
        (
            "[transport]\nurl = \"kafka://127.0.0.1:9092\"\n",
            "lavender.toml:2:7: transport `kafka` is none of",
            "memory:, nats://, tls://",
        ),
        ("[filters]\nsuspicious_ports = [4444, 70000]\n", "lavender.toml:2:", "70000"),
        (
            "[filters]\nsafe_shell_launchers = [\"/usr/sbin/cron\", \"sshd\"]\n",
            "lavender.toml:2:",
            "`sshd` is not an absolute path",
        ),
        ("[sensor]\nkinds = [\"dns\"]\n", "lavender.toml:2:", "fork, exec, exit, file_open"),
        ("[sensor.throttle]\nburst_s = 0\n", "lavender.toml:2:11: ", "nonzero"),
        ("[sensor]\nfile_ring_bytes = 5000\n", "lavender.toml:2:19: 5000 is not", "a power of two"),
        ("[filters]\nignored_executables = [\"/opt/*\"]\n", "lavender.toml:2:", "of one program"),
        ("[agent\n", "lavender.toml:1:7: ", "[agent"),
        ("[risk]\nhalf_life_secs = 0\n", "lavender.toml:2:18: ", "nonzero"),
        (
            "[risk]\nthresholds = [{score = 5, severity = \"low\"}, {score = 5, severity = \"high\"}]\n",
            "lavender.toml:2:14: the threshold 5 stands twice",
            "one severity",
        ),
        (
            "[risk]\nthresholds = [{score = 0, severity = \"low\"}]\n",
            "lavender.toml:2:14: a threshold of 0",
            "give it points",
        ),
        (
            "[alerts]\nsuppress_by = \"rule\"\n",
            "lavender.toml:2:15: unknown variant `rule`",
            "`tree` or `tree_and_evidence`",
        ),
        (
            "[canary]\ninterval_secs = 10\ndeadline_secs = 6\n",
            "lavender.toml:1:1: deadline_secs of 6 is more than half",
            "interval_secs, which is 10",
        ),
        ("[canary]\nevery = 10\n", "lavender.toml:2:1: unknown field `every`", "`interval_secs`"),
        ("[rules]\nbudget_ns = 0\n", "lavender.toml:2:13: ", "nonzero"),
        ("[rules]\nbudget_ns = \"1us\"\n", "lavender.toml:2:13: ", "nonzero"),
        (
            "[rules]\nover_budget = \"drop\"\n",
            "lavender.toml:2:15: unknown variant `drop`",
            "`sample` or `disable`",
        ),
        (
            "[rules]\nundetermined = \"maybe\"\n",
            "lavender.toml:2:16: unknown variant `maybe`",
            "`report`",
        ),
    ];
    for (text, start, allowed) in cases {
        let message = refusal(text);
        assert!(message.starts_with(start), "{message}");
        assert!(message.contains(allowed), "{message}");
    }
}

#[test]
fn rules_have_a_budget_when_one_is_configured() {
    let budget = |text: &str| {
        let config = config::parse(text, Path::new("lavender.toml")).unwrap();
        RuleSource::new(&config, &[]).open().unwrap().budget()
    };
    let ns = NonZeroU64::new(2_000).unwrap();
    assert_eq!(budget(""), None);
    assert_eq!(budget("[rules]\nover_budget = \"disable\"\n"), None);
    let sampled = Budget::new(ns, OverBudget::Sample);
    assert_eq!(budget("[rules]\nbudget_ns = 2000\n"), Some(sampled));
    let disabled = Budget::new(ns, OverBudget::Disable);
    let text = "[rules]\nbudget_ns = 2000\nover_budget = \"disable\"\n";
    assert_eq!(budget(text), Some(disabled));
}

#[test]
fn lists_are_placeholders_of_the_rules() {
    let text = "[filters]\nshell_names = [\"bash\", \"/sh\"]\nsuspicious_ports = [4444]\n\
                [filters.placeholders]\nBackupTools = [\"/opt/backup/*\"]\n";
    let config = config::parse(text, Path::new("lavender.toml")).unwrap();
    let placeholders: Vec<_> = config.filters.placeholders().collect();
    let expected = [
        ("shell_names", vec!["/bash".to_owned(), "/sh".to_owned()]),
        ("suspicious_ports", vec!["4444".to_owned()]),
        ("BackupTools", vec!["/opt/backup/*".to_owned()]),
    ];
    assert_eq!(placeholders, expected);
}

#[test]
fn keys_of_the_earlier_agent_are_told_their_place() {
    for (section, key, place) in [
        ("agent", "nats_url", "`url` under [transport]"),
        ("agent", "telemetry_subject_prefix", "telemetry.raw.<tenant>.<agent>"),
        ("agent", "heartbeat_subject_prefix", "where telemetry goes"),
        ("filters", "ignored_comms", "ignored_executables"),
        ("filters", "noisy_comms", "exclude_cgroups"),
        ("filters", "correlator_max_events", "correlation rule"),
        ("filters", "correlator_max_age_secs", "timespan"),
        ("response", "kill_threshold", "[[response.policy]]"),
        ("response", "protected_comms", "protected_executables"),
    ] {
        let message = refusal(&format!("[{section}]\n{key} = 1\n"));
        assert!(message.contains(place), "{message}");
    }
}

#[test]
fn the_configuration_is_never_looked_for_in_the_working_directory() {
    let folder = tempfile::tempdir().unwrap();
    let system = folder.path().join("lavender.toml");
    assert_eq!(config::find(None, None, &system), None);
    std::fs::write(&system, "").unwrap();
    assert_eq!(config::find(None, None, &system), Some((system.clone(), false)));
    let named = PathBuf::from("/named.toml");
    let variable = PathBuf::from("/variable.toml");
    assert_eq!(
        config::find(None, Some(variable.clone().into()), &system),
        Some((variable.clone(), true))
    );
    assert_eq!(config::find(Some(&named), Some(variable.into()), &system), Some((named, false)));
}

#[test]
fn a_named_file_that_is_missing_is_an_error() {
    let error = config::load(Some(Path::new("/nonexistent/lavender.toml"))).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/lavender.toml: cannot read"), "{error}");
}
