//! What is new, by harmless stand-ins on the live kernel: the first sight is an alert within a second, repeats are none.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

mod support;

use std::time::Instant;

use lavender_core::event::EventKind;
use serde_json::Value;
use support::agent::{Agent, Finished, replay};
use support::setting::Setting;
use support::stand_in;
use support::titles::{FIRST_CHILD, FIRST_CONNECTION};

const LEARNED_ALREADY: &str = "[rules]\nnovelty_baseline_secs = 0\n";

/// What an alert says of a field.
fn evidence<'a>(alert: &'a Value, field: &str) -> &'a str {
    let evidence = alert["evidence"].as_array().unwrap();
    evidence.iter().find(|part| part["field"] == field).unwrap()["value"].as_str().unwrap()
}

/// Does something, and waits for the alert about it.
fn alert_of(agent: &mut Agent, title: &str, image: &str, act: impl FnOnce()) -> Value {
    let started = Instant::now();
    act();
    let done = Instant::now();
    let wanted = |line: &Value| line["rule"]["title"] == title && evidence(line, "Image") == image;
    let (came, line) = agent.wait_for(title, wanted);
    println!(
        "{title}: {image}: {:?} after it ended, {:?} after it began",
        came.saturating_duration_since(done),
        came.saturating_duration_since(started),
    );
    line
}

/// The alerts of novelty: title and the program that they are about.
fn novel(finished: &Finished) -> Vec<(String, String)> {
    let alerts = finished.alerts().into_iter().filter_map(|alert| {
        let title = alert["rule"]["title"].as_str()?;
        let is_novel = [FIRST_CHILD, FIRST_CONNECTION].contains(&title);
        is_novel.then(|| (title.to_owned(), evidence(alert, "Image").to_owned()))
    });
    let mut alerts: Vec<_> = alerts.collect();
    alerts.sort();
    alerts
}

/// Each act twice.
fn acts(setting: &Setting) -> [Box<dyn Fn() + '_>; 3] {
    let folder = setting.folder.path();
    let cgroup = &setting.cgroup;
    let program = stand_in::named(folder, "updater").canonicalize().unwrap();
    let server = stand_in::named(folder, "nginx").canonicalize().unwrap();
    let manager = stand_in::named(folder, "tini").canonicalize().unwrap();
    let interpreter = stand_in::named(folder, "python3").canonicalize().unwrap();
    [
        Box::new(move || stand_in::connect_out(cgroup, &program)),
        Box::new(move || stand_in::start_child(cgroup, &server, &["/bin/sh", "-c", ":; true"])),
        Box::new(move || {
            let interpreter = interpreter.to_str().unwrap();
            let child = [interpreter, "-e", "system(@ARGV)", "/usr/bin/id"];
            stand_in::start_child(cgroup, &manager, &child);
        }),
    ]
}

/// A shell by its real name.
fn shell() -> String {
    std::fs::canonicalize("/bin/sh").unwrap().to_str().unwrap().to_owned()
}

#[test]
fn the_first_sight_is_an_alert_and_repeats_are_none_and_so_in_the_replay() {
    need_kernel!();
    let setting = Setting::new(LEARNED_ALREADY);
    let capture = setting.path("capture.lavcap");
    let mut agent = setting.run(&["--record", capture.to_str().unwrap()]);
    let [connect, serve, interpret] = acts(&setting);
    let (program, interpreter) = (setting.path("updater"), setting.path("python3"));
    let (program, interpreter) = (program.to_str().unwrap(), interpreter.to_str().unwrap());
    let shell = shell();

    let alert = alert_of(&mut agent, FIRST_CONNECTION, program, &connect);
    assert_eq!(evidence(&alert, "Initiated"), "true");
    let alert = alert_of(&mut agent, FIRST_CHILD, &shell, &serve);
    assert_eq!(evidence(&alert, "ParentImage"), setting.path("nginx").to_str().unwrap());
    let alert = alert_of(&mut agent, FIRST_CHILD, "/usr/bin/id", &interpret);
    assert_eq!(evidence(&alert, "ParentImage"), interpreter);

    // All again; then another pair, whose alert comes after whatever came of the repeats.
    for act in [&connect, &serve, &interpret] {
        act();
    }
    let server = setting.path("nginx");
    alert_of(&mut agent, FIRST_CHILD, "/usr/bin/whoami", || {
        stand_in::start_child(&setting.cgroup, &server, &["/usr/bin/whoami"]);
    });
    let live = agent.stop();
    assert_eq!(live.code, Some(0), "{live:?}");
    let expected = [
        (FIRST_CONNECTION, program),
        (FIRST_CHILD, &shell),
        (FIRST_CHILD, "/usr/bin/id"),
        (FIRST_CHILD, "/usr/bin/whoami"),
    ];
    let mut expected: Vec<_> = expected.map(|(a, b)| (a.to_owned(), b.to_owned())).into();
    expected.sort();
    assert_eq!(novel(&live), expected);

    let replayed =
        replay(&[capture.to_str().unwrap(), "--config", setting.config().to_str().unwrap()]);
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    let ids = |finished: &Finished| {
        let alerts = finished.alerts();
        let mut ids: Vec<_> = alerts.iter().map(|alert| alert["id"].to_string()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&live), ids(&replayed));
}

#[test]
fn in_the_first_week_it_is_learned_in_silence() {
    need_kernel!();
    let setting = Setting::new("");
    let agent = setting.run(&[]);
    acts(&setting).iter().for_each(|act| act());
    let finished = agent.stop();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(novel(&finished), []);
    let stored = setting.stored();
    let images: Vec<String> = stored
        .events(Some(EventKind::Exec))
        .iter()
        .map(|stored| stored.event.process.as_ref().unwrap().executable.path.value.to_string())
        .collect();
    assert!(images.contains(&shell()) && images.contains(&"/usr/bin/id".to_owned()), "{images:?}");
    assert_eq!(stored.count(EventKind::NetConnect), 1);
}
