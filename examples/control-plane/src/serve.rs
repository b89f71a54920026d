//! Serves a control plane, in a process of its own or in another's.

use std::net::SocketAddr;

use lavender_core::store::AccessStore;
use lavender_core::{TenantId, Timestamp};
use tokio::net::TcpListener;

use crate::access::{AccessError, Secret, first_token};
use crate::api;
use crate::plane::ControlPlane;
use crate::watch::watch;

/// Answers what comes, and looks at agents and the feed, until it is dropped.
///
/// Streams last as long as their clients do: what is under way when it is dropped is cut with the runtime, and clients
/// go on behind what they have.
///
/// # Errors
///
/// When nothing can be accepted any more.
pub async fn serve(plane: ControlPlane, listener: TcpListener) -> std::io::Result<()> {
    let service = api::router(plane.clone()).into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, service);
    tokio::select! {
        served = server => served,
        () = watch(plane) => Ok(()),
    }
}

/// Makes the first admin token of a tenant; `None` where it has had one. It can be shown now and never again.
///
/// # Errors
///
/// When no token can be made, or the store cannot be written.
pub async fn welcome(
    store: &(impl AccessStore + ?Sized),
    tenant: &TenantId,
    now: Timestamp,
) -> Result<Option<Secret>, WelcomeError> {
    let tenant = tenant.clone();
    // Its hash takes a moment, and a core.
    let made = tokio::task::spawn_blocking(move || first_token(tenant, now)).await;
    let (secret, token) = made.map_err(|_| WelcomeError::Stopped)??;
    let is_first = store.create_first_token(&token).await?;
    Ok(is_first.then_some(secret))
}

/// Why a tenant has no first token.
#[derive(Debug, thiserror::Error)]
pub enum WelcomeError {
    /// None could be made.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] lavender_core::Error),
    /// The runtime ends.
    #[error("no token was made: the process ends")]
    Stopped,
}
