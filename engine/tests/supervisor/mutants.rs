//! Rules that are wrong on purpose, one each: the run has to notice, and by the invariant that is meant for it.

use std::time::Duration;

use lipcast_engine::backend::supervisor::{Policy, Rules};

macro_rules! mutants {
    ($($name:ident breaks $invariant:literal by $wrong:item)*) => {$(
        #[test]
        fn $name() {
            struct Wrong;

            impl Rules for Wrong {
                $wrong
            }

            // The first that notices ends the run: only one that lives takes long.
            let broken = crate::run::<Wrong>(0..4000, 5000).expect_err("the mutant lives");
            println!("{broken}");
            assert_eq!(broken.invariant, $invariant, "noticed by another: {broken}");
        }
    )*};
}

mutants! {
    no_epoch_check breaks "no frame of an old epoch" by
    fn is_stale(_: u32, _: u32) -> bool { false }

    a_reset_answers_what_the_batch_will breaks "one answer to a request" by
    fn reset_answers_batch() -> bool { true }

    a_kill_on_the_soft_deadline breaks "no kill before the hard deadline" by
    fn hard_deadline(_: Duration, _: &Policy) -> Duration { Duration::from_millis(40) }

    a_deaf_ear_for_the_heart breaks "no kill while the heart stands" by
    fn lived(passed: Duration, _: Duration) -> Duration { passed }

    two_batches_at_once breaks "one batch at a time" by
    fn may_infer(_: bool) -> bool { true }

    a_call_beside_the_batch breaks "no call beside the session's own batch" by
    fn may_call(_: bool) -> bool { true }

    the_dying_are_not_answered breaks "no request is lost" by
    fn answers_the_dying() -> bool { false }

    expired_without_a_word breaks "no request is lost" by
    fn answers_expired() -> bool { false }

    the_latest_first breaks "every frame in order" by
    fn place(_: usize, _: Option<Duration>, arrival: usize) -> (usize, bool, Option<Duration>, usize) {
        (0, false, None, usize::MAX - arrival)
    }

    frames_left_out_of_a_sequence breaks "every frame in order" by
    fn leaves_out(_: bool, _: bool) -> bool { true }

    a_place_for_what_nobody_sees breaks "what nobody sees costs no place" by
    fn is_unseen(late: bool, _: bool) -> bool { late }

    marks_that_are_lost breaks "marks are carried on" by
    fn carries_marks() -> bool { false }

    a_request_overtakes_its_audio breaks "a request waits for its audio" by
    fn waits(_: bool) -> bool { false }

    the_dead_are_listened_to breaks "one call of a session at a time" by
    fn is_current(_: u64, _: u64) -> bool { true }

    a_back_off_that_does_not_grow breaks "the back-off grows" by
    fn backoff(_: u32, policy: &Policy) -> Duration { policy.backoff_base }

    a_circuit_that_never_opens breaks "the circuit opens by its rule" by
    fn circuit_opens(_: u32, _: &Policy) -> bool { false }
}
