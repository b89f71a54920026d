//! Where an event's sequence number counts from.

use lavender_core::EventId;

/// The bits of an event's id that all events of its origin share, the sequence number being zero.
pub(crate) const fn origin_bits(id: EventId) -> u128 {
    id.as_u128() & !(EventId::MAX_SEQUENCE as u128)
}

#[cfg(test)]
mod tests {
    use lavender_core::{AgentId, BootId, Origin, TenantId};

    use super::*;

    #[test]
    fn all_events_of_an_origin_share_them_and_no_others() {
        let (tenant, agent) = (TenantId::new("acme").unwrap(), AgentId::new("web-1").unwrap());
        let origin = Origin::new(&tenant, &agent, BootId::from_u128(7));
        let other = Origin::new(&tenant, &agent, BootId::from_u128(8));
        for sequence in [0, 1, EventId::MAX_SEQUENCE] {
            let bits = origin_bits(origin.event(sequence));
            assert_eq!(bits, origin.event(0).as_u128());
            assert_ne!(bits, origin_bits(other.event(sequence)));
        }
    }
}
