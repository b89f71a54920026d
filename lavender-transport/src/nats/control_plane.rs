//! What a control plane does on a broker, by subjects.

use lavender_core::TenantId;

use super::command::{CONTROL_PLANE, RESULTS};
use super::state::{BucketOptions, push_tokens};

/// What the user of a control plane must be permitted to publish, to serve these tenants and no others: commands to their
/// agents, requests for what agents report, its dead letters, and published rules. What is answered comes to its inbox,
/// which is all that it must be permitted to hear. It makes no stream and no bucket: workers do.
///
/// ```
/// use lavender_core::TenantId;
/// use lavender_transport::nats::control_plane_permissions;
///
/// # fn main() -> Result<(), lavender_core::IdError> {
/// let publish = control_plane_permissions(&[TenantId::new("acme")?]);
/// assert!(publish.contains(&"cmd.acme.*".to_owned()));
/// assert!(publish.contains(&"$KV.lavender-rules._bundle._acme.>".to_owned()));
/// # Ok(())
/// # }
/// ```
pub fn control_plane_permissions(tenants: &[TenantId]) -> Vec<String> {
    let bucket = BucketOptions::rules().name;
    let mut publish = vec![
        format!("$JS.API.CONSUMER.CREATE.{RESULTS}.{CONTROL_PLANE}"),
        format!("$JS.API.CONSUMER.MSG.NEXT.{RESULTS}.{CONTROL_PLANE}"),
        format!("$JS.ACK.{RESULTS}.{CONTROL_PLANE}.>"),
        format!("dlq.{CONTROL_PLANE}.*.*"),
    ];
    // Reading, looking for what is older, and removing that: by requests that name the bucket and not the key.
    for request in ["INFO", "MSG.GET", "PURGE"] {
        publish.push(format!("$JS.API.STREAM.{request}.KV_{bucket}"));
    }
    for tenant in tenants {
        let written = |key: &str| {
            let mut subject = format!("$KV.{bucket}.");
            push_tokens(&mut subject, key);
            subject
        };
        publish.extend([
            format!("cmd.{tenant}.*"),
            written(&format!("published/{tenant}")),
            written(&format!("bundle/{tenant}")) + ".>",
        ]);
    }
    publish
}
