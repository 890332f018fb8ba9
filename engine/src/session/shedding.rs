//! Which frames are asked for while the backend is slower than real time and nobody else can draw.
//!
//! In: frames that came in time or too late. Out: whether a frame is asked for. Asked for everything, a backend that is
//! too slow gives nearly everything too late; asked for every second frame it gives those in time, and the picture
//! moves in a regular beat. Then every third, and so on. Time is counted in frames, so that what happens depends on
//! nothing else.

/// Asks for one frame in so many.
#[derive(Debug)]
pub(super) struct Shedding {
    /// Frames a second.
    fps: f64,
    /// One frame in so many is asked for.
    stride: u64,
    /// The first frame that was planned so.
    since: u64,
    /// The first frame whose being late says something of it. After a change to less, those that were asked for before
    /// have to be worked off first.
    judged_from: u64,
    /// Frames that all have to be in time before more are asked for; twice as many each time that was too soon.
    calm: u64,
    /// A shorter stride is on trial.
    on_trial: bool,
}

impl Shedding {
    /// Below one frame in five nothing that moves is left.
    const MOST: u64 = 5;
    /// Seconds in which a backend works off what it was asked for.
    const SETTLING: f64 = 1.0;
    /// Seconds in time before more is asked for, at first.
    const CALM: f64 = 5.0;
    /// And at most.
    const LONGEST_CALM: f64 = 80.0;

    pub(super) fn new(fps: f64) -> Self {
        let calm = Self::frames(fps, Self::CALM);
        Self { fps, stride: 1, since: 0, judged_from: 0, calm, on_trial: false }
    }

    /// Whether `frame` is asked for.
    pub(super) fn asks(&self, frame: u64) -> bool {
        frame.is_multiple_of(self.stride)
    }

    /// One frame in how many is asked for.
    pub(super) fn stride(&self) -> u64 {
        self.stride
    }

    /// Frames that were asked for are too late up to `frame`, and nobody else can draw them: fewer are asked for, from
    /// `next` on. `capacity`: what the backend can be counted on to draw, frames a second, where that is known. Tells whether anything
    /// changed.
    pub(super) fn ask_less(&mut self, frame: u64, next: u64, capacity: Option<f64>) -> bool {
        if frame < self.judged_from || self.stride == Self::MOST {
            return false;
        }
        if std::mem::take(&mut self.on_trial) {
            self.calm = (2 * self.calm).min(Self::frames(self.fps, Self::LONGEST_CALM));
        }
        let enough = capacity.map_or(0, |capacity| (self.fps / capacity).ceil() as u64);
        self.stride = (self.stride + 1).max(enough).min(Self::MOST);
        self.since = next;
        self.judged_from = next + Self::frames(self.fps, Self::SETTLING);
        true
    }

    /// `frame` was drawn in time; after enough of them more are asked for, from `next` on, if the backend can draw
    /// them as far as is known. Tells whether anything changed.
    pub(super) fn drawn(&mut self, frame: u64, next: u64, capacity: Option<f64>) -> bool {
        if frame < self.since + self.calm {
            return false;
        }
        if std::mem::take(&mut self.on_trial) {
            // It went well for as long as the stride before did.
            self.calm = Self::frames(self.fps, Self::CALM);
        }
        let wanted = |stride: u64| self.fps / stride as f64;
        if self.stride == 1 || capacity.is_some_and(|capacity| capacity < wanted(self.stride - 1)) {
            return false;
        }
        self.stride -= 1;
        (self.since, self.judged_from) = (next, next);
        self.on_trial = true;
        true
    }

    fn frames(fps: f64, seconds: f64) -> u64 {
        (fps * seconds).ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays `frames` frames, seven of which are planned ahead, on a backend that draws `capacity` frames a second when
    /// it is asked for no more, and nothing in time when it is asked for more. Gives the strides, in runs.
    fn play(
        shedding: &mut Shedding,
        from: u64,
        frames: u64,
        known: bool,
        capacity: impl Fn(u64) -> f64,
    ) -> Vec<(u64, u64)> {
        let mut planned = std::collections::VecDeque::new();
        let (mut late, mut runs) = (0, Vec::<(u64, u64)>::new());
        for next in from..from + frames {
            planned.push_back((next, shedding.asks(next), shedding.stride()));
            if planned.len() <= 7 {
                continue;
            }
            let Some((frame, asked, stride)) = planned.pop_front() else { continue };
            match runs.last_mut() {
                Some((last, count)) if *last == stride => *count += 1,
                _ => runs.push((stride, 1)),
            }
            let told = known.then(|| capacity(frame));
            if !asked {
            } else if 25.0 / stride as f64 <= capacity(frame) {
                late = 0;
                shedding.drawn(frame, next + 1, told);
            } else {
                late += 1;
                if late >= 2 {
                    shedding.ask_less(frame, next + 1, told);
                }
            }
        }
        runs
    }

    fn strides(runs: &[(u64, u64)]) -> Vec<u64> {
        runs.iter().map(|(stride, _)| *stride).collect()
    }

    #[test]
    fn a_backend_in_real_time_is_asked_for_everything() {
        let mut shedding = Shedding::new(25.0);
        assert_eq!(strides(&play(&mut shedding, 0, 1000, false, |_| 25.0)), [1]);
    }

    #[test]
    fn what_is_known_to_be_too_slow_is_asked_for_what_it_can_and_not_tried_again() {
        for (capacity, stride) in [(16.7, 2), (12.5, 2), (12.0, 3), (5.5, 5), (1.0, 5)] {
            let mut shedding = Shedding::new(25.0);
            let runs = play(&mut shedding, 0, 5000, true, |_| capacity);
            assert_eq!(strides(&runs), [1, stride], "{capacity}: {runs:?}");
            assert_eq!(runs[0].1, 9, "two late ones, and those that were planned by then");
        }
    }

    #[test]
    fn without_a_measurement_it_goes_step_by_step_and_tries_less_and_less_often() {
        let mut shedding = Shedding::new(25.0);
        let runs = play(&mut shedding, 0, 6000, false, |_| 9.0);
        assert_eq!(strides(&runs)[..6], [1, 2, 3, 2, 3, 2], "{runs:?}");
        let calm: Vec<u64> =
            runs.iter().filter(|(stride, _)| *stride == 3).map(|(_, count)| *count).collect();
        assert!(calm[1] > calm[0] * 3 / 2 && calm[2] > calm[1] * 3 / 2, "{runs:?}");
        let tried = runs.iter().filter(|(stride, _)| *stride == 2).count();
        assert!(tried <= 7, "in four minutes: {runs:?}");
    }

    #[test]
    fn one_that_recovers_is_asked_for_everything_again() {
        for known in [true, false] {
            let mut shedding = Shedding::new(25.0);
            let recovers = |frame: u64| if frame < 1000 { 9.0 } else { 50.0 };
            let runs = play(&mut shedding, 0, 6000, known, recovers);
            assert_eq!(runs.last().map(|(stride, _)| *stride), Some(1), "{runs:?}");
        }
    }

    #[test]
    fn every_frame_that_is_asked_for_comes_at_the_same_distance() {
        let mut shedding = Shedding::new(30.0);
        assert!(shedding.ask_less(10, 17, Some(11.0)));
        let asked: Vec<u64> = (17..40).filter(|frame| shedding.asks(*frame)).collect();
        assert!(asked.windows(2).all(|pair| pair[1] - pair[0] == 3), "{asked:?}");
        assert!(!shedding.ask_less(16, 18, None), "that one was asked for before");
    }
}
