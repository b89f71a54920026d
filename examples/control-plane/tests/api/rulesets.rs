//! Rulesets: uploaded, refused, tested, published, and handed over.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use lavender_control_plane::{RulesetSink, watch};
use lavender_core::conformance::sample::Sample;
use lavender_core::ruleset::Ruleset;
use lavender_core::store::{Publication, Role};
use lavender_core::{Error, ErrorKind, Result, TenantId, async_trait};
use lavender_detect::{RuleHandle, RuleSetBuilder};
use serde_json::{Value, json};

use crate::plane::{Answer, Plane, raise};

fn rule(id: &str, word: &str) -> String {
    format!(
        "title: Rule {id}\nid: {id}\nlogsource: {{product: linux, category: process_creation}}\n\
         detection: {{s: {{CommandLine|contains: {word}}}, condition: s}}\nlevel: high\n"
    )
}

fn body(files: &[(&str, &str)]) -> Value {
    let files = files.iter().map(|(name, text)| json!({"name": name, "text": text}));
    json!({"files": files.collect::<Vec<_>>(), "reason": "new attack"})
}

async fn upload(plane: &Plane, token: &str, files: &[(&str, &str)]) -> Answer {
    plane.ask(Method::POST, "/api/v1/rulesets", Some(token), Some(&body(files))).await
}

async fn uploaded(plane: &Plane, token: &str, files: &[(&str, &str)]) -> String {
    let answer = upload(plane, token, files).await;
    assert!(answer.status.is_success(), "{}", String::from_utf8_lossy(&answer.body));
    answer.json()["digest"].as_str().unwrap().to_owned()
}

async fn publish(plane: &Plane, token: &str, digest: &str, revision: u64) -> Answer {
    let path = format!("/api/v1/rulesets/{digest}/publish");
    let body = json!({"revision": revision, "reason": "it is good"});
    plane.ask(Method::POST, &path, Some(token), Some(&body)).await
}

/// Takes what it is given, once it is to.
#[derive(Debug, Default)]
struct Taken {
    taken: Mutex<Vec<(TenantId, u64, Ruleset)>>,
    broken: Mutex<bool>,
}

#[async_trait]
impl RulesetSink for Taken {
    async fn publish(&self, tenant: &TenantId, of: &Publication, rules: &Ruleset) -> Result<()> {
        if *self.broken.lock().unwrap() {
            return Err(Error::new(ErrorKind::Unavailable, "broker", "it is away"));
        }
        self.taken.lock().unwrap().push((tenant.clone(), of.revision, rules.clone()));
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_compiles_is_kept_once_and_listed_with_its_rules() {
    let plane = Plane::new();
    let admin = plane.token("acme", Role::Admin).await;
    let viewer = plane.token("acme", Role::Viewer).await;
    let (a, b) = (rule("a", "shadow"), rule("b", "passwd"));
    let files = [("x/a.yml", &*a), ("b.yaml", &*b), ("b.test.yml", "not: read")];
    let answer = upload(&plane, &admin, &files).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&answer.body));
    let first = answer.json();
    assert_eq!((&first["files"], &first["published"]), (&json!(3), &json!(false)));
    let mut turned = files;
    turned.reverse();
    let again = upload(&plane, &admin, &turned).await;
    assert_eq!((again.status, again.json()), (StatusCode::OK, first.clone()));
    let listed = plane.read("/api/v1/rulesets", &viewer).await;
    assert_eq!(listed["items"], json!([first]));

    let path = format!("/api/v1/rulesets/{}", first["digest"].as_str().unwrap());
    let detail = plane.read(&path, &viewer).await;
    assert_eq!(detail["ruleset"], first);
    assert_eq!(detail["files"][2], json!({"name": "x/a.yml", "text": a}));
    let ids: Vec<_> = detail["rules"].as_array().unwrap().iter().map(|rule| &rule["id"]).collect();
    assert_eq!(ids, ["a", "b"]);
    let audit = plane.read("/api/v1/audit", &admin).await;
    let lines = audit["items"].as_array().unwrap();
    let of_upload: Vec<_> = lines.iter().filter(|l| l["action"] == "ruleset_upload").collect();
    assert_eq!(of_upload.len(), 1, "{lines:?}");
    assert_eq!(
        (&of_upload[0]["target"], &of_upload[0]["reason"]),
        (&first["digest"], &json!("new attack"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_with_a_fault_is_refused_whole_and_every_fault_told_by_file_and_line() {
    let plane = Plane::new();
    let admin = plane.token("acme", Role::Admin).await;
    let good = rule("good", "x");
    let broken = "title: Broken\nlogsource: {product: linux}\ndetection:\n  s:\n    Image|endwith: /nc\n  condition: t\n";
    let answer =
        upload(&plane, &admin, &[("a.yml", &good), ("b.yml", broken), ("c.yml", "{")]).await;
    answer.is_problem(StatusCode::BAD_REQUEST);
    let errors = answer.json()["errors"].clone();
    let told: Vec<_> =
        errors.as_array().unwrap().iter().map(|error| (&error["file"], &error["line"])).collect();
    assert!(told.contains(&(&json!("b.yml"), &json!(5))), "{errors}");
    assert!(told.iter().any(|(file, _)| *file == "c.yml"), "{errors}");
    assert!(!told.iter().any(|(file, _)| *file == "a.yml"), "{errors}");
    let of_b = errors.as_array().unwrap().iter().find(|error| error["line"] == 5).unwrap();
    assert_eq!(of_b["rule"], "Broken");
    assert!(of_b["reason"].as_str().unwrap().contains("endwith"), "{of_b}");
    // Two rules of one set with one id are a fault; one that a rule that comes with Lavender has is not.
    let twice = upload(&plane, &admin, &[("a.yml", &good), ("b.yml", &good)]).await;
    twice.is_problem(StatusCode::BAD_REQUEST);
    for wrong in ["../a.yml", "a", "", "/etc/a.yml", ".a.yml"] {
        upload(&plane, &admin, &[(wrong, &good)]).await.is_problem(StatusCode::BAD_REQUEST);
    }
    assert_eq!(plane.read("/api/v1/rulesets", &admin).await["items"], json!([]));
    let (_, builtin) = lavender_detect::builtin::rules().next().unwrap();
    let replacing = upload(&plane, &admin, &[("mine.yml", builtin)]).await;
    assert_eq!(
        replacing.status,
        StatusCode::CREATED,
        "{}",
        String::from_utf8_lossy(&replacing.body)
    );
    let large = format!("{good}{}", "#".repeat(3 << 20));
    assert_eq!(upload(&plane, &admin, &[("large.yml", &large)]).await.status, StatusCode::CREATED);
    let larger = "#".repeat(5 << 20);
    upload(&plane, &admin, &[("larger.yml", &larger)]).await.is_problem(StatusCode::BAD_REQUEST);
    let too_large = "#".repeat(9 << 20);
    let answer = upload(&plane, &admin, &[("larger.yml", &too_large)]).await;
    answer.is_problem(StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_handed_over_and_of_two_who_publish_one_does() {
    let taken = Arc::new(Taken::default());
    let plane = Plane::with(|options| options.rulesets = Some(taken.clone()));
    let admin = plane.token("acme", Role::Admin).await;
    let (a, b) = (rule("a", "x"), rule("b", "y"));
    let first = uploaded(&plane, &admin, &[("a.yml", &a)]).await;
    let second = uploaded(&plane, &admin, &[("b.yml", &b)]).await;
    let answer = publish(&plane, &admin, &first, 0).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.body));
    let published = answer.json();
    assert_eq!(
        (&published["sent"], &published["publication"]["revision"]),
        (&json!(true), &json!(1))
    );
    publish(&plane, &admin, &second, 0).await.is_problem(StatusCode::CONFLICT);
    publish(&plane, &admin, &second, u64::MAX).await.is_problem(StatusCode::CONFLICT);
    publish(&plane, &admin, &"0".repeat(64), 1).await.is_problem(StatusCode::NOT_FOUND);
    publish(&plane, &admin, "x", 1).await.is_problem(StatusCode::BAD_REQUEST);
    assert_eq!(publish(&plane, &admin, &second, 1).await.status, StatusCode::OK);
    assert_eq!(publish(&plane, &admin, &first, 2).await.status, StatusCode::OK);
    let told: Vec<_> = taken
        .taken
        .lock()
        .unwrap()
        .iter()
        .map(|(tenant, revision, rules)| {
            (tenant.to_string(), *revision, rules.digest().to_string())
        })
        .collect();
    let acme = || "acme".to_owned();
    assert_eq!(told, [(acme(), 1, first.clone()), (acme(), 2, second), (acme(), 3, first.clone())]);

    let viewer = plane.token("acme", Role::Viewer).await;
    let history = plane.read("/api/v1/rules/publications?limit=2", &viewer).await;
    let revisions: Vec<_> =
        history["items"].as_array().unwrap().iter().map(|it| it["revision"].as_u64()).collect();
    assert_eq!(revisions, [Some(3), Some(2)]);
    assert_eq!(history["items"][0]["reason"], "it is good");
    assert!(history["next"].is_string());
    let listed = plane.read("/api/v1/rulesets", &viewer).await;
    let is_published: Vec<_> =
        listed["items"].as_array().unwrap().iter().map(|it| &it["published"]).collect();
    assert_eq!(is_published, [false, true]);
    let stranger = plane.token("globex", Role::Admin).await;
    publish(&plane, &stranger, &first, 0).await.is_problem(StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_taken_is_handed_over_later() {
    let taken = Arc::new(Taken { broken: Mutex::new(true), ..Taken::default() });
    let plane = Plane::with(|options| {
        options.rulesets = Some(taken.clone());
        options.sweep_every = Duration::from_millis(20);
    });
    let admin = plane.token("acme", Role::Admin).await;
    let digest = uploaded(&plane, &admin, &[("a.yml", &rule("a", "x"))]).await;
    let published = publish(&plane, &admin, &digest, 0).await.json();
    assert_eq!(published["sent"], false);
    assert!(published["failure"].as_str().unwrap().contains("it is away"), "{published}");
    let watching = tokio::spawn(watch(plane.plane.clone()));
    tokio::time::sleep(Duration::from_millis(100)).await;
    *taken.broken.lock().unwrap() = false;
    for _ in 0..1_000 {
        if !taken.taken.lock().unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    watching.abort();
    let taken = taken.taken.lock().unwrap();
    assert_eq!(taken.len(), 1, "once it is taken it is not handed over again");
    assert_eq!((taken[0].1, taken[0].2.digest().to_string()), (1, digest));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ruleset_is_tested_on_stored_events_as_far_as_is_asked() {
    let plane = Plane::new();
    let admin = plane.token("acme", Role::Admin).await;
    let mut sample = Sample::new("acme", "web-1", 1);
    for _ in 0..500 {
        raise(&plane, &mut sample, "r").await;
    }
    let rules = rule("secrets", "/etc/shadow");
    let digest = uploaded(&plane, &admin, &[("a.yml", &rules)]).await;
    let test = |what: Value| {
        let mut body = json!({"from": "2023-11-14T00:00:00Z", "to": "2023-11-15T00:00:00Z"});
        body.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
        let (plane, admin) = (&plane, &admin);
        async move { plane.ask(Method::POST, "/api/v1/rules/test", Some(admin), Some(&body)).await }
    };
    let files = json!([{"name": "a.yml", "text": rules}]);
    for what in [
        json!({"ruleset": digest, "max_events": 100_000}),
        json!({"files": files, "max_events": 2_000}),
    ] {
        let result = test(what).await.json();
        assert_eq!(
            (&result["events"], &result["matches"]),
            (&json!(1_500), &json!(500)),
            "{result}"
        );
        assert_eq!(result["stopped"], "end");
        assert!(result["found"].as_array().unwrap().iter().all(|found| found["rule"] == "secrets"));
    }
    let result = test(json!({"ruleset": digest})).await.json();
    assert_eq!((&result["events"], &result["stopped"]), (&json!(1_000), &json!("max_events")));
    let rest = test(json!({"ruleset": digest, "after": result["next"]})).await.json();
    assert_eq!((&rest["events"], &rest["stopped"]), (&json!(500), &json!("end")));
    let both = result["matches"].as_u64().unwrap() + rest["matches"].as_u64().unwrap();
    assert_eq!(both, 500);
    let faulty = json!([{"name": "a.yml", "text": "title: x"}]);
    let refused = test(json!({"files": faulty})).await;
    refused.is_problem(StatusCode::BAD_REQUEST);
    assert_eq!(refused.json()["errors"][0]["file"], "a.yml");
    for wrong in [
        json!({}),
        json!({"ruleset": digest, "files": files}),
        json!({"ruleset": "0".repeat(63)}),
        json!({"ruleset": digest, "max_events": 0}),
        json!({"ruleset": digest, "max_events": 100_001}),
    ] {
        test(wrong).await.is_problem(StatusCode::BAD_REQUEST);
    }
    test(json!({"ruleset": "0".repeat(64)})).await.is_problem(StatusCode::NOT_FOUND);
}

/// The ids, sources and revisions that are listed, of those rules that are not bundled; and how many are.
async fn in_force(plane: &Plane, token: &str) -> (Vec<(String, String, Option<u64>)>, usize) {
    let (mut own, mut bundled) = (Vec::new(), 0);
    let mut path = "/api/v1/rules?limit=50".to_owned();
    loop {
        let page = plane.read(&path, token).await;
        for rule in page["items"].as_array().unwrap() {
            let text = |name: &str| rule[name].as_str().unwrap().to_owned();
            match &*text("source") {
                "bundled" => bundled += 1,
                source => own.push((text("id"), source.to_owned(), rule["revision"].as_u64())),
            }
        }
        let Some(next) = page["next"].as_str() else { return (own, bundled) };
        path = format!("/api/v1/rules?limit=50&after={next}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_force_is_listed_with_where_it_comes_from() {
    let mut builder = RuleSetBuilder::new();
    builder.add_builtin();
    builder.add_str("/etc/rules/local.yml", &rule("local", "word"));
    builder.add_str("/etc/rules/replaced.yml", &rule("replaced", "word"));
    let rules = builder.build().unwrap().rules;
    let all = rules.len() + rules.correlations().len() - 2;
    let bundled = rules.iter().find(|rule| !rule.file().starts_with("/etc/")).unwrap();
    let replaced = bundled.meta().id.to_string();
    let plane = Plane::with(|options| options.rules = RuleHandle::new(rules));
    let admin = plane.token("acme", Role::Admin).await;
    let stranger = plane.token("globex", Role::Viewer).await;
    let of = |id: &str, source: &str, revision| (id.to_owned(), source.to_owned(), revision);
    let local = vec![of("local", "file", None), of("replaced", "file", None)];
    assert_eq!(in_force(&plane, &admin).await, (local.clone(), all));

    // What is uploaded is not in force; what is published is, in the place of what has its id.
    let (a, b, c) = (rule("aaa", "x"), rule("replaced", "y"), rule(&replaced, "z"));
    let digest = uploaded(&plane, &admin, &[("a.yml", &a), ("b.yml", &b), ("c.yml", &c)]).await;
    assert_eq!(in_force(&plane, &admin).await, (local.clone(), all));
    assert!(publish(&plane, &admin, &digest, 0).await.status.is_success());
    let mut expected = vec![
        of("aaa", "published", Some(1)),
        local[0].clone(),
        of("replaced", "published", Some(1)),
        of(&replaced, "published", Some(1)),
    ];
    expected.sort();
    assert_eq!(in_force(&plane, &admin).await, (expected, all - 1));
    assert_eq!(in_force(&plane, &stranger).await, (local.clone(), all), "of another tenant");

    // The same set again, another one, and none.
    assert!(publish(&plane, &admin, &digest, 1).await.status.is_success());
    let (own, _) = in_force(&plane, &admin).await;
    assert!(own.contains(&of("aaa", "published", Some(2))), "{own:?}");
    let other = uploaded(&plane, &admin, &[("a.yml", &rule("zzz", "x"))]).await;
    assert!(publish(&plane, &admin, &other, 2).await.status.is_success());
    let expected = [&local[..], &[of("zzz", "published", Some(3))]].concat();
    assert_eq!(in_force(&plane, &admin).await, (expected, all));
    let nothing = uploaded(&plane, &admin, &[]).await;
    assert!(publish(&plane, &admin, &nothing, 3).await.status.is_success());
    assert_eq!(in_force(&plane, &admin).await, (local, all));
}
