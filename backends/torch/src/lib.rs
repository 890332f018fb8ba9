//! `Networks` on libtorch.
