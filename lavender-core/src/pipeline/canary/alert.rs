//! The alert of a canary that is not seen.

use std::sync::Arc;

use crate::AlertId;
use crate::event::{CanaryMissing, Event};
use crate::rule::{Certainty, Correlated, Detection, Evidence, RuleMeta, Severity};

/// The id of the built-in rule that raises an alert where the sensor does not see the agent's own canary.
pub const CANARY_RULE: &str = "lavender-canary";

fn rule() -> RuleMeta {
    RuleMeta {
        id: CANARY_RULE.into(),
        title: "The Sensor Does Not See the Agent's Own Canary".into(),
        level: Severity::High,
        description: Some(
            "The agent did what its sensor must see, and the sensor did not see it: what others do is not seen either. \
             Somebody may have blinded it."
                .into(),
        ),
        tags: vec!["attack.defense-impairment".into(), "attack.t1685".into()],
        false_positives: vec![
            "A host on which no program can be started, or so busy that one takes longer than the deadline".into(),
            "Losses in the kernel, or more acts in the agent's own control group than are told one by one".into(),
        ],
        unsuppressed: true,
        ..RuleMeta::default()
    }
}

/// What is found where a canary is missing: one alert for as long as it is, which rests on the heartbeat that tells of it.
pub(in crate::pipeline) fn detection(missing: &CanaryMissing, beat: &Arc<Event>) -> Detection {
    let kinds: Vec<&str> = missing.kinds.iter().map(|kind| kind.as_str()).collect();
    let mut evidence = vec![
        Evidence { field: "CanaryMissing".into(), value: kinds.join(", ").as_str().into() },
        Evidence { field: "CanarySince".into(), value: missing.since.to_string().as_str().into() },
    ];
    if let Some(fault) = &missing.fault {
        evidence.push(Evidence { field: "CanaryFault".into(), value: (&**fault).into() });
    }
    Detection {
        rule: Arc::new(rule()),
        event: Arc::clone(beat),
        evidence,
        certainty: Certainty::Certain,
        correlated: Some(Box::new(Correlated {
            id: AlertId::of_correlation(CANARY_RULE, b"", missing.since.as_nanos()),
            observed_at: beat.observed_at,
            events: vec![beat.id],
            incomplete: false,
        })),
    }
}
