//! Which rules for audit's records a host cannot fire, and why.

use super::host::{BlockReason, HostCapabilities};
use crate::compile::Test;
use crate::event::audit::{AuditField, AuditView};
use crate::outlook::{Possible, outlook};
use crate::ruleset::{Rule, RuleSet};
use crate::schema::FieldId;
use crate::truth::Truth;

/// Why a rule can match none of the records; `None` when it can match one.
pub(super) fn reasons(
    rules: &RuleSet,
    rule: &Rule,
    host: &HostCapabilities,
) -> Option<Vec<BlockReason>> {
    let inner = rules.inner();
    if inner.leaves_to_text(rule) {
        return Some(vec![BlockReason::Keywords]);
    }
    let mut reasons = Vec::new();
    for view in AuditView::ALL {
        if inner.audit_outlook(rule, view) == Truth::False {
            continue;
        }
        // One record that it can match is enough.
        let (kind, why) = (view.kind(), host.unavailable(view.kind())?.to_owned());
        let reason = BlockReason::Kind { kind, why };
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    if reasons.is_empty() {
        reasons.push(gap(rules, rule));
    }
    Some(reasons)
}

/// What a rule lacks that matches no record, whatever is in it: the records, the calls, or else fields. Each is asked
/// as if all that is asked later were there.
fn gap(rules: &RuleSet, rule: &Rule) -> BlockReason {
    let inner = rules.inner();
    let fields = &inner.audit_fields;
    // Whether it could match if only these fields were as they are in the record.
    let could_match = |view: AuditView, told: &[AuditField]| {
        let possible = |field: FieldId| match fields.get(field) {
            Some(named) if told.contains(&named) => view.possible(named),
            _ => Possible::Anything,
        };
        outlook(&rule.expression, &inner.predicates, &possible) != Truth::False
    };
    let views = |told: &[AuditField]| -> Vec<AuditView> {
        AuditView::ALL.into_iter().filter(|view| could_match(*view, told)).collect()
    };
    if views(&[]).is_empty() {
        return BlockReason::Never;
    }
    if views(&[AuditField::Type]).is_empty() {
        let mut types = asked(rules, rule, AuditField::Type);
        types.iter_mut().for_each(|name| name.make_ascii_uppercase());
        types.retain(|name| !AuditView::ALL.iter().any(|view| view.record_type() == *name));
        return BlockReason::RecordType { types };
    }
    let near = views(&[AuditField::Type, AuditField::Syscall]);
    if near.is_empty() {
        return BlockReason::SystemCall { calls: asked(rules, rule, AuditField::Syscall) };
    }
    let mut names = rules.fields_of(rule);
    names.retain(|name| {
        let field = inner.fields.id(name);
        let absent = |view: &AuditView| {
            field.is_some_and(|field| view.possible_of(fields, field) == Possible::Absent)
        };
        near.iter().all(absent)
    });
    if names.is_empty() { BlockReason::Never } else { BlockReason::AuditFields { fields: names } }
}

/// The values that a rule asks of a field, as it writes them but for the case.
fn asked(rules: &RuleSet, rule: &Rule, field: AuditField) -> Vec<String> {
    let inner = rules.inner();
    let mut values = Vec::new();
    rule.expression.each_test(&mut |id| {
        let predicate = inner.predicates.get(id);
        if let (crate::compile::Subject::Field(of), Test::Patterns(patterns)) =
            (predicate.subject, &predicate.test)
            && inner.audit_fields.get(of) == Some(field)
        {
            values.extend(patterns.iter().map(|pattern| pattern.show()));
        }
    });
    values.sort_unstable();
    values.dedup();
    values
}
