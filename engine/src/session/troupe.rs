//! Those who could take over: sessions that are already open in other backends, and the search for them.
//!
//! Time is counted in frames of the session's clock, so that what happens depends on nothing else. Opening is done by
//! helper threads, one a backend: a backend that hangs holds up nobody but its own.

use std::sync::{Arc, Weak};
use std::thread;

use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};

use super::cast::{Cast, Standby};
use super::line::Line;
use crate::backend::Instance;
use crate::time::FrameRate;

/// The understudies of one session.
pub(super) struct Troupe {
    cast: Cast,
    fps: FrameRate,
    /// Those who are ready, most preferred first, as of the last look.
    order: Vec<Arc<dyn Instance>>,
    understudies: Vec<Understudy>,
    /// Those who are being opened, and since which frame.
    opening: Vec<(Arc<dyn Instance>, u64)>,
    opened: (Sender<Opened>, Receiver<Opened>),
    blemishes: Vec<Blemish>,
    look_at: u64,
}

struct Understudy {
    line: Line,
    /// Open since that frame.
    since: u64,
}

struct Opened {
    instance: Arc<dyn Instance>,
    line: Result<Line, String>,
}

/// What speaks against an instance.
struct Blemish {
    instance: Weak<dyn Instance>,
    /// The frame at which it was noticed.
    at: u64,
    /// It could not be opened; otherwise it was late or broke.
    refused: bool,
}

/// How the session's present backend stands.
#[derive(Clone, Copy)]
pub(super) struct Situation<'a> {
    /// `None`: nobody draws.
    pub(super) lead: Option<&'a Arc<dyn Instance>>,
    /// It is late or fails.
    pub(super) in_trouble: bool,
    /// The next frame.
    pub(super) now: u64,
}

/// A move that can be made without haste.
pub(super) struct Offered {
    pub(super) line: Line,
    /// The lead is no longer among those who are ready: it is being replaced.
    pub(super) replaces: bool,
}

impl Troupe {
    pub(super) fn new(cast: Cast, fps: FrameRate) -> Self {
        Self {
            cast,
            fps,
            order: Vec::new(),
            understudies: Vec::new(),
            opening: Vec::new(),
            opened: unbounded(),
            blemishes: Vec::new(),
            look_at: 0,
        }
    }

    /// Takes in who was opened, and once a second, or when nobody draws, looks who is there.
    pub(super) fn attend(&mut self, situation: Situation<'_>) {
        while let Ok(Opened { instance, line }) = self.opened.1.try_recv() {
            self.opening.retain(|(other, _)| !Arc::ptr_eq(other, &instance));
            match line {
                Ok(line) => {
                    tracing::debug!(backend = instance.name(), "it could take over");
                    self.understudies.push(Understudy { line, since: situation.now });
                    self.look_at = situation.now;
                }
                Err(reason) => {
                    tracing::warn!(backend = instance.name(), reason, "it cannot take over");
                    self.blemish(&instance, situation.now, true);
                }
            }
        }
        if situation.now >= self.look_at || situation.lead.is_none() || situation.in_trouble {
            self.look(situation);
        }
    }

    /// Looks again at the next opportunity.
    pub(super) fn look_again(&mut self) {
        self.look_at = 0;
    }

    /// Notes that an instance was late, failed, or broke in this session.
    pub(super) fn note_trouble(&mut self, instance: &Arc<dyn Instance>, now: u64) {
        self.blemish(instance, now, false);
    }

    /// The name of who would take over now.
    pub(super) fn next(&self, now: u64) -> Option<&str> {
        self.best(now).map(|place| self.understudies[place].line.instance().name())
    }

    /// Who takes over at once.
    pub(super) fn take(&mut self, now: u64) -> Option<Line> {
        self.understudies.retain(Understudy::is_there);
        self.best(now).map(|place| self.understudies.swap_remove(place).line)
    }

    /// As [`take`](Self::take), but nobody who had trouble lately or is slower than real time.
    pub(super) fn take_trusted(&mut self, now: u64) -> Option<Line> {
        self.understudies.retain(Understudy::is_there);
        let place = self.best(now)?;
        let trusted = self.is_trusted(self.understudies[place].line.instance(), now);
        trusted.then(|| self.understudies.swap_remove(place).line)
    }

    /// Who takes over without haste: for a lead that is being replaced, or who is preferred to it and has been ready
    /// and not late for long enough, unless it is known to be slower than real time. At an `idle` moment; when none came
    /// for as long again, at any.
    pub(super) fn offer(&mut self, lead: &Arc<dyn Instance>, now: u64, idle: bool) -> Option<Offered> {
        let rank = self.rank(lead);
        let quick = self.quick(Some(lead), now);
        // Where the lead has to be left, one that is slow is better than none.
        let any = || self.candidates(Some(lead), now).next().filter(|_| rank.is_none());
        let first = quick.or_else(any)?.clone();
        let place = self.understudies.iter().position(|understudy| {
            Arc::ptr_eq(understudy.line.instance(), &first) && understudy.is_there()
        })?;
        let Some(rank) = rank else {
            return Some(Offered { line: self.understudies.swap_remove(place).line, replaces: true });
        };
        if self.rank(&first).is_none_or(|better| better > rank) {
            return None;
        }
        let wait = self.return_after();
        let trouble = self.blemish_of(&first).map_or(0, |blemish| blemish.at);
        let due = self.understudies[place].since.max(trouble) + wait;
        let now_then = now >= due + wait || (now >= due && idle);
        now_then.then(|| Offered { line: self.understudies.swap_remove(place).line, replaces: false })
    }

    fn look(&mut self, situation: Situation<'_>) {
        let Situation { lead, now, .. } = situation;
        self.look_at = now + self.second();
        self.order = self.cast.casting.ready();
        self.forget(now);
        let wanted = self.wanted(situation);
        let order = &self.order;
        let is_ready = |instance: &Arc<dyn Instance>| order.iter().any(|other| Arc::ptr_eq(other, instance));
        self.understudies.retain(|understudy| understudy.is_there() && is_ready(understudy.line.instance()));
        let is_open = |instance: &Arc<dyn Instance>| {
            self.understudies.iter().any(|understudy| Arc::ptr_eq(understudy.line.instance(), instance))
        };
        if wanted.iter().all(is_open) {
            let is_wanted =
                |instance: &Arc<dyn Instance>| wanted.iter().any(|one| Arc::ptr_eq(one, instance));
            self.understudies.retain(|understudy| is_wanted(understudy.line.instance()));
            return;
        }
        let missing: Vec<_> = wanted.iter().filter(|instance| !is_open(instance)).cloned().collect();
        for instance in missing {
            if self.opening_since(&instance).is_none()
                && lead.is_none_or(|lead| !Arc::ptr_eq(lead, &instance))
            {
                self.open(instance, now);
            }
        }
    }

    /// Those in whom a session should be open beside the lead.
    fn wanted(&self, situation: Situation<'_>) -> Vec<Arc<dyn Instance>> {
        let Situation { lead, in_trouble, now } = situation;
        let rank = lead.and_then(|lead| self.rank(lead));
        let retired = lead.is_some() && rank.is_none();
        let needed_now = lead.is_none() || in_trouble || retired;
        let quick = self.quick(lead, now);
        let first = quick.or_else(|| self.candidates(lead, now).next());
        let preferred = match rank {
            Some(rank) => quick.filter(|quick| self.rank(quick).is_some_and(|better| better < rank)),
            None => first,
        };
        // Nobody waits for long for one that takes its time to open.
        let patience = if needed_now { 1 } else { self.second() };
        let stuck = |instance| self.opening_since(instance).is_some_and(|since| now >= since + patience);
        let trusted =
            self.candidates(lead, now).find(|instance| self.is_trusted(instance, now) && !stuck(instance));
        let partner = trusted.or(first);
        let chosen: Vec<Option<&Arc<dyn Instance>>> = match self.cast.standby {
            Standby::Warm => vec![preferred, partner],
            Standby::Cold if needed_now => vec![preferred, partner],
            Standby::Cold => vec![preferred],
            Standby::None if retired => vec![first],
            Standby::None if lead.is_none() => vec![self.candidates(lead, now).last()],
            Standby::None => vec![],
        };
        let mut wanted: Vec<Arc<dyn Instance>> = Vec::new();
        for instance in chosen.into_iter().flatten() {
            if !wanted.iter().any(|other| Arc::ptr_eq(other, instance)) {
                wanted.push(instance.clone());
            }
        }
        wanted
    }

    /// Those who are ready but the lead, without those who refused a moment ago.
    fn candidates<'a>(
        &'a self,
        lead: Option<&'a Arc<dyn Instance>>,
        now: u64,
    ) -> impl Iterator<Item = &'a Arc<dyn Instance>> {
        let patience = 5 * self.second();
        self.order.iter().filter(move |instance| {
            let refused = self.blemish_of(instance).is_some_and(|b| b.refused && now < b.at + patience);
            !refused && lead.is_none_or(|lead| !Arc::ptr_eq(lead, instance))
        })
    }

    /// The first of the candidates that is not known to be slower than real time.
    fn quick<'a>(&'a self, lead: Option<&'a Arc<dyn Instance>>, now: u64) -> Option<&'a Arc<dyn Instance>> {
        self.candidates(lead, now).find(|instance| !self.is_slow(instance))
    }

    /// The place of whoever is best to take over at once.
    fn best(&self, now: u64) -> Option<usize> {
        let worth = |understudy: &Understudy| {
            let instance = understudy.line.instance();
            (!self.is_trusted(instance, now), self.rank(instance).unwrap_or(usize::MAX))
        };
        let there = self.understudies.iter().enumerate().filter(|(_, understudy)| understudy.is_there());
        there.min_by_key(|(_, understudy)| worth(understudy)).map(|(place, _)| place)
    }

    fn open(&mut self, instance: Arc<dyn Instance>, now: u64) {
        let (casting, fps, opened) = (self.cast.casting.clone(), self.fps, self.opened.0.clone());
        let (of, span) = (instance.clone(), tracing::Span::current());
        let open = move || {
            let open = || Line::open(casting.stage(&of)?, fps).map_err(|error| error.to_string());
            let line = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| span.in_scope(open)))
                .unwrap_or_else(|_| Err("panicked while it was opened".to_owned()));
            // The session may be over.
            let _ = opened.send(Opened { instance: of, line });
        };
        match thread::Builder::new().name("open understudy".to_owned()).spawn(open) {
            Ok(_) => self.opening.push((instance, now)),
            Err(error) => tracing::error!(%error, "no thread to open an understudy"),
        }
    }

    fn opening_since(&self, instance: &Arc<dyn Instance>) -> Option<u64> {
        self.opening.iter().find(|(other, _)| Arc::ptr_eq(other, instance)).map(|(_, since)| *since)
    }

    fn blemish(&mut self, instance: &Arc<dyn Instance>, at: u64, refused: bool) {
        let instance = Arc::downgrade(instance);
        self.blemishes.retain(|blemish| !Weak::ptr_eq(&blemish.instance, &instance));
        self.blemishes.push(Blemish { instance, at, refused });
    }

    fn blemish_of(&self, instance: &Arc<dyn Instance>) -> Option<&Blemish> {
        self.blemishes.iter().find(|blemish| blemish.instance.as_ptr().addr() == Arc::as_ptr(instance).addr())
    }

    fn had_trouble_lately(&self, instance: &Arc<dyn Instance>, now: u64) -> bool {
        self.blemish_of(instance).is_some_and(|b| !b.refused && now < b.at + self.return_after())
    }

    /// It was measured slower than real time, not long ago.
    fn is_slow(&self, instance: &Arc<dyn Instance>) -> bool {
        instance.capacity().is_some_and(|capacity| capacity.is_below(self.fps.as_f64()))
    }

    fn is_trusted(&self, instance: &Arc<dyn Instance>, now: u64) -> bool {
        !self.had_trouble_lately(instance, now) && !self.is_slow(instance)
    }

    /// Drops blemishes of instances that are no more.
    fn forget(&mut self, now: u64) {
        let longest = self.return_after().max(5 * self.second());
        self.blemishes.retain(|blemish| blemish.instance.strong_count() > 0 && now < blemish.at + longest);
    }

    fn rank(&self, instance: &Arc<dyn Instance>) -> Option<usize> {
        self.order.iter().position(|other| Arc::ptr_eq(other, instance))
    }

    fn return_after(&self) -> u64 {
        self.fps.frames_covering(self.cast.return_after.as_millis() as u64, 1_000)
    }

    fn second(&self) -> u64 {
        self.fps.frames_covering(1, 1)
    }
}

impl Understudy {
    /// Its backend has not ended meanwhile.
    fn is_there(&self) -> bool {
        let hung_up = matches!(self.line.replies().try_recv(), Err(TryRecvError::Disconnected));
        !hung_up && self.line.instance().lost().is_none()
    }
}
