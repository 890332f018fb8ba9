//! All checks, in the order they run: what they look at, and what they need to work before.

mod avatar;
mod create;
mod infer;
mod load;
mod panic;
mod session;
mod soak;
mod speed;
mod threads;

use std::time::Duration;

use crate::bench::Bench;
use crate::outcome::Outcome;

/// One check.
#[derive(Clone, Copy)]
pub(crate) struct Check {
    pub(crate) group: &'static str,
    pub(crate) name: &'static str,
    /// What it makes sure of, in one line.
    pub(crate) about: &'static str,
    /// A limit on its time, beside that of starting the backend.
    pub(crate) limit: Duration,
    /// How far a backend must get for it to say anything.
    pub(crate) needs: Needs,
    pub(crate) run: fn(&Bench) -> Outcome,
}

/// How far a backend gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Needs {
    /// It need not even load.
    Nothing,
    /// It says who it is.
    Loaded,
    /// It is created with the given settings.
    Created,
    /// An avatar is prepared and loaded.
    Avatar,
    /// A run of speech is drawn.
    Frames,
}

const fn check(
    name: (&'static str, &'static str),
    about: &'static str,
    (needs, seconds): (Needs, u64),
    run: fn(&Bench) -> Outcome,
) -> Check {
    let (group, name) = name;
    Check { group, name, about, limit: Duration::from_secs(seconds), needs, run }
}

/// The check that must pass before those run that need as much.
pub(crate) fn opens(needs: Needs) -> Option<(&'static str, &'static str)> {
    match needs {
        Needs::Nothing => None,
        Needs::Loaded => Some(("load", "descriptor")),
        Needs::Created => Some(("create", "settings")),
        Needs::Avatar => Some(("avatar", "prepare")),
        Needs::Frames => Some(("infer", "results")),
    }
}

/// All of them. What others need comes first in its group; `infer` comes before `session`, which needs frames.
pub(crate) fn all() -> impl Iterator<Item = &'static Check> {
    [
        load::CHECKS,
        create::CHECKS,
        avatar::CHECKS,
        infer::CHECKS,
        session::CHECKS,
        threads::CHECKS,
        panic::CHECKS,
        speed::CHECKS,
        soak::CHECKS,
    ]
    .into_iter()
    .flatten()
}
