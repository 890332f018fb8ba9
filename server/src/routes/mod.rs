//! One file per resource, one folder per dialect; each a thin translation onto [`Studio`](crate::app::Studio).

mod dialect;

pub(crate) mod metrics;
pub(crate) mod page;
pub(crate) mod seed;
pub(crate) mod state;
pub(crate) mod v1;

pub(crate) use self::dialect::Dialect;

#[cfg(test)]
mod tests;
