//! Lavender.
