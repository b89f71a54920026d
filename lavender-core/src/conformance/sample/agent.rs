//! What the agent says of itself.

use std::sync::Arc;

use super::Sample;
use crate::event::{
    AgentStart, AgentStop, CanaryHealth, Event, EventData, EventKind, Heartbeat, Loss, LossStage,
    RulesetHealth, RulesetInUse, StopReason, Undescribed, Unhashed,
};
use crate::prevention::{PreventionCounts, PreventionHealth};
use crate::ruleset::RulesetDigest;
use crate::{Bytes, CommandCounts, CommandsRefused};

impl Sample {
    /// Something was lost.
    pub fn lost(&mut self, stage: LossStage, kind: EventKind, count: u64) -> Arc<Event> {
        self.event(None, EventData::Lost(Loss { cpu: Some(1), ..Loss::new(stage, kind, count) }))
    }

    /// The agent starts.
    pub fn agent_start(&mut self, version: &str) -> Arc<Event> {
        let data = AgentStart {
            host: Arc::clone(&self.source.host),
            version: version.into(),
            kernel_release: "6.1.0-test".into(),
            rules: 6,
            kinds: vec!["exec".into(), "file_open".into()],
        };
        self.event(None, EventData::AgentStart(data))
    }

    /// The agent stops.
    pub fn agent_stop(&mut self) -> Arc<Event> {
        self.event(None, EventData::AgentStop(AgentStop { reason: StopReason::Shutdown }))
    }

    /// The agent lives.
    pub fn heartbeat(&mut self) -> Arc<Event> {
        let data = Heartbeat {
            uptime_ms: u64::MAX,
            events: 1,
            alerts: 2,
            lost: 3,
            suppressed: 4,
            forgotten: 5,
            late: 6,
            filtered: [(EventKind::FileOpen, 7)].into(),
            throttled: [(EventKind::FileOpen, 1)].into(),
            unhashed: [(Unhashed::Gone, 2)].into(),
            undescribed: [(Undescribed::NotFound, 3)].into(),
            isolated: true,
            spool: None,
            ruleset: Some(RulesetHealth {
                in_use: Some(RulesetInUse {
                    revision: 8,
                    digest: RulesetDigest::from_bytes([9; 32]),
                }),
                fault: Some("of a later one".into()),
            }),
            commands: Some(CommandCounts {
                admitted: 10,
                repeated: 11,
                refused: CommandsRefused { forged: 12, ..CommandsRefused::default() },
            }),
            canary: Some(Box::new(CanaryHealth {
                seen: 13,
                missed: 14,
                last_seen_at: Some(self.now()),
                latency_ms: Some(15),
                missing: None,
            })),
            prevention: Some(Box::new(PreventionHealth {
                dry_run: true,
                rules: 16,
                unavailable: [("prevent_open".into(), "it is not there".into())].into(),
                counts: PreventionCounts { acts: 17, untold: 18, spared: 19, missed: 20 },
            })),
        };
        self.event(None, EventData::Heartbeat(Box::new(data)))
    }

    /// An event of a kind that this version does not know.
    pub fn unknown(&mut self) -> Arc<Event> {
        let body = Bytes::from_static(br#"{"a":[1,2,{"b":null}],"large":18446744073709551615}"#);
        self.event(None, EventData::Unknown { kind: "from_the_future".into(), body })
    }
}
