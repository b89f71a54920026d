//! Sigma rules in a tool of one's own: no kernel, no runtime, events of any shape.
//!
//!     cargo run -p lavender-cookbook --example embed_rules

use lavender_detect::{JsonFields, LogSource, RuleSetBuilder, builtin};
use serde_json::json;

#[allow(clippy::print_stdout, reason = "a sample shows what it does")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut builder = RuleSetBuilder::new().with_placeholders(builtin::placeholders());
    builder.add_builtin();
    builder.add_str(
        "mine.yml",
        "title: Miner
logsource: {product: linux, category: process_creation}
detection:
  pool: {CommandLine|contains: ['stratum+tcp://', '--donate-level']}
  condition: pool
level: high
",
    );
    let rules = builder.build()?.rules;

    // Once per rule set: where its fields are in the events.
    let fields = JsonFields::new(rules.fields());
    // Once per thread and log source: room to work in.
    let mut evaluator = rules.evaluator(&LogSource::linux("process_creation"));

    let events = [
        json!({"Image": "/usr/bin/ls", "CommandLine": "ls -la", "ParentImage": "/usr/bin/bash"}),
        json!({"Image": "/tmp/x", "CommandLine": "x -o stratum+tcp://pool.example:3333"}),
        json!({"Image": "/usr/bin/dash", "CommandLine": "sh -c id", "ParentImage": "/usr/sbin/nginx"}),
    ];
    let mut found = 0;
    for event in &events {
        for matched in evaluator.matches(&fields.record(event)) {
            found += 1;
            println!(
                "{}: {} ({})",
                event["CommandLine"],
                matched.meta().title,
                matched.meta().level
            );
        }
    }
    assert_eq!(found, 3, "the miner once, and the shell by two rules");
    Ok(())
}
