//! From source frames to a blob.
