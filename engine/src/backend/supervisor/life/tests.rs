//! The table of transitions, and what each costs.

use super::*;
use crate::backend::supervisor::Sound;

/// What can happen to a life.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Start,
    Started,
    FailsForNow,
    FailsForGood,
    Late,
    InTime,
    Answers,
    Lost,
    Died,
    Barred,
    Retired,
    Renewed,
    Recycled,
    Drained,
    Retried,
    /// Time until the state's own end, and that moment.
    Due,
    /// This much time, in seconds.
    Waits(u64),
}

struct Tale {
    life: Life,
    now: Duration,
    orders: Vec<Order>,
}

fn tale(fates: &[Fate]) -> Tale {
    let mut tale = Tale { life: Life::new(Policy::default(), 1), now: Duration::ZERO, orders: Vec::new() };
    fates.iter().for_each(|fate| tale.goes_on(*fate));
    tale
}

impl Tale {
    fn goes_on(&mut self, fate: Fate) {
        let (life, now) = (&mut self.life, self.now);
        match fate {
            Fate::Start => life.start(now),
            Fate::Started => life.started(now),
            Fate::FailsForNow => life.start_failed("no device", true),
            Fate::FailsForGood => life.start_failed("no model", false),
            Fate::Late => life.set_late(true),
            Fate::InTime => life.set_late(false),
            Fate::Answers => life.prove(),
            Fate::Lost => life.lose(Cause::Hang, "hangs", now),
            Fate::Died => life.died::<Sound>("signal 11", false, now),
            Fate::Barred => life.died::<Sound>("signal 11", true, now),
            Fate::Retired => life.retire(false, now),
            Fate::Renewed => life.retire(true, now),
            Fate::Recycled => life.recycle(Cause::Memory, "memory", now),
            Fate::Drained => life.drained(now),
            Fate::Retried => life.retry(now),
            Fate::Due => {
                self.now = life.next_deadline().expect("the state ends by itself");
                life.tick(self.now);
            }
            Fate::Waits(seconds) => self.now += Duration::from_secs(seconds),
        }
        self.orders.extend(self.life.take_orders());
    }

    fn count(&self, wanted: impl Fn(&Order) -> bool) -> usize {
        self.orders.iter().filter(|order| wanted(order)).count()
    }

    fn spawned(&self) -> usize {
        self.count(|order| matches!(order, Order::Spawn { .. }))
    }

    fn killed(&self) -> usize {
        self.count(|order| matches!(order, Order::Kill { .. }))
    }
}

#[test]
fn every_transition() {
    use Fate::*;
    let table: &[(&[Fate], State)] = &[
        (&[], State::Idle),
        (&[Died], State::Idle),
        (&[Start], State::Starting),
        (&[Start, Start], State::Starting),
        (&[Retried], State::Starting),
        (&[Start, Started], State::Ready),
        (&[Start, FailsForNow], State::Dead),
        (&[Start, FailsForNow, Died], State::BackingOff),
        (&[Start, FailsForGood, Died], State::Refused),
        (&[Start, FailsForGood, Died, Start], State::Refused),
        (&[Start, FailsForGood, Died, Retried], State::Starting),
        (&[Start, Died], State::BackingOff),
        (&[Start, Barred], State::Refused),
        (&[Start, Due], State::Dead),
        (&[Start, Due, Died], State::BackingOff),
        (&[Start, Due, Started], State::Dead),
        (&[Start, Retired], State::Dead),
        (&[Start, Retired, Died], State::Idle),
        (&[Start, Renewed, Died], State::Starting),
        (&[Start, Started, Late], State::Late),
        (&[Start, Started, Late, InTime], State::Ready),
        (&[Start, Started, Late, Lost], State::Dead),
        (&[Start, Started, Lost], State::Dead),
        (&[Start, Started, Lost, Lost], State::Dead),
        (&[Start, Started, Lost, Started], State::Dead),
        (&[Start, Started, Lost, Retired, Died], State::Idle),
        (&[Start, Started, Lost, Died], State::BackingOff),
        (&[Start, Started, Barred], State::BackingOff),
        (&[Start, Started, Died, Due], State::Starting),
        (&[Start, Started, Died, Retried], State::Starting),
        (&[Start, Started, Died, Retired], State::Idle),
        (&[Start, Started, Retired], State::Draining),
        (&[Start, Started, Retired, Late], State::Draining),
        (&[Start, Started, Retired, Died], State::Idle),
        (&[Start, Started, Retired, Drained, Died], State::Idle),
        (&[Start, Started, Retired, Drained, Due], State::Dead),
        (&[Start, Started, Retired, Drained, Due, Died], State::Idle),
        (&[Start, Started, Retired, Lost, Died], State::Idle),
        (&[Start, Started, Renewed, Drained, Died], State::Starting),
        (&[Start, Started, Renewed, Retired, Drained, Died], State::Idle),
        (&[Start, Started, Recycled, Drained, Died], State::BackingOff),
        (&[Start, Started, Waits(60), Recycled, Drained, Died], State::Starting),
        (&[Start, Died, Due, Died, Due, Died], State::Quarantined),
        (&[Start, Died, Due, Died, Due, Died, Due], State::Starting),
        (&[Start, Died, Due, Died, Due, Died, Due, Died], State::Quarantined),
        (&[Start, Died, Due, Died, Due, Died, Due, Started, Waits(60), Died], State::BackingOff),
        (&[Start, Died, Due, Died, Due, Died, Retried, Died], State::BackingOff),
    ];
    for (fates, state) in table {
        let tale = tale(fates);
        assert_eq!(tale.life.state(), *state, "after {fates:?}");
        let announced = tale.orders.iter().rev().find_map(|order| match order {
            Order::Announce { state, .. } => Some(*state),
            _ => None,
        });
        assert_eq!(announced.unwrap_or(State::Idle), *state, "announced after {fates:?}");
    }
}

#[test]
fn a_loss_kills_once_and_starts_nothing_before_the_end_is_certain() {
    let mut tale = tale(&[Fate::Start, Fate::Started, Fate::Lost, Fate::Lost, Fate::Retried, Fate::Start]);
    assert_eq!((tale.spawned(), tale.killed()), (1, 1));
    assert_eq!(tale.life.next_deadline(), None);
    tale.goes_on(Fate::Died);
    tale.goes_on(Fate::Due);
    assert_eq!((tale.spawned(), tale.life.incarnation()), (2, 2));
}

#[test]
fn deaths_of_one_that_answered_count_once() {
    let until_quarantine = |fates: &[Fate]| {
        let mut tale = tale(&[Fate::Start]);
        loop {
            fates.iter().for_each(|fate| tale.goes_on(*fate));
            if tale.life.state() == State::Quarantined {
                return tale.spawned();
            }
            tale.goes_on(Fate::Due);
        }
    };
    assert_eq!(until_quarantine(&[Fate::Started, Fate::Answers, Fate::Died]), 5);
    assert_eq!(until_quarantine(&[Fate::Started, Fate::Died]), 3);
    assert_eq!(until_quarantine(&[Fate::Died]), 3);
}

#[test]
fn a_healthy_life_shortens_the_next_wait() {
    let mut tale = tale(&[Fate::Start]);
    let mut wait_after = |seconds: u64| {
        for fate in [Fate::Started, Fate::Answers, Fate::Waits(seconds), Fate::Died] {
            tale.goes_on(fate);
        }
        let wait = tale.life.next_deadline().expect("it backs off") - tale.now;
        tale.goes_on(Fate::Due);
        wait
    };
    // Twenty seconds apart, so that the circuit stays closed.
    let waits = [20, 20, 20, 20, 60].map(&mut wait_after);
    let first = Policy::default().backoff_base;
    assert!(waits[3] >= first * 8 * 4 / 5 && waits[3] <= first * 8 * 6 / 5, "{waits:?}");
    assert!(waits[4] <= first * 6 / 5, "{waits:?}");
}

#[test]
fn a_healthy_life_that_ends_by_recycling_has_no_past() {
    let quarantined = [
        [Fate::Start, Fate::Started, Fate::Answers, Fate::Died].as_slice(),
        &[Fate::Due, Fate::Started, Fate::Answers, Fate::Died].repeat(4),
    ]
    .concat();
    assert_eq!(tale(&quarantined).life.state(), State::Quarantined);
    // Let through, healthy for longer than a minute, replaced for its memory; the fresh one dies once.
    let later = [
        quarantined,
        vec![Fate::Due, Fate::Started, Fate::Answers, Fate::Waits(120), Fate::Recycled, Fate::Drained],
        vec![Fate::Died, Fate::Started, Fate::Answers, Fate::Died],
    ]
    .concat();
    assert_eq!(tale(&later).life.state(), State::BackingOff);
}

#[test]
fn a_restart_tells_what_the_one_before_came_to() {
    use Fate::*;
    let causes = |fates: &[Fate]| {
        let tale = tale(fates);
        let cause = |order: &Order| match order {
            Order::Note(Note::Restart(cause)) => Some(*cause),
            _ => None,
        };
        tale.orders.iter().filter_map(cause).collect::<Vec<_>>()
    };
    assert_eq!(causes(&[Start, Started]), [], "the first one is no restart");
    assert_eq!(causes(&[Start, Started, Died, Due]), [Cause::Crash]);
    // What is heard after a loss comes of it.
    assert_eq!(causes(&[Start, Started, Lost, Lost, Died, Due]), [Cause::Hang]);
    assert_eq!(causes(&[Start, Died, Due, FailsForNow, Died, Due]), [Cause::Start; 2]);
    assert_eq!(causes(&[Start, Due, Died, Due]), [Cause::Start], "it did not start in time");
    assert_eq!(causes(&[Start, Started, Waits(60), Recycled, Drained, Died]), [Cause::Memory]);
    assert_eq!(causes(&[Start, Started, Waits(60), Recycled, Lost, Died]), [Cause::Memory]);
    assert_eq!(causes(&[Start, Started, Renewed, Drained, Died]), [Cause::Operator]);
    assert_eq!(causes(&[Start, Started, Died, Retried]), [Cause::Operator]);
}
