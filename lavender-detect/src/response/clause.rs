//! One clause of a policy.

use std::sync::Arc;

use lavender_core::{Alert, ResponseAction, Severity};

/// What is done about alerts that fit. All conditions that are set must hold; of a list, one entry is enough.
///
/// ```
/// use lavender_core::ResponseAction;
/// use lavender_detect::ResponseClause;
///
/// let clause = ResponseClause {
///     techniques: vec!["T1059".into()],
///     ..ResponseClause::new([ResponseAction::Stop])
/// };
/// assert!(clause.min_severity.is_none());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseClause {
    /// What is done.
    pub actions: Vec<ResponseAction>,
    /// Only about an alert this bad or worse.
    pub min_severity: Option<Severity>,
    /// Only where the risk score is known and this high or higher.
    pub min_score: Option<u32>,
    /// Only about what these rules find, by id.
    pub rules: Vec<Arc<str>>,
    /// Only about what rules with such a tag find, as Sigma writes it: `attack.execution`.
    pub tags: Vec<Arc<str>>,
    /// Only about what rules for such a technique find, as ATT&CK writes it; `T1059` has `T1059.004` in it.
    pub techniques: Vec<Arc<str>>,
}

/// What is wrong with a clause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClauseFault {
    /// It does nothing.
    #[error("it has no action: name one, or leave the clause out")]
    NoAction,
    /// It has no condition.
    #[error("it would answer every alert: give it a severity, a score, rules, tags or techniques")]
    NoCondition,
    /// A technique that ATT&CK does not write so.
    #[error("`{technique}` is no technique: write T1059 or T1059.004")]
    Technique {
        /// What stands there.
        technique: Arc<str>,
    },
}

/// Why a policy was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("response clause {clause}: {fault}")]
pub struct PolicyError {
    /// Which clause, from 1.
    pub clause: usize,
    /// What is wrong with it.
    pub fault: ClauseFault,
}

impl ResponseClause {
    /// A clause that does this; its conditions are still to be set.
    pub fn new(actions: impl IntoIterator<Item = ResponseAction>) -> Self {
        Self { actions: actions.into_iter().collect(), ..Self::default() }
    }

    /// Whether a policy can have it.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), ClauseFault> {
        if self.actions.is_empty() {
            return Err(ClauseFault::NoAction);
        }
        let lists = [&self.rules, &self.tags, &self.techniques];
        let no_list = lists.into_iter().all(Vec::is_empty);
        if no_list && self.min_severity.is_none() && self.min_score.is_none() {
            return Err(ClauseFault::NoCondition);
        }
        match self.techniques.iter().find(|technique| !is_technique(technique)) {
            Some(technique) => Err(ClauseFault::Technique { technique: Arc::clone(technique) }),
            None => Ok(()),
        }
    }

    /// Whether it fits an alert; if so, why.
    pub(super) fn applies(&self, alert: &Alert, score: Option<u32>) -> Option<String> {
        let mut reasons = Vec::new();
        if let Some(least) = self.min_severity {
            if alert.severity < least {
                return None;
            }
            reasons.push(format!("severity {} (from {least})", alert.severity));
        }
        if let Some(least) = self.min_score {
            let score = score.filter(|score| *score >= least)?;
            reasons.push(format!("score {score} (from {least})"));
        }
        if !self.rules.is_empty() {
            let rule = self.rules.iter().find(|id| **id == alert.rule.id)?;
            reasons.push(format!("rule {rule}"));
        }
        if !self.tags.is_empty() {
            let is_tag = |wanted: &&Arc<str>| {
                alert.rule.tags.iter().any(|tag| tag.eq_ignore_ascii_case(wanted))
            };
            let tag = self.tags.iter().find(is_tag)?;
            reasons.push(format!("tag {tag}"));
        }
        if !self.techniques.is_empty() {
            let technique = alert.rule.techniques().find(|technique| {
                self.techniques.iter().any(|wanted| is_within(technique, wanted))
            })?;
            reasons.push(format!("technique {technique}"));
        }
        Some(reasons.join(", "))
    }
}

fn is_technique(text: &str) -> bool {
    let digits =
        |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some(number) = text.strip_prefix('T') else { return false };
    match number.split_once('.') {
        None => digits(number, 4),
        Some((technique, part)) => digits(technique, 4) && digits(part, 3),
    }
}

fn is_within(technique: &str, wanted: &str) -> bool {
    let rest = technique.strip_prefix(wanted);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
