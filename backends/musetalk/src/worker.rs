//! The thread that owns the networks.
