//! Which tree a process belongs to where nobody kept it.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "conformance")]

use std::sync::Arc;

use lavender_core::codec;
use lavender_core::conformance::sample::Sample;
use lavender_core::event::Process;

/// Root, and so many generations below it.
fn line(depth: usize) -> Vec<Arc<Process>> {
    let mut sample = Sample::new("tree", "a", 1);
    let mut line =
        vec![Arc::new(Process { parent: None, tree: None, ..(*sample.process()).clone() })];
    for _ in 0..depth {
        let parent = Arc::clone(&line[line.len() - 1]);
        line.push(sample.child(&parent, "/bin/sh", &["sh"]));
    }
    line
}

#[test]
fn without_a_tree_of_its_own_it_is_that_of_the_highest_that_began_none() {
    let line = line(3);
    let (root, last) = (&line[0], &line[3]);
    assert_eq!(last.tree_id(), root.id());
    assert_eq!((root.tree_depth(), last.tree_depth()), (0, 3));

    let mut login = (*line[2]).clone();
    login.credentials.session_id = Some(7);
    let login = Arc::new(login);
    let shell = Process { parent: Some(Arc::clone(&login)), ..(**last).clone() };
    assert_eq!(login.tree_id(), login.id(), "another login begins a tree");
    let mut shell = shell;
    shell.credentials.session_id = Some(7);
    assert_eq!((shell.tree_id(), shell.tree_depth()), (login.id(), 1));

    let init = Arc::new(Process { pid: 1, ..(**root).clone() });
    let service = Process { parent: Some(init), ..(*line[1]).clone() };
    assert_eq!(service.tree_id(), service.id(), "a service begins a tree");
}

#[test]
fn what_is_kept_decides_and_goes_over_the_wire() {
    let mut sample = Sample::new("tree", "a", 1);
    let line = line(2);
    let kept = Arc::new(Process { tree: Some(line[1].id()), ..(*line[2]).clone() });
    assert_eq!(kept.tree_id(), line[1].id());
    let event = sample.exec(&kept);
    let json = codec::event_to_json(&event).unwrap();
    let back = codec::event_from_json(&json).unwrap();
    assert_eq!(back.process.unwrap().tree, kept.tree);
    // What was written before there was such a thing.
    let old = json.replace(&format!("\"tree\":\"{}\",", line[1].id()), "");
    assert_ne!(old, json);
    let back = codec::event_from_json(&old).unwrap();
    assert_eq!(back.process.unwrap().tree_id(), line[0].id());
}
