//! How a performance changes its backend in mid-sentence: at a loss, for lateness, back again, and at a reload.
//!
//! Frames that nobody has answered are asked again of the new one, which hears the look-behind first. Their numbers,
//! their order and their audio are the timeline's and do not change.

use std::time::{Duration, Instant};

use super::black_box::Event;
use super::cast::{Move, MoveReason};
use super::line::Line;
use super::performance::{Performance, Planned};
use super::shedding::Shedding;
use super::troupe::Situation;
use crate::backend::{Capacity, FrameReply, Outcome};

/// What a performance remembers for its moves.
#[derive(Default)]
pub(super) struct Trouble {
    /// Frames held in a row because no answer came in time.
    pub(super) late: u64,
    /// Frames of the last second at which the backend failed.
    pub(super) failed: Vec<u64>,
    /// Frames that were in a batch during which a backend broke.
    suspects: Vec<u64>,
    /// When another backend took over at once and has drawn nothing yet: the first frame that was not planned.
    moved_at: Option<u64>,
}

impl Trouble {
    /// Frames held in a row before another backend draws.
    const LATE: u64 = 2;
    /// Failures in a second before another backend draws.
    const FAILURES: usize = 5;
    /// Suspects that are remembered: those of some batches.
    const SUSPECTS: usize = 64;

    pub(super) fn is_suspect(&self, frame: u64) -> bool {
        self.suspects.contains(&frame)
    }

    /// The one who took over draws.
    pub(super) fn settle_in(&mut self) {
        self.moved_at = None;
    }
}

impl Performance {
    /// For the replies of a batch that broke its backend: they come together.
    const LAST_WORDS: Duration = Duration::from_millis(5);

    /// Notices that the backend is lost, looks who else is there, and makes the moves that are due;
    /// [`plan`](Self::plan) begins with it.
    pub fn attend(&mut self) {
        if let Some(reason) = self.lead.as_ref().and_then(|lead| lead.instance().lost()) {
            // What it answered before it was lost counts, and so does what it says of the batch that broke it.
            self.bid_farewell(reason, None);
        }
        if let Some(lead) = &self.lead
            && lead.waiting() as u64 >= self.unanswered_limit
        {
            self.lose(format!("it left {} frames unanswered", lead.waiting()), &[]);
        }
        let (now, idle) = (self.timeline.next_frame(), !self.is_speaking());
        let in_trouble = self.is_late() || self.is_failing();
        let Some(troupe) = &mut self.troupe else { return };
        let lead = self.lead.as_ref().map(Line::instance);
        troupe.attend(Situation { lead, in_trouble, now });
        match lead {
            None => {
                if let Some(line) = troupe.take(now) {
                    self.hand_over(line, MoveReason::Lost);
                }
            }
            Some(lead) => {
                if let Some(offered) = troupe.offer(lead, now, idle) {
                    let reason = if offered.replaces { MoveReason::Replaced } else { MoveReason::Return };
                    self.change_over(offered.line, reason);
                }
            }
        }
    }

    /// After a frame was given out: a backend that is late or fails hands over to one that is ready. Where there is
    /// none, one that is late is asked for less.
    pub(super) fn judge(&mut self, frame: u64) {
        let second = self.timeline.second();
        self.trouble.failed.retain(|failed| failed + second > frame);
        let late = self.is_late();
        if !late && !self.is_failing() {
            return;
        }
        // One that has just taken over has to catch up with the frames that the one before left.
        if self.lead.is_none() || self.trouble.moved_at.is_some_and(|at| frame < at + second) {
            return;
        }
        let now = self.timeline.next_frame();
        let line = match &mut self.troupe {
            // Somebody who was late or is too slow as well would only be late in turn.
            Some(troupe) if late => troupe.take_trusted(now),
            Some(troupe) => troupe.take(now),
            None => None,
        };
        match line {
            Some(line) => {
                if let (Some(troupe), Some(lead)) = (&mut self.troupe, &self.lead) {
                    troupe.note_trouble(lead.instance(), now);
                    if late {
                        lead.instance().blame();
                    }
                }
                self.hand_over(line, if late { MoveReason::Late } else { MoveReason::Failing });
            }
            None if self.trouble.late >= Trouble::LATE => {
                let capacity = self.lead_capacity();
                if self.shedding.ask_less(frame, now, capacity) {
                    let one_in = self.shedding.stride();
                    let capacity = capacity.map(f64::round);
                    tracing::warn!(one_in, capacity, "frames come too late: fewer are asked for");
                }
            }
            None => {}
        }
    }

    /// A frame was drawn in time: perhaps the backend can do more than it is asked for.
    pub(super) fn ask_more(&mut self, frame: u64) {
        if self.shedding.stride() == 1 {
            return;
        }
        let (now, capacity) = (self.timeline.next_frame(), self.lead_capacity());
        if self.shedding.drawn(frame, now, capacity) {
            let one_in = self.shedding.stride();
            let capacity = capacity.map(f64::round);
            tracing::info!(one_in, capacity, "more frames are asked for again");
        }
    }

    fn lead_capacity(&self) -> Option<f64> {
        let lead = self.lead.as_ref()?;
        let capacity = lead.instance().capacity()?.frames_per_second;
        // What can be counted on, as for sessions that are admitted; 0 is not known.
        (capacity > 0.0).then_some(capacity * Capacity::SHARE)
    }

    /// It is not in time, or only because it is asked for less.
    fn is_late(&self) -> bool {
        self.trouble.late >= Trouble::LATE || self.shedding.stride() > 1
    }

    fn is_failing(&self) -> bool {
        self.trouble.failed.len() >= Trouble::FAILURES
    }

    /// The lead's last words: a reply says that it is gone.
    pub(super) fn bid_farewell(&mut self, reason: String, frame: Option<u64>) {
        let mut in_flight: Vec<u64> = frame.into_iter().collect();
        // The other requests of that batch are answered in the same moment. What they say has to be known before
        // anything is asked of another backend.
        let patience = Instant::now() + Self::LAST_WORDS;
        while let Some(lead) = &mut self.lead
            && lead.waiting() > 0
            && let Ok(reply) = lead.replies().recv_deadline(patience)
        {
            match &reply.outcome {
                Outcome::Gone { in_flight: true, .. } => in_flight.extend(lead.received(&reply)),
                Outcome::Gone { .. } => drop(lead.received(&reply)),
                _ => self.note(reply),
            }
        }
        self.lose(reason, &in_flight);
    }

    /// The lead is of no more use. `in_flight`: frames that may have been what broke it.
    pub(super) fn lose(&mut self, reason: String, in_flight: &[u64]) {
        let Some(lead) = self.lead.take() else { return };
        let from = lead.instance().name().to_owned();
        if let Some(troupe) = &mut self.troupe {
            // It may be there still: a panic ends one session.
            troupe.note_trouble(lead.instance(), self.timeline.next_frame());
        }
        if lead.instance().lost().is_some() {
            tracing::error!(backend = from, reason, "the session's backend is gone");
        } else {
            tracing::error!(backend = from, reason, "the backend cannot go on with this session, others may");
        }
        drop(lead);
        self.record_event(None, || Event::Lost {
            backend: from.clone(),
            reason: reason.clone(),
            in_flight: in_flight.to_vec(),
        });
        let culprit = in_flight.iter().find(|frame| self.trouble.is_suspect(**frame)).copied();
        self.trouble.suspects.extend(in_flight);
        let surplus = self.trouble.suspects.len().saturating_sub(Trouble::SUSPECTS);
        self.trouble.suspects.drain(..surplus);
        self.gone = Some(reason);
        self.leaving = None;
        if let Some(frame) = culprit {
            let over = format!(
                "frame {frame} was in the batch of two backends as they broke; no third one is asked"
            );
            tracing::error!(frame, "the session ends: {over}");
            self.over = Some(over);
            return;
        }
        let now = self.timeline.next_frame();
        match self.troupe.as_mut().and_then(|troupe| troupe.take(now)) {
            Some(line) => self.take_over(line, Some(from), MoveReason::Lost),
            None => {
                tracing::error!("no other backend is open; the avatar plays on");
                self.moved(Move { from: Some(from), to: None, reason: MoveReason::Lost, frame: now });
            }
        }
    }

    /// `line` draws from now on, and every frame that is not answered is asked of it.
    fn hand_over(&mut self, line: Line, reason: MoveReason) {
        let from = self.lead.take().map(|lead| lead.instance().name().to_owned());
        self.take_over(line, from, reason);
    }

    fn take_over(&mut self, line: Line, from: Option<String>, reason: MoveReason) {
        self.leaving = None;
        for wish in self.planned.iter_mut().filter_map(|planned| planned.wish.as_mut()) {
            // What the one before could not draw, the new one may.
            wish.answer = wish.answer.take().filter(Result::is_ok);
            wish.asked = wish.asked.filter(|_| wish.answer.is_some());
        }
        self.trouble.moved_at = Some(self.timeline.next_frame());
        self.adopt(line, from, reason);
        self.ask_all_again();
    }

    /// `line` draws the frames that are asked for from now on; those that were asked for stay with the one before.
    fn change_over(&mut self, line: Line, reason: MoveReason) {
        let former = self.lead.take();
        let from = former.as_ref().map(|lead| lead.instance().name().to_owned());
        let earlier = self.leaving.take().is_some();
        self.leaving = former.filter(|lead| lead.waiting() > 0);
        self.adopt(line, from, reason);
        if earlier {
            // Two changes at once: what the first one left is asked again.
            self.leaving = None;
            self.ask_all_again();
        }
    }

    fn adopt(&mut self, mut line: Line, from: Option<String>, reason: MoveReason) {
        if let Some(black_box) = &self.black_box {
            line.record(black_box);
        }
        let config = line.config();
        let to = Some(line.instance().name().to_owned());
        self.shedding = Shedding::new(config.fps.as_f64());
        self.stands_in = match reason {
            MoveReason::Lost | MoveReason::Late | MoveReason::Failing => true,
            MoveReason::Return => false,
            MoveReason::Replaced => self.stands_in,
        };
        self.timeline.recast(config);
        self.lead = Some(line);
        self.gone = None;
        if let Some(push) = self.timeline.top_up(&mut self.speech) {
            self.history.add(&push);
        }
        let not_asked = |planned: &&Planned| planned.wish.as_ref().is_some_and(|wish| wish.asked.is_none());
        let first = self.planned.iter().find(not_asked).map(|planned| planned.frame);
        let frame = first.unwrap_or(self.timeline.next_frame());
        self.moved(Move { from, to, reason, frame });
        if let Some(troupe) = &mut self.troupe {
            troupe.look_again();
        }
    }

    /// Every frame that has no answer is asked of the lead, as if for the first time.
    pub(super) fn ask_all_again(&mut self) {
        let Some(lead) = &mut self.lead else { return };
        lead.reset();
        let timeline = &self.timeline;
        for planned in &mut self.planned {
            let Some(wish) = planned.wish.as_mut().filter(|wish| wish.answer.is_none()) else { continue };
            match timeline.ask_again(planned.frame, planned.moment) {
                Some(mut ask) => {
                    ask.flags.first |= wish.ask.flags.first;
                    (wish.ask, wish.asked) = (ask, None);
                }
                None => planned.wish = None,
            }
        }
        self.ask_due();
    }

    fn moved(&mut self, change: Move) {
        let Move { from, to, reason, frame } = &change;
        let (from, to) = (from.as_deref().unwrap_or("nobody"), to.as_deref().unwrap_or("nobody"));
        if *reason == MoveReason::Replaced {
            tracing::info!(from, to, frame, "its backend was replaced");
        } else {
            tracing::warn!(from, to, reason = reason.as_str(), frame, "another backend draws");
        }
        self.record_event(Some(*frame), || Event::moved(&change));
        self.trouble.late = 0;
        self.trouble.failed.clear();
        self.stats.moves += 1;
        self.moves.push(change);
    }

    /// Takes in what arrived at [`farewell`](Self::farewell).
    pub fn accept_farewell(&mut self, arrived: Result<FrameReply, crossbeam_channel::RecvError>) {
        let gone = |reply: &FrameReply| matches!(reply.outcome, Outcome::Gone { .. });
        let Some(leaving) = &mut self.leaving else { return };
        match arrived {
            Ok(reply) if !gone(&reply) => {
                leaving.received(&reply);
                let done = leaving.waiting() == 0;
                if let Some(mut leaving) = self.leaving.take() {
                    if !leaving.is_of_old(&reply) {
                        self.answer(&mut leaving, reply);
                    }
                    self.leaving = Some(leaving).filter(|_| !done);
                }
            }
            // It is gone before it answered everything.
            _ => {
                self.leaving = None;
                self.ask_all_again();
            }
        }
    }
}
