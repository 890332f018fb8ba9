//! The supervisor of a backend against a seeded world of clients that do anything and incarnations that fail in
//! every way. What must hold is checked from outside after every step; wrong rules have to be noticed.

mod child;
mod ledger;
mod mutants;
mod random;
mod world;

use ledger::Broken;
use lipcast_engine::backend::supervisor::{Rules, Sound};
use world::World;

/// Runs worlds of `steps` events each; tells how many events there were, or what broke first.
fn run<R: Rules>(seeds: std::ops::Range<u64>, steps: u64) -> Result<world::Tally, Broken> {
    let mut tally = world::Tally::default();
    for seed in seeds {
        let mut world = World::<R>::new(seed);
        world.run(steps).map_err(|broken| broken.at(seed))?;
        tally.add(&world.tally);
    }
    Ok(tally)
}

#[test]
fn nothing_breaks_in_a_million_steps() {
    let tally = run::<Sound>(0..400, 5000).unwrap_or_else(|broken| panic!("{broken}"));
    println!("{tally:?}");
    assert!(tally.steps >= 1_000_000, "{tally:?}");
    // The world must have been as bad as it is meant to be.
    let seen = [
        tally.drawn,
        tally.expired,
        tally.failed,
        tally.gone,
        tally.gone_in_flight,
        tally.kills,
        tally.spawns,
        tally.quarantines,
        tally.held,
        tally.resets,
        tally.ends,
        tally.refused,
        tally.late,
        tally.unseen,
        tally.missed,
    ];
    assert!(seen.iter().all(|count| *count > 20), "{tally:?}");
}
