//! What a user of the database needs who is a control plane and nothing else.

use super::PostgresStore;

/// Everything that a control plane asks for; `ROLE` stands for its user. It reads telemetry and alerts and writes neither, but
/// for an alert's status. What was audited it can add to, and not change.
const CONTROL_PLANE: &str = "\
GRANT USAGE ON SCHEMA lavender TO ROLE;
GRANT SELECT ON lavender.schema_version, lavender.days, lavender.sources, lavender.sequences, lavender.agents,
    lavender.agent_transitions, lavender.events, lavender.processes, lavender.losses, lavender.alerts,
    lavender.alert_techniques, lavender.alert_history, lavender.alert_slots, lavender.alert_days, lavender.feed,
    lavender.tokens, lavender.audit, lavender.commands, lavender.rulesets, lavender.publications TO ROLE;
GRANT UPDATE (status, revision, updated_at) ON lavender.alerts TO ROLE;
GRANT UPDATE (status) ON lavender.alert_techniques TO ROLE;
GRANT INSERT, UPDATE (alerts) ON lavender.alert_slots, lavender.alert_days TO ROLE;
GRANT UPDATE (liveness, liveness_at) ON lavender.agents TO ROLE;
GRANT INSERT, DELETE ON lavender.feed TO ROLE;
GRANT INSERT ON lavender.alert_history, lavender.agent_transitions, lavender.audit, lavender.tokens, lavender.commands,
    lavender.rulesets, lavender.publications TO ROLE;
GRANT UPDATE (revoked_at) ON lavender.tokens TO ROLE;
GRANT UPDATE (outcome, finished_at) ON lavender.commands TO ROLE;
";

impl PostgresStore {
    /// SQL that gives a user of the database what a control plane needs, and no more: for whoever owns the schema, once its
    /// tables are there, and again after each version that has more of them. The user can open the store then; days and
    /// migrations are left to the owner.
    ///
    /// ```
    /// let sql = lavender_store::PostgresStore::control_plane_grants("dashboard");
    /// assert!(sql.contains("GRANT USAGE ON SCHEMA lavender TO \"dashboard\";"));
    /// ```
    pub fn control_plane_grants(role: &str) -> String {
        let quoted = format!("\"{}\"", role.replace('"', "\"\""));
        CONTROL_PLANE.replace("ROLE", &quoted)
    }
}
