//! The parts of `lavender-worker`, the backend's stages of Lavender over NATS JetStream: command line,
//! configuration, the process around a stage ([`worker::Worker`]), and one module for each role.
//!
//! A library beside the binary so that tests and further roles can use the parts; the binary is wiring.

pub mod alert_writer;
pub mod cli;
pub mod config;
pub mod connect;
pub mod consumer;
pub mod decode;
pub mod detect;
pub mod exit;
pub mod health;
pub mod ingest;
pub mod listener;
pub mod logging;
pub mod metrics;
pub mod shutdown;
pub mod telemetry_writer;
pub mod worker;
