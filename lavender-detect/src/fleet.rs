//! Rules on the events of many agents.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lavender_core::event::{Event, EventData};
use lavender_core::{AgentDetection, AlertStage, FleetDetector, TenantId};

use crate::correlate::{CorrelatingDetector, CorrelatorOptions};
use crate::detector::SigmaDetector;
use crate::novelty::NoveltyOptions;
use crate::risk::{RiskOptions, RiskOptionsError, RiskStage};
use crate::ruleset::RuleSet;
use crate::suppress::{SuppressionAnchor, SuppressionOptions, SuppressionStage};
use crate::tenant::{TenantDetectors, TenantRules};

/// How the events of many agents are looked at. Every bound is of one agent.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FleetOptions {
    /// How detections are correlated.
    pub correlation: CorrelatorOptions,
    /// How novelty is learned.
    pub novelty: NoveltyOptions,
    /// How scores are kept; `None` for none.
    pub risk: Option<RiskOptions>,
    /// What repeats an alert; `None` where nothing is held back. Its anchor is
    /// [`Cell`](SuppressionAnchor::Cell) whatever it says, since any other depends on the order.
    pub suppression: Option<SuppressionOptions>,
    /// The most bytes of the events, with their processes, that are kept for what is raised after them. 256 KiB unless
    /// said.
    pub event_bytes_max: usize,
}

impl FleetOptions {
    /// Options for events that come late by up to `lateness`: choose it longer than the transport waits for an
    /// acknowledgement. Bounds come to 768 KiB for an agent.
    pub fn new(lateness: Duration) -> Self {
        // What a correlation decides when its window is over counts for a score when its time is long past.
        let risk_lateness = lateness.saturating_mul(3);
        Self {
            correlation: CorrelatorOptions { lateness, state_bytes_max: 96 << 10 },
            novelty: NoveltyOptions {
                lateness,
                rule_bytes_max: 32 << 10,
                state_bytes_max: 96 << 10,
                baseline: None,
            },
            risk: Some(RiskOptions {
                lateness: risk_lateness,
                state_bytes_max: 64 << 10,
                ..RiskOptions::default()
            }),
            suppression: Some(SuppressionOptions {
                state_bytes_max: 256 << 10,
                ..SuppressionOptions::default()
            }),
            event_bytes_max: 256 << 10,
        }
    }
}

/// Evaluates Sigma rules on the events of many agents, with correlation, novelty, scores and suppression for each of
/// them: what a [`DetectionWorker`](https://docs.rs/lavender-core) is given.
///
/// Rules are compiled once for all agents; what is known of each is its own. What an event hits is found out once, when it
/// is asked whom it concerns, and remembered until [`take_renewed`](FleetDetector::take_renewed) is asked, before the next
/// batch.
///
/// ```
/// use std::time::Duration;
/// use lavender_core::{FleetDetector, TenantId};
/// use lavender_detect::{FleetOptions, RuleHandle, RuleSet, SigmaFleetDetector};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let handle = RuleHandle::new(RuleSet::empty());
/// let options = FleetOptions::new(Duration::from_secs(60));
/// let mut detector = SigmaFleetDetector::new(handle.detector(), options)?;
/// let agent = detector.begin(&TenantId::new("acme")?);
/// assert_eq!(agent.stages.len(), 2); // scores, suppression
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SigmaFleetDetector {
    sigma: Arc<Mutex<SigmaDetector>>,
    tenants: TenantDetectors,
    options: FleetOptions,
    /// The rules that agents were last told the time for.
    told: RuleSet,
}

impl SigmaFleetDetector {
    /// Evaluates the rules of this detector.
    ///
    /// # Errors
    ///
    /// [`RiskOptionsError`] when the options of scores cannot be.
    pub fn new(sigma: SigmaDetector, mut options: FleetOptions) -> Result<Self, RiskOptionsError> {
        if let Some(risk) = &options.risk {
            RiskStage::new(risk.clone())?;
        }
        if let Some(suppression) = &mut options.suppression {
            suppression.anchor = SuppressionAnchor::Cell;
        }
        let told = sigma.rules().clone();
        let tenants = TenantDetectors::new(TenantRules::default(), sigma.policy());
        Ok(Self { sigma: Arc::new(Mutex::new(sigma)), tenants, options, told })
    }

    /// Evaluates these rules for the tenants that have their own, and for the others those that it was made with.
    #[must_use]
    pub fn with_tenants(mut self, tenants: TenantRules) -> Self {
        let policy = lock(&self.sigma).policy();
        self.tenants = TenantDetectors::new(tenants, policy);
        self
    }

    fn sigma(&self, tenant: &TenantId) -> &Arc<Mutex<SigmaDetector>> {
        self.tenants.get(tenant).unwrap_or(&self.sigma)
    }
}

fn lock(sigma: &Mutex<SigmaDetector>) -> MutexGuard<'_, SigmaDetector> {
    sigma.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The newest rules, which it evaluates from now on.
fn rules(sigma: &Mutex<SigmaDetector>) -> RuleSet {
    let mut sigma = lock(sigma);
    sigma.refresh();
    sigma.rules().clone()
}

impl FleetDetector for SigmaFleetDetector {
    fn concerns(&mut self, tenant: &TenantId, event: &Arc<Event>) -> bool {
        if let EventData::Lost(_) = event.data {
            return true;
        }
        lock(self.sigma(tenant)).look_ahead(event)
    }

    fn begin(&mut self, tenant: &TenantId) -> AgentDetection {
        let FleetOptions { correlation, novelty, risk, suppression, event_bytes_max } =
            self.options.clone();
        let sigma = self.sigma(tenant);
        let detector = CorrelatingDetector::taking_turns(
            sigma,
            &rules(sigma),
            correlation,
            novelty,
            event_bytes_max,
        );
        // The options were checked when this was made.
        let risk = risk.and_then(|options| RiskStage::new(options).ok());
        let mut stages: Vec<Box<dyn AlertStage>> = Vec::new();
        stages.extend(risk.map(|stage| Box::new(stage) as _));
        stages.extend(suppression.map(|options| Box::new(SuppressionStage::new(options)) as _));
        AgentDetection { detector: Box::new(detector), stages }
    }

    fn take_renewed(&mut self) -> bool {
        lock(&self.sigma).forget_ahead();
        let rules = rules(&self.sigma);
        let renewed = !rules.is_same(&self.told);
        self.told = rules;
        // Both are asked.
        self.tenants.take_renewed() || renewed
    }
}
