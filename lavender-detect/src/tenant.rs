//! Rules that some tenants have for themselves.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lavender_core::TenantId;

use crate::detector::{RuleHandle, SigmaDetector, UndeterminedPolicy};
use crate::ruleset::RuleSet;

/// The rules of tenants that have others than everybody. Clones are the same ones; rules are swapped while events flow.
///
/// ```
/// use std::time::Duration;
/// use lavender_core::{FleetDetector as _, TenantId};
/// use lavender_detect::{FleetOptions, RuleHandle, RuleSet, SigmaFleetDetector, TenantRules};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (everybody, tenants) = (RuleHandle::new(RuleSet::empty()), TenantRules::default());
/// let options = FleetOptions::new(Duration::from_secs(60));
/// let mut detector =
///     SigmaFleetDetector::new(everybody.detector(), options)?.with_tenants(tenants.clone());
/// tenants.set(&TenantId::new("acme")?, RuleSet::empty());
/// assert!(detector.take_renewed());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct TenantRules(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    own: Mutex<HashMap<TenantId, RuleHandle>>,
    /// How many tenants have got rules of their own so far.
    tenants: AtomicU64,
}

impl TenantRules {
    fn own(&self) -> MutexGuard<'_, HashMap<TenantId, RuleHandle>> {
        self.0.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a tenant rules of its own from now on, in the place of those that it had.
    pub fn set(&self, tenant: &TenantId, rules: RuleSet) {
        let mut own = self.own();
        match own.get(tenant) {
            Some(handle) => handle.swap(rules),
            None => {
                own.insert(tenant.clone(), RuleHandle::new(rules));
                self.0.tenants.fetch_add(1, Ordering::Release);
            }
        }
    }

    /// The rules of a tenant; `None` for one that has those of everybody.
    pub fn get(&self, tenant: &TenantId) -> Option<RuleHandle> {
        self.own().get(tenant).cloned()
    }
}

/// What evaluates the rules of each tenant, for one thread.
#[derive(Debug)]
pub(crate) struct TenantDetectors {
    rules: TenantRules,
    policy: UndeterminedPolicy,
    detectors: HashMap<TenantId, OfTenant>,
    /// How many tenants had rules of their own when this was last looked at.
    tenants: u64,
}

#[derive(Debug)]
struct OfTenant {
    sigma: Arc<Mutex<SigmaDetector>>,
    /// The rules that agents were last told the time for.
    told: RuleSet,
}

impl TenantDetectors {
    pub(crate) fn new(rules: TenantRules, policy: UndeterminedPolicy) -> Self {
        Self { rules, policy, detectors: HashMap::new(), tenants: 0 }
    }

    /// Takes in which tenants have rules of their own by now, and says whether there are more.
    fn refresh(&mut self) -> bool {
        let tenants = self.rules.0.tenants.load(Ordering::Acquire);
        if tenants == self.tenants {
            return false;
        }
        self.tenants = tenants;
        for (tenant, handle) in self.rules.own().iter() {
            if !self.detectors.contains_key(tenant) {
                let sigma = SigmaDetector::new(handle, self.policy);
                let told = sigma.rules().clone();
                let of_tenant = OfTenant { sigma: Arc::new(Mutex::new(sigma)), told };
                self.detectors.insert(tenant.clone(), of_tenant);
            }
        }
        true
    }

    /// What evaluates the rules of a tenant that has its own. Taken in once for a batch, by
    /// [`take_renewed`](Self::take_renewed): what is said of an event holds for what looks at it afterwards.
    pub(crate) fn get(&self, tenant: &TenantId) -> Option<&Arc<Mutex<SigmaDetector>>> {
        self.detectors.get(tenant).map(|of_tenant| &of_tenant.sigma)
    }

    /// Whether any rules are others than when this was asked last.
    pub(crate) fn take_renewed(&mut self) -> bool {
        let mut renewed = self.refresh();
        for of_tenant in self.detectors.values_mut() {
            let mut sigma = of_tenant.sigma.lock().unwrap_or_else(PoisonError::into_inner);
            sigma.forget_ahead();
            sigma.refresh();
            renewed |= !sigma.rules().is_same(&of_tenant.told);
            of_tenant.told = sigma.rules().clone();
        }
        renewed
    }
}
