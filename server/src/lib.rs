//! Lipcast's server as a library: settings, the HTTP dialects, the live stage and WebRTC around the engine.
//!
//! ```text
//! request ─► guard ─► route (dialect) ─► Studio ─► engine session ─► live stage ─► WebRTC ─► viewer
//! ```

#![forbid(unsafe_code)]

pub mod config;

pub mod plugins;

pub mod files;

pub mod metrics;

pub mod app;

mod routes;

pub mod studio;

pub mod live;

pub mod webrtc;

pub mod bench;

pub mod cli;
