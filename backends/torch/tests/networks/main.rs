//! The networks of the committed bundles on libtorch: what they give, and how what is wrong is refused.

mod common;

mod device;

mod generate;

mod refused;
