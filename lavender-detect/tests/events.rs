//! Rules on Lavender's own events: what each field holds, and which rules an event goes to.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;

use lavender_core::event::{
    Arguments, DnsAnswer, DnsData, DnsQuery, DnsRecordType, DnsResponseCode, Event, EventData,
    ExecFailed, FileDelete, FileLink, FileMode, FileRename, IoUring, IoUringOperation, NetAccept,
    NetBind, NetListen, NetSend, NetworkTransport, OpenFlags, ProcessTarget, Signal, SignalOutcome,
    SyscallResult,
};
use lavender_core::{Captured, Certainty, Detection, Detector, Provenance};
use lavender_detect::{RuleHandle, RuleSet, RuleSetBuilder, SigmaDetector, UndeterminedPolicy};
use support::{connect, event, exec, open, process, truncated};

/// A rule of this category with one search.
fn rule(category: &str, search: &str) -> RuleSet {
    RuleSet::from_yaml(&format!(
        "title: Test\nlogsource: {{category: {category}, product: linux}}\n\
         detection:\n  selection: {search}\n  condition: selection\n"
    ))
    .unwrap_or_else(|errors| panic!("{errors}"))
}

fn detect(rules: RuleSet, event: &Arc<Event>) -> Vec<Detection> {
    let handle = RuleHandle::new(rules);
    let mut detector = SigmaDetector::new(&handle, UndeterminedPolicy::Report);
    let mut found = Vec::new();
    detector.detect(event, &mut found);
    found
}

fn lineage() -> lavender_core::event::Process {
    let init = Arc::new(process("/usr/lib/systemd/systemd", &["/sbin/init"], None));
    let server = Arc::new(process("/usr/sbin/nginx", &["nginx: worker"], Some(init)));
    process("/usr/bin/bash", &["bash", "-c", "id; cat /etc/passwd"], Some(server))
}

#[test]
fn every_field_of_a_process_is_there() {
    let event = exec(lineage());
    let id = event.process.as_ref().unwrap().id();
    for search in [
        "{Image: /usr/bin/bash}",
        "{Image|endswith: /BASH}",
        "{CommandLine|contains: '-c id; cat'}",
        "{ParentImage|endswith: /nginx}",
        "{ParentCommandLine: 'nginx: worker'}",
        "{GrandparentImage|endswith: /systemd}",
        "{AncestorImages|endswith: /systemd}",
        "{KnownAncestorImages|endswith: /systemd}",
        "{CurrentDirectory: /root}",
        "{User: root, ParentUser: root, UserId: 0, EffectiveUserId: '0'}",
        "{LogonId: 1000}",
        "{ProcessId: 102, ParentProcessId: 101}",
        &format!("{{ProcessGuid: {id}}}"),
        "{UtcTime|year: 2025, UtcTime|hour|gte: 23}",
        "{UtcTime|startswith: '2025-12-31 23:59:59.123'}",
        "{ProcessName: bash, ScriptPath: /usr/bin/bash}",
        "{ImageDeleted: false, ImageMemoryBacked: 'false'}",
        "{TargetFilename|exists: false, Terminal: null, ContainerId: null}",
        "{Image|fieldref: ScriptPath}",
    ] {
        assert_eq!(detect(rule("process_creation", search), &event).len(), 1, "{search}");
    }
    for search in ["{ParentImage|endswith: /systemd}", "{AncestorImages|endswith: /cron}"] {
        assert_eq!(detect(rule("process_creation", search), &event), [], "{search}");
    }
}

fn matched(category: &str, search: &str, data: EventData) -> usize {
    detect(rule(category, search), &event(lineage(), data)).len()
}

#[test]
fn changes_of_files_have_the_fields_of_their_kind() {
    let path = |text: &str| Captured::complete(text.into());
    let result = SyscallResult(0);
    let delete = || {
        let path = path("/var/log/auth.log");
        EventData::FileDelete(FileDelete { path, directory: false, result: SyscallResult(-13) })
    };
    let search = "{TargetFilename: /var/log/auth.log, IsDirectory: false, Result: EACCES}";
    assert_eq!(matched("file_delete", search, delete()), 1);
    assert_eq!(matched("file_delete", "{Result: success}", delete()), 0);
    assert_eq!(matched("file_event", "{TargetFilename|exists: true}", delete()), 0);
    let rename = EventData::FileRename(FileRename {
        path: path("/etc/cron.d/x"),
        previous_path: path("/tmp/x"),
        exchange: false,
        result,
    });
    let search = "{SourceFilename: /tmp/x, TargetFilename|startswith: /etc/cron.d/}";
    assert_eq!(matched("file_rename", search, rename), 1);
    let link = |symbolic| {
        let (path, target) = (path("/tmp/l"), path("../etc/shadow"));
        EventData::FileLink(FileLink { path, target, symbolic, result })
    };
    let search = "{SourceFilename|endswith: /etc/shadow, IsSymbolicLink: true}";
    assert_eq!(matched("file_link", search, link(true)), 1);
    assert_eq!(matched("file_link", search, link(false)), 0);
    let set = |mode, uid| {
        let path = path("/tmp/sh");
        EventData::FileMode(FileMode { path, mode, uid, gid: None, result })
    };
    assert_eq!(matched("file_mode", "{FileMode|re: '^[2467]'}", set(Some(0o4755), None)), 1);
    assert_eq!(matched("file_mode", "{FileMode: '0644'}", set(Some(0o644), None)), 1);
    assert_eq!(matched("file_mode", "{FileMode: null, OwnerId: 0}", set(None, Some(0))), 1);
    assert_eq!(matched("file_mode", "{OwnerId|exists: true}", set(Some(0o644), None)), 0);
}

#[test]
fn sockets_tell_of_both_sides() {
    let local = "0.0.0.0:4444".parse().unwrap();
    let (transport, result) = (NetworkTransport::Tcp, SyscallResult(-98));
    let bind = EventData::NetBind(NetBind { transport, local, result });
    assert_eq!(matched("net_bind", "{SourcePort: 4444, Result: EADDRINUSE}", bind.clone()), 1);
    assert_eq!(matched("net_bind", "{DestinationPort|exists: true}", bind), 0);
    let result = SyscallResult(0);
    let listen = EventData::NetListen(NetListen { transport, local, backlog: 5, result });
    let search = "{SourceIp|cidr: 0.0.0.0/8, Backlog|lt: 6, Result: success, Protocol: tcp}";
    assert_eq!(matched("net_listen", search, listen.clone()), 1);
    assert_eq!(matched("network_connection", "{SourcePort: 4444}", listen), 0);
    let peer = "192.0.2.7:50000".parse().unwrap();
    let accept = EventData::NetAccept(NetAccept { transport, local, peer });
    let search = "{SourcePort: 4444, DestinationIp: 192.0.2.7, Initiated: false}";
    assert_eq!(matched("net_accept", search, accept), 1);
    let (transport, result) = (NetworkTransport::Udp, SyscallResult(40));
    let send = EventData::NetSend(NetSend { transport, source: None, destination: peer, result });
    let search = "{DestinationPort: 50000, Protocol: udp, Result: success, SourceIp: null}";
    assert_eq!(matched("net_send", search, send.clone()), 1);
    assert_eq!(matched("network_connection", "{DestinationPort: 50000}", send), 0);
}

#[test]
fn a_failed_exec_is_no_new_process() {
    let failed = || {
        EventData::ExecFailed(ExecFailed {
            path: Captured::complete("/tmp/x".into()),
            arguments: Captured::complete(Arguments::from_list(["x", "-p", "4444"])),
            result: SyscallResult(-13),
        })
    };
    let search = "{TargetFilename|startswith: /tmp/, TargetCommandLine|endswith: '-p 4444', \
                  Result: EACCES, Image|endswith: /bash}";
    assert_eq!(matched("exec_failed", search, failed()), 1);
    assert_eq!(matched("process_creation", "{Image|endswith: /bash}", failed()), 0);
}

#[test]
fn requests_of_io_uring_have_the_fields_of_what_they_do() {
    let request = |operation| IoUring {
        operation,
        path: None,
        flags: None,
        transport: None,
        destination: None,
    };
    let open = || {
        EventData::IoUring(IoUring {
            path: Some(Captured::complete("/etc/shadow".into())),
            flags: Some(OpenFlags(0o101)),
            ..request(IoUringOperation::OPENAT)
        })
    };
    let search =
        "{Operation: openat, TargetFilename: /etc/shadow, Access: create, DestinationIp: null}";
    assert_eq!(matched("io_uring", search, open()), 1);
    assert_eq!(matched("io_uring", "{Access: read}", open()), 0);
    assert_eq!(matched("file_event", "{TargetFilename: /etc/shadow}", open()), 0);
    let connect = EventData::IoUring(IoUring {
        transport: Some(NetworkTransport::Tcp),
        destination: Some("192.0.2.7:4444".parse().unwrap()),
        ..request(IoUringOperation::CONNECT)
    });
    let search = "{Operation: connect, DestinationPort: 4444, Protocol: tcp, TargetFilename: null}";
    assert_eq!(matched("io_uring", search, connect), 1);
}

#[test]
fn a_signal_tells_of_its_target() {
    let target = process("/usr/sbin/auditd", &["auditd"], None);
    let id = target.id();
    let target = ProcessTarget { exec_id: target.exec_id, executable: target.executable.path };
    let signal = |target: &ProcessTarget| {
        let (target, outcome) = (target.clone(), SignalOutcome::Delivered);
        event(lineage(), EventData::Signal(Signal { signal: 9, target, target_tid: None, outcome }))
    };
    let search = format!(
        "{{TargetImage|endswith: /auditd, TargetProcessGuid: {id}, TargetProcessId: {}, \
         SignalNumber: 9, SignalOutcome: delivered}}",
        id.tgid()
    );
    assert_eq!(detect(rule("signal", &search), &signal(&target)).len(), 1);
    let unknown = ProcessTarget { executable: Captured::unreadable(), ..target };
    let found = detect(rule("signal", &search), &signal(&unknown));
    assert!(matches!(found[0].certainty, Certainty::Undetermined { .. }));
    assert_eq!(detect(rule("signal", "{SignalNumber: 15}"), &signal(&unknown)), []);
}

#[test]
fn opens_go_to_the_rules_for_what_they_do() {
    const RDONLY: u32 = 0;
    const RDWR: u32 = 2;
    const WRONLY_CREAT: u32 = 0o101;
    const ENOENT: i64 = -2;
    for (flags, result, event, access) in [
        (RDONLY, 3, 0, 1),
        (RDONLY, ENOENT, 0, 1),
        (WRONLY_CREAT, 3, 1, 0),
        (WRONLY_CREAT, ENOENT, 0, 0),
        (RDWR, 3, 1, 1),
    ] {
        let open = open(lineage(), "/etc/shadow", flags, result);
        let search = "{TargetFilename: /etc/shadow, Image|endswith: /bash}";
        assert_eq!(detect(rule("file_event", search), &open).len(), event, "{flags:o} {result}");
        assert_eq!(detect(rule("file_access", search), &open).len(), access, "{flags:o} {result}");
        assert_eq!(detect(rule("process_creation", search), &open), []);
    }
    let created = open(lineage(), "/etc/cron.d/x", WRONLY_CREAT, 3);
    for (search, expected) in [
        ("{Access: write}", 1),
        ("{Access: create}", 1),
        ("{Access|all: [write, create]}", 1),
        ("{Access: read}", 0),
        ("{OpenFlags: 'O_WRONLY|O_CREAT'}", 1),
        ("{Result: success}", 1),
    ] {
        assert_eq!(detect(rule("file_event", search), &created).len(), expected, "{search}");
    }
    let denied = open(lineage(), "/etc/shadow", RDONLY, -13);
    assert_eq!(detect(rule("file_access", "{Result: EACCES}"), &denied).len(), 1);
}

#[test]
fn connects_have_both_sides() {
    let event = connect(lineage(), "[2001:db8::1]:4444".parse().unwrap(), -115);
    for search in [
        "{DestinationPort: 4444, DestinationPort|gte: '4000'}",
        "{DestinationIp: 2001:db8::1, DestinationIp|cidr: '2001:db8::/32'}",
        "{DestinationIsIpv6: true, Initiated: 'true', Protocol: tcp, Result: success}",
        "{SourceIp: null}",
    ] {
        assert_eq!(detect(rule("network_connection", search), &event).len(), 1, "{search}");
    }
    let outside = "{DestinationIp|cidr: ['10.0.0.0/8', 'fe80::/10']}";
    assert_eq!(detect(rule("network_connection", outside), &event), []);
}

#[test]
fn look_ups_have_sysmons_names() {
    let answer = |record_type, data| DnsAnswer { record_type, data };
    let look_up = |code, answers| {
        let name = Captured::complete(b"Updates.\xff.example"[..].into());
        let (record_type, response_code) = (DnsRecordType::TXT, code);
        event(
            lineage(),
            EventData::DnsQuery(DnsQuery {
                name,
                record_type,
                response_code,
                answers,
                transaction_id: Some(7),
                transport: Some(NetworkTransport::Udp),
                server: Some("192.0.2.53:53".parse().unwrap()),
            }),
        )
    };
    let answers = vec![
        answer(DnsRecordType::CNAME, DnsData::Name("edge.example.net".into())),
        answer(DnsRecordType::A, DnsData::Address([192, 0, 2, 7].into())),
        answer(DnsRecordType::TXT, DnsData::Bytes(b"v=\xfe"[..].into())),
    ];
    let found = look_up(Some(DnsResponseCode::NO_ERROR), Captured::complete(answers.clone()));
    let missing = look_up(Some(DnsResponseCode::NO_SUCH_NAME), Captured::complete(vec![]));
    let unanswered = look_up(None, Captured::complete(vec![]));
    let cut = look_up(None, Captured::new(answers, Provenance::Truncated { true_length: 0 }));
    for (event, search, expected) in [
        (&found, "{QueryName|startswith: updates., QueryType: txt, Image|endswith: /bash}", 1),
        (
            &found,
            "{QueryStatus: 0, QueryResults|contains: edge.example, QueryResults|cidr: 192.0.2.0/24}",
            1,
        ),
        (&found, "{QueryResults: 192.0.2.7}", 1),
        (&found, "{QueryResults|endswith: .org}", 0),
        (&missing, "{QueryStatus: '9003', QueryResults: null}", 1),
        (&unanswered, "{QueryStatus: null, QueryName|contains: example}", 1),
        (&cut, "{QueryResults|contains: edge}", 1),
    ] {
        let detections = detect(rule("dns_query", search), event);
        assert_eq!(detections.len(), expected, "{search}");
        assert!(detections.iter().all(|one| one.certainty.is_certain()), "{search}");
    }
    let open = detect(rule("dns_query", "{QueryResults: 198.51.100.1}"), &cut);
    let fields = vec!["QueryResults".into()];
    assert_eq!(open[0].certainty, Certainty::Undetermined { fields });
    assert_eq!(detect(rule("network_connection", "{Image|endswith: /bash}"), &found), []);
}

#[test]
fn detections_say_which_fields_and_values() {
    let found = detect(
        rule(
            "process_creation",
            "{Image|endswith: [/sh, /bash], CommandLine|contains|all: [id, passwd]}",
        ),
        &exec(lineage()),
    );
    let evidence: Vec<_> =
        found[0].evidence.iter().map(|one| (&*one.field, one.value.to_string())).collect();
    assert_eq!(
        evidence,
        [
            ("Image", "/usr/bin/bash".to_owned()),
            ("CommandLine", "bash -c id; cat /etc/passwd".to_owned())
        ]
    );
    let list = rule("process_creation", "{AncestorImages|endswith: /systemd}");
    let found = detect(list, &exec(lineage()));
    assert_eq!(found[0].evidence[0].value, "/usr/lib/systemd/systemd");
}

#[test]
fn a_truncated_or_unreadable_field_leaves_a_rule_undetermined() {
    let event = exec(truncated(lineage(), 10));
    let certainty = |search: &str| {
        let mut found = detect(rule("process_creation", search), &event);
        found.pop().map(|detection| detection.certainty)
    };
    let open = Certainty::Undetermined { fields: vec!["CommandLine".into()] };
    assert_eq!(certainty("{CommandLine|contains: passwd}"), Some(open.clone()));
    assert_eq!(certainty("{CommandLine|contains: passwd, Image|endswith: /zsh}"), None);
    assert_eq!(certainty("{CommandLine|re: 'pass.?wd'}"), Some(open.clone()));
    assert_eq!(certainty("{CommandLine|startswith: 'bash -c'}"), Some(Certainty::Certain));
    assert_eq!(certainty("{CommandLine|startswith: 'zsh -c'}"), None);

    // An ancestor that is not known leaves open what asks for all of them, and not what asks for those that are known.
    let mut stranger = process("/usr/bin/strange", &["x"], None);
    stranger.executable.path.provenance = Provenance::Unreadable;
    let shell = process("/usr/bin/bash", &["bash"], Some(Arc::new(stranger)));
    let below = exec(process("/usr/bin/id", &["id"], Some(Arc::new(shell))));
    let of_below = |search: &str| {
        let mut found = detect(rule("process_creation", search), &below);
        found.pop().map(|detection| detection.certainty)
    };
    let ancestors = Certainty::Undetermined { fields: vec!["AncestorImages".into()] };
    assert_eq!(of_below("{AncestorImages: /usr/bin/make}"), Some(ancestors));
    assert_eq!(of_below("{KnownAncestorImages: /usr/bin/make}"), None);
    assert_eq!(of_below("{KnownAncestorImages|endswith: /strange}"), None);
    assert_eq!(of_below("{KnownAncestorImages|endswith: /bash}"), Some(Certainty::Certain));

    let mut unreadable = lineage();
    unreadable.arguments.provenance = Provenance::Unreadable;
    let found = detect(rule("process_creation", "{CommandLine|contains: x}"), &exec(unreadable));
    assert_eq!(found[0].certainty, open);
}

#[test]
fn what_is_undetermined_is_counted_and_not_raised_unless_asked_for() {
    let handle = RuleHandle::new(rule("process_creation", "{CommandLine|contains: passwd}"));
    let mut found = Vec::new();
    handle.detector().detect(&exec(truncated(lineage(), 10)), &mut found);
    assert_eq!((found.len(), handle.undetermined()), (0, 1));
}

#[test]
fn bytes_that_are_no_text_match_as_they_are() {
    let mut odd = lineage();
    odd.executable.path.value = b"/tmp/\xff\xfe/Sh"[..].into();
    let event = exec(odd);
    assert_eq!(detect(rule("process_creation", "{Image|endswith: /sh}"), &event).len(), 1);
    assert_eq!(detect(rule("process_creation", "{Image: '/tmp/??/sh'}"), &event).len(), 1);
}

#[test]
fn rules_of_keywords_are_for_text_unless_asked_for() {
    let text = "title: Keywords\nlogsource: {product: linux}\ndetection:\n  \
                keywords: [passwd]\n  condition: keywords\n";
    let event = exec(lineage());
    assert_eq!(detect(RuleSet::from_yaml(text).unwrap(), &event), []);
    let mut builder = RuleSetBuilder::new().with_keywords_on_structured_records();
    builder.add_str("keywords", text);
    assert_eq!(detect(builder.build().unwrap().rules, &event).len(), 1);
}

#[test]
fn rules_without_a_category_apply_to_every_event_of_the_product() {
    let text = "title: Any\nlogsource: {product: linux}\ndetection:\n  \
                selection: {Image|endswith: /bash}\n  condition: selection\n";
    for event in [exec(lineage()), connect(lineage(), "192.0.2.1:80".parse().unwrap(), 0)] {
        assert_eq!(detect(RuleSet::from_yaml(text).unwrap(), &event).len(), 1);
    }
    // Once for an event, though it is of two categories.
    let both = open(lineage(), "/etc/motd", 0o2, 3);
    assert_eq!(detect(RuleSet::from_yaml(text).unwrap(), &both).len(), 1);
    let windows = text.replace("linux", "windows");
    assert_eq!(detect(RuleSet::from_yaml(&windows).unwrap(), &exec(lineage())), []);
}
