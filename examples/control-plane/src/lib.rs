//! The control plane of Lavender.
