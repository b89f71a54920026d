//! Lavender's own rules, and the values of their placeholders as they ship.

use crate::builder::RuleSetBuilder;
use crate::compile::Placeholders;

macro_rules! rule {
    ($name:literal) => {
        (concat!("builtin/", $name, ".yml"), include_str!(concat!("../rules/", $name, ".yml")))
    };
}

/// Every rule that ships: what faults call it, and its text.
pub const RULES: &[(&str, &str)] = &[
    rule!("cron_file_written"),
    rule!("exec_deleted_program"),
    rule!("exec_from_memory"),
    rule!("exec_from_shared_memory"),
    rule!("files_shredded"),
    rule!("masquerade_kernel_thread"),
    rule!("obfuscated_command"),
    rule!("password_file_tool"),
    rule!("sensitive_file_read"),
    rule!("setuid_bit_set"),
    rule!("shell_dev_tcp"),
    rule!("shell_from_interpreter"),
    rule!("shell_from_network_service"),
    rule!("shell_from_text_tool"),
    rule!("shell_network_connection"),
    rule!("shell_unexpected_parent"),
    rule!("sudoers_written"),
    rule!("suspicious_port"),
    rule!("timestamp_forged"),
];

const PLACEHOLDERS: &str = include_str!("../rules/placeholders.yml");

/// The placeholders of [`RULES`], with the values that ship: `shell_names`, `sensitive_files`, …
///
/// ```
/// let mut builder = lavender_detect::RuleSetBuilder::new()
///     .with_placeholders(lavender_detect::builtin::placeholders().with_values("suspicious_ports", ["4444"]));
/// assert!(!builder.add_builtin().build()?.rules.is_empty());
/// # Ok::<(), lavender_detect::RuleErrors>(())
/// ```
pub fn placeholders() -> Placeholders {
    let mut lists: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in PLACEHOLDERS.lines() {
        let text = line.trim();
        if let Some(value) = text.strip_prefix("- ") {
            if let Some((_, values)) = lists.last_mut() {
                values.push(value);
            }
        } else if let Some(name) = text.strip_suffix(':').filter(|_| !line.starts_with([' ', '#']))
        {
            lists.push((name, Vec::new()));
        }
    }
    lists.into_iter().fold(Placeholders::new(), |all, (name, values)| all.with_values(name, values))
}

impl RuleSetBuilder {
    /// Adds Lavender's own rules. Their placeholders need values: [`placeholders`] has them.
    pub fn add_builtin(&mut self) -> &mut Self {
        for (name, text) in RULES {
            self.add_str(name, text);
        }
        self
    }
}
