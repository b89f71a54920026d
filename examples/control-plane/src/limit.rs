//! How often one peer may ask.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::plane::ControlPlane;
use crate::problem::Problem;

/// How many peers are remembered before those who have been quiet are forgotten.
const PEERS: usize = 10_000;

/// Where a request comes from. An IPv6 peer is known by its network, since it has all of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer(IpAddr);

impl Default for Peer {
    fn default() -> Self {
        Self(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        match address.ip().to_canonical() {
            IpAddr::V6(ip) => Self(IpAddr::V6((ip.to_bits() & !u128::from(u64::MAX)).into())),
            v4 => Self(v4),
        }
    }
}

/// What a wrong token costs, in requests: checking one takes long.
const WRONG_TOKEN: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);

/// How many requests each peer may make.
pub struct Limits(DefaultKeyedRateLimiter<Peer>);

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").finish_non_exhaustive()
    }
}

impl Limits {
    /// So many requests a second, twice as many at once.
    pub fn new(per_second: NonZeroU32) -> Self {
        let burst = per_second.saturating_add(per_second.get());
        Self(RateLimiter::keyed(Quota::per_second(per_second).allow_burst(burst)))
    }

    fn may_ask(&self, peer: Peer) -> Result<(), Problem> {
        if self.0.len() > PEERS {
            self.0.retain_recent();
            self.0.shrink_to_fit();
        }
        self.0.check_key(&peer).map_err(|_| {
            let detail = "too many requests from this address; wait a moment";
            Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
        })
    }

    /// Notes that a peer has tried a wrong token.
    pub fn has_failed(&self, peer: Peer) {
        // Where there is less left than it costs, the next requests are refused all the same.
        let _ = self.0.check_key_n(&peer, WRONG_TOKEN);
    }
}

/// Refuses what is too much, before anything is done for it.
pub(crate) async fn limit(
    State(plane): State<ControlPlane>,
    mut request: Request,
    next: Next,
) -> Response {
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = address.map_or_else(Peer::default, |address| address.0.into());
    if let Err(problem) = plane.limits().may_ask(peer) {
        plane.metrics().limited.inc();
        return problem.into_response();
    }
    request.extensions_mut().insert(peer);
    next.run(request).await
}
