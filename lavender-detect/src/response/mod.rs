//! The decision what to do about an alert. Pure: nothing is done here.

mod clause;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lavender_core::event::{Event, EventData};
use lavender_core::{
    Alert, FileIdentity, FileTarget, ResponseAction, ResponseCause, ResponseOrder, ResponseTarget,
};

pub use self::clause::{ClauseFault, PolicyError, ResponseClause};

/// What is done about which alerts: the operator's clauses, and what rules may ask for beside them.
///
/// Nothing is decided about an alert that did not match [for certain](lavender_core::Certainty). Of what
/// happens to a process only the strongest counts: [`Stop`](ResponseAction::Stop) <
/// [`Kill`](ResponseAction::Kill) < [`KillTree`](ResponseAction::KillTree). A rule asks under its key
/// `lavender` (`response: kill_tree`, or a list); a process action that rules may not ask for is capped to the
/// strongest weaker one that they may, and what cannot be capped is decided against, visibly.
///
/// ```
/// use lavender_core::{ResponseAction, Severity};
/// use lavender_detect::{ResponseClause, ResponsePolicy};
///
/// # fn main() -> Result<(), lavender_detect::PolicyError> {
/// let critical = ResponseClause {
///     min_severity: Some(Severity::Critical),
///     ..ResponseClause::new([ResponseAction::KillTree])
/// };
/// let policy = ResponsePolicy::new([critical], [ResponseAction::Stop])?;
/// assert!(ResponsePolicy::default().is_empty() && !policy.is_empty());
///
/// // Whoever writes a clause that would answer every alert did not mean it.
/// assert!(ResponsePolicy::new([ResponseClause::new([ResponseAction::Kill])], []).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct ResponsePolicy {
    clauses: Vec<ResponseClause>,
    rule_actions: BTreeSet<ResponseAction>,
}

/// A decision: an order, and whether policy stands behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseDecision {
    /// What to do, to what, and why.
    pub order: ResponseOrder,
    /// Whether it is to be carried out. A rule asked for it and may not, otherwise.
    pub allowed: bool,
}

impl ResponsePolicy {
    /// A policy of these clauses, under which rules may ask for `rule_actions`.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] for a clause that does nothing, would answer every alert, or names what cannot be.
    pub fn new(
        clauses: impl IntoIterator<Item = ResponseClause>,
        rule_actions: impl IntoIterator<Item = ResponseAction>,
    ) -> Result<Self, PolicyError> {
        let clauses: Vec<_> = clauses.into_iter().collect();
        for (number, clause) in clauses.iter().enumerate() {
            clause.check().map_err(|fault| PolicyError { clause: number + 1, fault })?;
        }
        Ok(Self { clauses, rule_actions: rule_actions.into_iter().collect() })
    }

    /// Whether nothing is ever done by it.
    pub fn is_empty(&self) -> bool {
        self.clauses.is_empty() && self.rule_actions.is_empty()
    }

    /// What to do about an alert, in the order in which to do it. `event` is the one that completed the match,
    /// `score` the risk score of the process tree, where one is kept.
    ///
    /// An action is given the process of the alert as its target; [`Quarantine`](ResponseAction::Quarantine)
    /// the file that the event wrote, else the program of the process, else the process, which holds no file
    /// then. Costs nothing that grows with the rules; some string comparisons for each clause.
    pub fn decide(
        &self,
        alert: &Alert,
        event: &Event,
        score: Option<u32>,
    ) -> Vec<ResponseDecision> {
        if !alert.certainty.is_certain() {
            return Vec::new();
        }
        let mut granted: BTreeMap<ResponseAction, Arc<str>> = BTreeMap::new();
        for clause in &self.clauses {
            let Some(reason) = clause.applies(alert, score) else { continue };
            for action in &clause.actions {
                granted.entry(*action).or_insert_with(|| reason.as_str().into());
            }
        }
        let mut refused = Vec::new();
        for asked in &alert.rule.response {
            match self.cap(*asked) {
                Some(action) => {
                    granted.entry(action).or_insert_with(|| asked_for(*asked, action));
                }
                None => refused.push(*asked),
            }
        }
        keep_strongest(&mut granted);
        refused.retain(|asked| !granted.keys().any(|action| covers(*action, *asked)));
        let refused = refused.into_iter().map(|asked| (asked, asked_for(asked, asked), false));
        granted
            .into_iter()
            .map(|(action, reason)| (action, reason, true))
            .chain(refused)
            .filter_map(|(action, decided_by, allowed)| {
                let target = target(action, alert, event)?;
                let order = ResponseOrder {
                    cause: ResponseCause::Alert(alert.id),
                    action,
                    target,
                    decided_by,
                };
                Some(ResponseDecision { order, allowed })
            })
            .collect()
    }

    /// What a rule gets that asks for an action.
    fn cap(&self, asked: ResponseAction) -> Option<ResponseAction> {
        let weaker = |action: &&ResponseAction| covers(asked, **action);
        self.rule_actions.iter().filter(weaker).max_by_key(|action| **action).copied()
    }
}

/// How much is done to a process; `None` for what is done to something else.
const fn strength(action: ResponseAction) -> Option<u8> {
    match action {
        ResponseAction::Stop => Some(0),
        ResponseAction::Kill => Some(1),
        ResponseAction::KillTree => Some(2),
        _ => None,
    }
}

/// Whether whoever does one thing has done the other.
fn covers(done: ResponseAction, other: ResponseAction) -> bool {
    match (strength(done), strength(other)) {
        (Some(done), Some(other)) => done >= other,
        _ => done == other,
    }
}

fn keep_strongest(granted: &mut BTreeMap<ResponseAction, Arc<str>>) {
    let strongest = granted.keys().filter_map(|action| strength(*action)).max();
    granted.retain(|action, _| strength(*action).is_none_or(|own| Some(own) == strongest));
}

fn asked_for(asked: ResponseAction, granted: ResponseAction) -> Arc<str> {
    if asked == granted {
        "the rule asks for it".into()
    } else {
        format!("the rule asks for {asked}, and may ask for {granted} at the most").into()
    }
}

fn target(action: ResponseAction, alert: &Alert, event: &Event) -> Option<ResponseTarget> {
    let process = || alert.process.as_ref().map(|process| ResponseTarget::Process(process.id()));
    match action {
        ResponseAction::Isolate => Some(ResponseTarget::Host),
        ResponseAction::Quarantine => file(alert, event).map(ResponseTarget::File).or_else(process),
        _ => process(),
    }
}

/// The file that the event wrote, else the program of the process.
fn file(alert: &Alert, event: &Event) -> Option<FileTarget> {
    let identity = |inode, device| (inode != 0).then_some(FileIdentity { inode, device });
    if let EventData::FileOpen(open) = &event.data
        && (open.flags.writes() || open.flags.may_create())
    {
        // A file that could not be opened for writing was not written.
        return (open.result.is_ok() && open.path.is_whole()).then(|| FileTarget {
            path: open.path.value.clone(),
            identity: identity(open.inode, open.device),
        });
    }
    let executable = &alert.process.as_ref()?.executable;
    (executable.path.is_whole() && !executable.memory_backed).then(|| FileTarget {
        path: executable.path.value.clone(),
        identity: identity(executable.inode, executable.device),
    })
}
