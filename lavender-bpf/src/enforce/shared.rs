//! One enforcement for all who decide.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lavender_core::event::Event;
use lavender_core::{ResponseOrder, ResponseOutcome};

use super::Enforcer;

/// One [`Enforcer`] for all who decide, such as a policy and the control plane: what is protected, the rates and what was
/// done before hold for them together. Clones are the same one. One order is carried out at a time; others wait.
///
/// ```
/// use std::sync::Arc;
/// use lavender_bpf::{Enforcer, EnforcerOptions, SharedEnforcer};
/// use lavender_core::{Outcome, ResponseAction, ResponseCause, ResponseOrder, ResponseTarget, SystemClock};
///
/// let policy = SharedEnforcer::new(Enforcer::new(EnforcerOptions::default(), Arc::new(SystemClock)));
/// let control_plane = policy.clone();
/// let order = ResponseOrder {
///     cause: ResponseCause::Operator("uid 0".into()),
///     action: ResponseAction::Isolate,
///     target: ResponseTarget::Host,
///     decided_by: "a sample".into(),
/// };
/// let mut outcomes = Vec::new();
/// control_plane.enforce(order.clone(), &mut outcomes);
/// assert!(matches!(outcomes[0].outcome, Outcome::Unsupported { .. }));
/// // The same order does nothing again, whoever gives it.
/// policy.enforce(order, &mut outcomes);
/// assert_eq!(outcomes.len(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct SharedEnforcer(Arc<Mutex<Enforcer>>);

impl SharedEnforcer {
    /// Shares an enforcer.
    pub fn new(enforcer: Enforcer) -> Self {
        Self(Arc::new(Mutex::new(enforcer)))
    }

    /// As [`Enforcer::enforce`]. Waits while another order is carried out.
    pub fn enforce(&self, order: ResponseOrder, out: &mut Vec<ResponseOutcome>) {
        self.lock().enforce(order, out);
    }

    /// As [`Enforcer::observe`]. Waits while an order is carried out.
    pub fn observe(&self, event: &Event, out: &mut Vec<ResponseOutcome>) {
        self.lock().observe(event, out);
    }

    fn lock(&self) -> MutexGuard<'_, Enforcer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
