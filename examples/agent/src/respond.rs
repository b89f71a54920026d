//! What is done about an alert: decided by policy, done by the enforcement.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lavender_bpf::{
    BreakerOptions, Enforcer, EnforcerOptions, IsolationState, Isolator, SharedEnforcer,
};
use lavender_core::event::Event;
use lavender_core::{Alert, Outcome, Responder, ResponseOutcome, SystemClock};
use lavender_detect::ResponsePolicy;

use crate::config::ResponseConfig;
use crate::exit::{Exit, Failure};

/// Answers alerts as configured.
///
/// ```
/// use lavender_agent::config::Config;
/// use lavender_agent::isolate::isolator;
/// use lavender_agent::respond::PolicyResponder;
///
/// let config = Config::default();
/// let responder = PolicyResponder::new(&config.response, isolator(&config));
/// assert!(responder.is_ok());
/// ```
#[derive(Debug)]
pub struct PolicyResponder {
    policy: ResponsePolicy,
    enforcer: SharedEnforcer,
    isolator: Isolator,
}

impl PolicyResponder {
    /// Decides and acts as configured; isolates by `isolator`.
    ///
    /// # Errors
    ///
    /// [`Exit::Configuration`] when the policy cannot be.
    pub fn new(config: &ResponseConfig, isolator: Isolator) -> Result<Self, Failure> {
        let clauses = config.policy.iter().map(crate::config::PolicyClause::to_clause);
        let rule_actions = config.rule_actions.iter().map(|action| (*action).into());
        let policy = ResponsePolicy::new(clauses, rule_actions)
            .map_err(|error| Failure::new(Exit::Configuration, error))?;
        let options = options(config, isolator.clone());
        let enforcer = Enforcer::new(options, Arc::new(SystemClock));
        Ok(Self { policy, enforcer: SharedEnforcer::new(enforcer), isolator })
    }

    /// What acts: for who decides beside the policy.
    pub fn enforcer(&self) -> SharedEnforcer {
        self.enforcer.clone()
    }
}

fn options(config: &ResponseConfig, isolator: Isolator) -> EnforcerOptions {
    let seconds = |seconds: std::num::NonZeroU32| Duration::from_secs(seconds.get().into());
    fn paths<P: AsRef<str>>(paths: &[P]) -> Vec<PathBuf> {
        paths.iter().map(|path| path.as_ref().into()).collect()
    }
    EnforcerOptions {
        dry_run: config.dry_run,
        protected_executables: paths(&config.protected_executables),
        protected_paths: paths(&config.protected_paths),
        max_per_minute: config.max_per_minute.get(),
        breaker: BreakerOptions {
            max_responses: config.breaker_responses.get(),
            window: seconds(config.breaker_window_secs),
            open_for: seconds(config.breaker_open_secs),
        },
        quarantine: config.quarantine_dir.as_ref().into(),
        isolator: Some(isolator),
    }
}

impl Responder for PolicyResponder {
    fn observe(&mut self, event: &Event, out: &mut Vec<ResponseOutcome>) {
        let before = out.len();
        self.enforcer.observe(event, out);
        out.iter().skip(before).for_each(log);
    }

    fn respond(&mut self, alert: &Alert, event: &Event, out: &mut Vec<ResponseOutcome>) {
        let before = out.len();
        let score = alert.risk.as_ref().map(|risk| risk.score);
        for decision in self.policy.decide(alert, event, score) {
            if decision.allowed {
                self.enforcer.enforce(decision.order, out);
            } else {
                out.push(ResponseOutcome::new(decision.order, Outcome::NotAllowed));
            }
        }
        out.iter().skip(before).for_each(log);
    }

    /// As the kernel says; where it does not, nobody could have isolated.
    fn is_isolated(&self) -> bool {
        match self.isolator.state() {
            Ok(state) => matches!(state, IsolationState::Isolated(_)),
            Err(error) => {
                tracing::debug!(%error, "whether this host is isolated is not known");
                false
            }
        }
    }
}

/// Says on stderr what was done: of a tree, in one line. What was done to whom is in the events.
fn log(answer: &ResponseOutcome) {
    let ResponseOutcome { order, outcome, .. } = answer;
    if answer.tree_of.is_none() {
        tracing::warn!(cause = %order.cause, ?outcome, "{} ({})", order.action, order.decided_by);
    }
}
