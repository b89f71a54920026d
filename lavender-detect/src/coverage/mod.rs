//! What a set of rules covers, and which of its rules a host cannot fire.

mod audit;
mod correlated;
mod host;

use std::collections::BTreeMap;
use std::sync::Arc;

use lavender_core::RuleMeta;
use serde::Serialize;
use serde_json::{Value, json};

pub use self::host::{BlockReason, BlockedRule, HostCapabilities, blocked_rules};
use crate::attack;
use crate::correlate::Correlation;
use crate::ruleset::{Rule, RuleSet};

/// The ATT&CK techniques and tactics that rules name in their tags, by their present names ([`attack`]).
///
/// ```
/// use lavender_detect::{Coverage, RuleSetBuilder};
///
/// let mut builder = RuleSetBuilder::new();
/// builder.add_builtin();
/// let coverage = Coverage::of(&builder.build()?.rules);
/// assert!(coverage.techniques.iter().any(|covered| covered.technique == "T1059.004"));
/// assert_eq!(coverage.navigator_layer("Lavender")["versions"]["layer"], "4.5");
/// # Ok::<(), lavender_detect::RuleErrors>(())
/// ```
#[derive(Clone, Debug, Serialize)]
pub struct Coverage {
    /// The techniques, by their numbers.
    pub techniques: Vec<CoveredTechnique>,
    /// The tactics in the matrix's order, and how many rules name each.
    pub tactics: Vec<CoveredTactic>,
    /// How many rules name no technique.
    pub without_technique: usize,
}

/// A technique and the rules for it.
#[derive(Clone, Debug, Serialize)]
pub struct CoveredTechnique {
    /// Its number, as `T1059.004`.
    pub technique: String,
    /// The titles of the rules.
    pub rules: Vec<Arc<str>>,
}

/// A tactic and how many rules are for it.
#[derive(Clone, Debug, Serialize)]
pub struct CoveredTactic {
    /// Its name, as `credential-access`.
    pub tactic: &'static str,
    /// The count.
    pub rules: usize,
}

/// The colours of the layer: from one rule to as many as the best covered technique has.
const GRADIENT: [&str; 2] = ["#e4e1f5", "#6b4fbb"];

impl Coverage {
    /// Of these rules.
    pub fn of(rules: &RuleSet) -> Self {
        let mut techniques: BTreeMap<String, Vec<Arc<str>>> = BTreeMap::new();
        let mut tactics = [0; attack::TACTICS.len()];
        let mut without_technique = 0;
        // What is there for correlations only covers nothing by itself.
        let raising = rules.iter().filter(|rule| !rules.is_silent(rule)).map(Rule::meta);
        let correlations = rules.correlations().iter().filter(|correlation| correlation.raises());
        for meta in raising.chain(correlations.map(Correlation::meta)) {
            let named = techniques_of(meta);
            without_technique += usize::from(named.is_empty());
            for (place, tactic) in attack::TACTICS.iter().enumerate() {
                tactics[place] += usize::from(is_for(meta, &named, tactic));
            }
            for technique in named {
                techniques.entry(technique).or_default().push(Arc::clone(&meta.title));
            }
        }
        let techniques = techniques.into_iter();
        let tactics = attack::TACTICS.into_iter().zip(tactics);
        Self {
            techniques: techniques
                .map(|(technique, rules)| CoveredTechnique { technique, rules })
                .collect(),
            tactics: tactics.map(|(tactic, rules)| CoveredTactic { tactic, rules }).collect(),
            without_technique,
        }
    }

    /// A layer for the ATT&CK Navigator, of format 4.5: each technique with the number of its rules as score, and
    /// their titles as comment.
    pub fn navigator_layer(&self, name: &str) -> Value {
        let most = self.techniques.iter().map(|covered| covered.rules.len()).max().unwrap_or(1);
        let techniques: Vec<Value> = self
            .techniques
            .iter()
            .map(|covered| {
                json!({
                    "techniqueID": covered.technique,
                    "score": covered.rules.len(),
                    "comment": covered.rules.join("\n"),
                    "enabled": true,
                    "showSubtechniques": covered.technique.contains('.'),
                })
            })
            .collect();
        let metadata: Vec<Value> = self
            .tactics
            .iter()
            .map(|covered| json!({"name": covered.tactic, "value": format!("{} rules", covered.rules)}))
            .collect();
        json!({
            "name": name,
            "versions": {"attack": attack::VERSION, "navigator": "5.0.0", "layer": "4.5"},
            "domain": "enterprise-attack",
            "description": "Techniques by the number of rules that name them",
            "sorting": 3,
            "hideDisabled": false,
            "techniques": techniques,
            "gradient": {"colors": GRADIENT, "minValue": 0, "maxValue": most},
            "metadata": metadata,
        })
    }
}

/// The techniques of a rule by their present names, each once.
fn techniques_of(meta: &RuleMeta) -> Vec<String> {
    let mut techniques: Vec<String> =
        meta.techniques().map(|named| attack::current_technique(&named).to_owned()).collect();
    techniques.sort_unstable();
    techniques.dedup();
    techniques
}

/// Whether a rule is for a tactic. Which of its successors a former tactic stands for is told by the techniques
/// beside it; without any, it stands for all.
fn is_for(meta: &RuleMeta, techniques: &[String], tactic: &str) -> bool {
    meta.tags.iter().filter_map(|tag| tag.strip_prefix("attack.")).any(|name| {
        let current = attack::current_tactics(name);
        if !current.contains(&tactic) {
            return false;
        }
        let impairs = |technique: &String| attack::is_impairment(technique);
        current.len() == 1
            || techniques.is_empty()
            || match tactic {
                "defense-impairment" => techniques.iter().any(impairs),
                _ => !techniques.iter().all(impairs),
            }
    })
}
