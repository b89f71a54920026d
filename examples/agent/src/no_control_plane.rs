//! In place of the control plane, in a build without the feature `control-plane`.

use std::future::ready;
use std::sync::Arc;

use lavender_detect::RuleHandle;
use lavender_store::Store;

use crate::config::Config;
use crate::rules::RuleSource;

/// There is none.
pub fn control_plane(
    _config: Config,
    _store: Arc<dyn Store>,
    _source: RuleSource,
    _rules: RuleHandle,
) -> impl Future<Output = ()> + Send {
    ready(())
}
