//! Which events a set of rules needs: what the sensor may leave out.
//!
//! A rule is looked at as each kind of record that it is evaluated on, and in each case that the kernel tells apart (the
//! call succeeded or failed, …). What remains of its condition then is a set of tests, and it cannot match without some
//! of them. Where such a test asks for a path or a port by texts that the kernel can look up, these are the keys; where
//! it does not, every event of the case is needed.

use lavender_core::event::EventKind;
use lavender_core::{Case, Cases, EventKey, SensorPlan};

use crate::compile::{Expression, Predicates, Subject, Test};
use crate::event::{AuditField, AuditView, EventField, Route};
use crate::matcher::pattern::{Pattern, Piece, Shape};
use crate::outlook::{Possible, narrowed};
use crate::ruleset::{Inner, Rule, RuleSet};
use crate::schema::FieldId;

impl RuleSet {
    /// Which events the rules need. An event that any of them could match, for certain or not, is
    /// [let through](SensorPlan::passes). Correlations, novelty and scores go by what rules match, and need no more.
    ///
    /// Costs some microseconds a rule.
    ///
    /// ```
    /// use lavender_core::event::EventKind;
    /// use lavender_detect::RuleSet;
    ///
    /// # fn main() -> Result<(), lavender_detect::RuleErrors> {
    /// let rules = RuleSet::from_yaml(
    ///     "title: Cron table written
    /// logsource: {category: file_event, product: linux}
    /// detection:
    ///   selection: {TargetFilename|startswith: [/etc/cron.d/, /var/spool/cron/]}
    ///   condition: selection
    /// ",
    /// )?;
    /// let plan = rules.sensor_plan();
    /// let opens = plan.selection(EventKind::FileOpen).expect("it needs opens");
    /// let keys: Vec<String> = opens.keys().map(|(key, _)| key.to_string()).collect();
    /// assert_eq!(keys, ["/etc/cron.d/*", "/var/spool/*"]);
    /// assert!(!plan.wants(EventKind::NetConnect));
    /// # Ok(())
    /// # }
    /// ```
    pub fn sensor_plan(&self) -> SensorPlan {
        let mut plan = SensorPlan::default();
        for rule in self.iter() {
            self.inner().add_needs(rule, &mut plan);
        }
        plan
    }

    /// Which events one of the rules needs.
    pub fn sensor_plan_of(&self, rule: &Rule) -> SensorPlan {
        let mut plan = SensorPlan::default();
        self.inner().add_needs(rule, &mut plan);
        plan
    }
}

impl Inner {
    fn add_needs(&self, rule: &Rule, plan: &mut SensorPlan) {
        let mut evaluated = false;
        for route in Route::ALL {
            if let Some(expression) = self.planned_on(rule, route) {
                self.add_route(&expression, route, plan);
                evaluated = true;
            }
        }
        for view in AuditView::ALL {
            if let Some(expression) = self.planned_as(rule, view) {
                self.add_view(&expression, view, plan);
                evaluated = true;
            }
        }
        // Which ids the parent acts with: the kernel reports those of the process that acts, so a parent's are known by what
        // that did last, and all changes of ids must be seen.
        if evaluated && self.asks_for(rule, &[EventField::ParentUser]) {
            plan.select_all(EventKind::CredChange);
        }
        if evaluated && self.asks_for(rule, &[EventField::Hashes, EventField::Sha256]) {
            plan.await_hashes();
        }
    }

    /// Whether a rule, or a correlation of what it matches, asks for one of these fields.
    fn asks_for(&self, rule: &Rule, fields: &[EventField]) -> bool {
        let is_one = |field: FieldId| {
            EventField::ALL.get(field.index()).is_some_and(|field| fields.contains(field))
        };
        let mut found = false;
        self.each_field(rule, &mut |field| found |= is_one(field));
        rule.expression.each_test(&mut |id| {
            if let Test::FieldRef { other, .. } = self.predicates.get(id).test {
                found |= is_one(other);
            }
        });
        let feeds = self.correlations.feeds.get(rule.number as usize);
        let columns = feeds.iter().flat_map(|feeds| feeds.iter()).flat_map(|feed| &feed.columns);
        found || columns.copied().any(is_one)
    }

    /// What a rule needs of the events of a route.
    fn add_route(&self, expression: &Expression, route: Route, plan: &mut SensorPlan) {
        let key = |field: FieldId| match EventField::ALL.get(field.index()) {
            Some(EventField::TargetFilename) => Some(Keyed::Path),
            Some(EventField::SourcePort) => Some(Keyed::Port(EventKey::SourcePort)),
            Some(EventField::DestinationPort) => Some(Keyed::Port(EventKey::DestinationPort)),
            _ => None,
        };
        for succeeded in [true, false] {
            let cases = Cases::of(|case| case.succeeded == succeeded && is_of(route, case));
            let possible = |field: FieldId| match EventField::ALL.get(field.index()) {
                Some(field) if !route.carries(*field) => Possible::Absent,
                Some(EventField::Result) if !tells_result(route) => Possible::Anything,
                Some(EventField::Result) if succeeded => Possible::Is("success"),
                Some(EventField::Result) => Possible::Failed,
                Some(_) => Possible::Anything,
                None => Possible::Absent,
            };
            let left = narrowed(expression, &self.predicates, &possible);
            Needs::of(&left, &self.predicates, &key).add_to(plan, route.kind(), cases);
        }
    }

    /// What a rule needs of the events that one of audit's records is made of.
    fn add_view(&self, expression: &Expression, view: AuditView, plan: &mut SensorPlan) {
        let key = |field: FieldId| match (view.kind(), self.audit_fields.get(field)) {
            (EventKind::FileOpen, Some(AuditField::Name)) => Some(Keyed::Path),
            (EventKind::NetConnect, Some(AuditField::Lport)) => {
                Some(Keyed::Port(EventKey::DestinationPort))
            }
            _ => None,
        };
        Needs::of(expression, &self.predicates, &key).add_to(plan, view.kind(), Cases::ALL);
    }
}

/// Whether an event of a case can be of a route.
const fn is_of(route: Route, case: Case) -> bool {
    match route {
        Route::FileEvent => case.changes && case.succeeded,
        Route::FileAccess => case.reads,
        _ => true,
    }
}

/// Whether the field `Result` says what the case says.
const fn tells_result(route: Route) -> bool {
    matches!(
        route,
        Route::FileEvent
            | Route::FileAccess
            | Route::NetworkConnection
            | Route::NetBind
            | Route::NetListen
            | Route::NetSend
    )
}

/// What of a field the kernel can look up.
#[derive(Clone, Copy)]
enum Keyed {
    Path,
    Port(fn(u16) -> EventKey),
}

/// What an expression cannot match without.
enum Needs {
    /// Nothing that the kernel could look up.
    All,
    /// An event with one of these keys; none: no event.
    OneOf(Vec<EventKey>),
}

impl Needs {
    fn of(
        expression: &Expression,
        predicates: &Predicates,
        keyed: &dyn Fn(FieldId) -> Option<Keyed>,
    ) -> Self {
        match expression {
            Expression::Constant(false) => Self::OneOf(Vec::new()),
            // That something is not there cannot be waited for.
            Expression::Constant(true) | Expression::NotTest(_) => Self::All,
            Expression::Test(id) => {
                let predicate = predicates.get(*id);
                let Subject::Field(field) = predicate.subject else { return Self::All };
                let keys = keyed(field).and_then(|keyed| keys_of(&predicate.test, keyed));
                keys.map_or(Self::All, Self::OneOf)
            }
            // Any of the parts is enough to wait for: the one with the fewest keys.
            Expression::All(parts) => {
                let parts = parts.iter().map(|part| Self::of(part, predicates, keyed));
                parts.min_by_key(Self::len).unwrap_or(Self::All)
            }
            Expression::Any(parts) => {
                let mut all = Vec::new();
                for part in parts {
                    match Self::of(part, predicates, keyed) {
                        Self::All => return Self::All,
                        Self::OneOf(keys) => all.extend(keys),
                    }
                }
                Self::OneOf(all)
            }
        }
    }

    fn add_to(self, plan: &mut SensorPlan, kind: EventKind, cases: Cases) {
        match self {
            Self::All => plan.select_cases(kind, cases),
            Self::OneOf(keys) => plan.select(kind, cases, keys),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::All => usize::MAX,
            Self::OneOf(keys) => keys.len(),
        }
    }
}

/// The keys of which a value needs one to pass a test; `None` where it needs none.
fn keys_of(test: &Test, keyed: Keyed) -> Option<Vec<EventKey>> {
    let Test::Patterns(patterns) = test else { return None };
    let one = |pattern: &Pattern| match keyed {
        Keyed::Path => path_key(&pattern.shape),
        Keyed::Port(key) => port(&pattern.shape).map(key),
    };
    patterns.iter().map(one).collect()
}

/// Texts of patterns are folded, or are to be met exactly; the kernel folds what it compares with either.
fn path_key(shape: &Shape) -> Option<EventKey> {
    let file_name = |text: &[u8]| {
        let slash = text.iter().rposition(|byte| *byte == b'/')?;
        EventKey::file_name(&text[slash + 1..])
    };
    match shape {
        Shape::Exact(text) => file_name(text).or_else(|| EventKey::folder(text)),
        Shape::Suffix(text) => file_name(text),
        Shape::Prefix(text) => EventKey::folder(text),
        Shape::Glob(pieces) => {
            let whole = pieces.last().and_then(literal).and_then(file_name);
            whole.or_else(|| pieces.first().and_then(literal).and_then(EventKey::folder))
        }
        Shape::Contains(_) => None,
    }
}

fn literal(piece: &Piece) -> Option<&[u8]> {
    match piece {
        Piece::Literal(text) => Some(text),
        _ => None,
    }
}

fn port(shape: &Shape) -> Option<u16> {
    let Shape::Exact(text) = shape else { return None };
    std::str::from_utf8(text).ok()?.parse().ok()
}
