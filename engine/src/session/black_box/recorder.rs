//! The bounded memory of a black box. Times are arguments; nothing here reads a clock.
//!
//! Two bounds hold: no event is older than the window, counted back from the last one, and all of them together take
//! no more than so many bytes. What a line was told falls into *segments*, stretches that a backend can begin with: a
//! run of speech, or what follows a reset. When something has to go, a segment that is over goes as a whole, unless
//! much of it would still fit; then, and where the segment goes on, its oldest events go, and the line says that it
//! begins in the middle.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::event::{BackendMark, Begins, Entry, Event, LineMark};
use crate::session::UnitKind;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How far back from the last event.
    pub window: Duration,
    /// Bytes of all events.
    pub bytes: usize,
}

impl Limits {
    /// A window of that length, in 32 MiB at most: seven minutes of uninterrupted speech.
    pub fn of(window: Duration) -> Self {
        Self { window, bytes: 32 << 20 }
    }
}

/// What happened in one session, as far back as its limits allow.
#[derive(Debug)]
pub struct Recorder {
    limits: Limits,
    kept: VecDeque<Kept>,
    bytes: usize,
    lines: BTreeMap<u32, Line>,
    next_line: u32,
    segments: BTreeMap<u64, Segment>,
    next_segment: u64,
    /// The next frame that leaves.
    frame: u64,
    shown: Option<UnitKind>,
    ended: bool,
}

#[derive(Debug)]
struct Kept {
    entry: Entry,
    segment: Option<u64>,
}

/// A line that is open, or of which something is kept.
#[derive(Debug)]
struct Line {
    backend: BackendMark,
    open: bool,
    entries: usize,
    /// A segment of it is gone.
    shortened: bool,
    /// The segment that goes on.
    current: Option<u64>,
    /// Where its audio ends, and whether the run is over; `None`: it has heard nothing since it was opened or reset.
    heard: Option<(u64, bool)>,
    /// Requests without a reply: their numbers, frames and segments.
    waiting: VecDeque<(u64, u64, u64)>,
}

#[derive(Debug)]
struct Segment {
    line: u32,
    begins: Begins,
    cut: bool,
    entries: usize,
    last: Duration,
}

impl Recorder {
    /// Nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            kept: VecDeque::new(),
            bytes: 0,
            lines: BTreeMap::new(),
            next_line: 0,
            segments: BTreeMap::new(),
            next_segment: 0,
            frame: 0,
            shown: None,
            ended: false,
        }
    }

    /// Begins a line; gives its number.
    pub fn open(&mut self, at: Duration, backend: BackendMark) -> u32 {
        let line = self.next_line;
        self.next_line += 1;
        let name = backend.name.clone();
        let state = Line {
            backend,
            open: true,
            entries: 0,
            shortened: false,
            current: None,
            heard: None,
            waiting: VecDeque::new(),
        };
        self.lines.insert(line, state);
        self.note(at, None, Event::Opened { line, backend: name });
        line
    }

    /// Adds an event about `frame`, or about the next one that leaves. Those of a line that is not open, and replies
    /// to what is no longer kept, are left out; so is everything after the end.
    pub fn note(&mut self, at: Duration, frame: Option<u64>, event: Event) {
        if self.ended && event.line().is_none() {
            return;
        }
        self.ended |= matches!(event, Event::Ended { .. });
        let Some((segment, frame)) = self.place(&event, frame) else { return };
        if let Some(line) = event.line().and_then(|line| self.lines.get_mut(&line)) {
            line.entries += 1;
        }
        if let Some(segment) = segment.and_then(|segment| self.segments.get_mut(&segment)) {
            segment.entries += 1;
            segment.last = at;
        }
        self.bytes += cost(&event);
        self.kept.push_back(Kept { entry: Entry { at, frame, event }, segment });
        self.trim(at);
    }

    /// A frame has left. Of frames of one kind in a row the first is noted, which makes idle free.
    pub fn left(&mut self, at: Duration, frame: u64, kind: UnitKind) {
        self.frame = frame + 1;
        if self.shown.replace(kind) != Some(kind) {
            self.note(at, Some(frame), Event::Shown { kind });
        }
    }

    /// Bytes of all events that are kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The lines of which something is kept, and every event.
    pub fn snapshot(&self) -> (Vec<LineMark>, Vec<Entry>) {
        let lines = self.lines.iter().map(|(number, line)| LineMark {
            line: *number,
            backend: line.backend.clone(),
            begins: self.begins(*number, line),
        });
        (lines.collect(), self.kept.iter().map(|kept| kept.entry.clone()).collect())
    }

    fn begins(&self, number: u32, line: &Line) -> Begins {
        match self.segments.values().find(|segment| segment.line == number && segment.entries > 0) {
            Some(segment) if segment.cut => Begins::Middle,
            Some(segment) if line.shortened => segment.begins,
            _ => Begins::Opened,
        }
    }

    /// Which segment an event belongs to, and which frame it is about; `None`: it is not kept.
    fn place(&mut self, event: &Event, frame: Option<u64>) -> Option<(Option<u64>, u64)> {
        let (Some(number), next) = (event.line(), self.frame) else {
            return Some((None, frame.unwrap_or(self.frame)));
        };
        let line = self.lines.get_mut(&number)?;
        let begins = match event {
            Event::Reset { .. } => {
                line.heard = None;
                Some(Begins::Reset)
            }
            Event::Audio { first_sample, pcm, end, .. } => {
                let goes_on = line.heard.is_none_or(|(until, ended)| !ended && until == *first_sample);
                line.heard = Some((first_sample + pcm.len() as u64, *end));
                (!goes_on).then_some(Begins::Run)
            }
            Event::Reply { seq, .. } => {
                let place = line.waiting.iter().position(|(asked, ..)| asked == seq)?;
                let (_, frame, segment) = line.waiting.remove(place)?;
                return self.segments.contains_key(&segment).then_some((Some(segment), frame));
            }
            Event::Closed { .. } => {
                line.open = false;
                line.waiting.clear();
                return Some((None, next));
            }
            Event::Opened { .. } => return Some((None, next)),
            _ => None,
        };
        let segment = match (line.current, begins) {
            (Some(current), None) => current,
            (_, begins) => {
                let fresh = self.next_segment;
                self.next_segment += 1;
                let former = line.current.replace(fresh);
                let begins = begins.unwrap_or(Begins::Run);
                let segment = Segment { line: number, begins, cut: false, entries: 0, last: Duration::ZERO };
                self.segments.insert(fresh, segment);
                if let Some(former) = former.filter(|former| self.segments[former].entries == 0) {
                    // All of it was cut off.
                    self.segments.remove(&former);
                    line.shortened = true;
                }
                fresh
            }
        };
        let frame = frame.unwrap_or(next);
        if let Event::Request { asked, .. } = event {
            line.waiting.push_back((asked.seq, frame, segment));
        }
        Some((Some(segment), frame))
    }

    fn trim(&mut self, now: Duration) {
        let edge = now.saturating_sub(self.limits.window);
        while let Some(oldest) = self.kept.front()
            && (oldest.entry.at < edge || self.bytes > self.limits.bytes)
        {
            let from = oldest.entry.at.max(edge);
            match oldest.segment {
                Some(segment) if self.goes_whole(segment, from) => self.drop_segment(segment),
                _ => self.drop_oldest(),
            }
        }
    }

    /// Whether `segment` is over and little of it is younger than `from`.
    fn goes_whole(&self, segment: u64, from: Duration) -> bool {
        let Segment { line, last, .. } = &self.segments[&segment];
        let is_over = self.lines.get(line).is_none_or(|line| !line.open || line.current != Some(segment));
        is_over && last.saturating_sub(from) < self.limits.window / 2
    }

    fn drop_segment(&mut self, segment: u64) {
        let mut gone = Vec::new();
        self.kept.retain(|kept| {
            let stays = kept.segment != Some(segment);
            if !stays {
                gone.push((kept.entry.event.line(), cost(&kept.entry.event)));
            }
            stays
        });
        gone.into_iter().for_each(|(line, bytes)| self.forget(line, bytes));
        if let Some(Segment { line, .. }) = self.segments.remove(&segment)
            && let Some(line) = self.lines.get_mut(&line)
        {
            line.shortened = true;
        }
    }

    fn drop_oldest(&mut self) {
        let Some(Kept { entry, segment }) = self.kept.pop_front() else { return };
        if let Some(number) = segment
            && let Some(segment) = self.segments.get_mut(&number)
        {
            segment.cut = true;
            segment.entries -= 1;
            let line = self.lines.get_mut(&segment.line).filter(|line| line.current != Some(number));
            if let (0, Some(line)) = (segment.entries, line) {
                line.shortened = true;
                self.segments.remove(&number);
            }
        }
        self.forget(entry.event.line(), cost(&entry.event));
    }

    /// One event of `line` is gone; with the last one of a line that is closed the line is.
    fn forget(&mut self, line: Option<u32>, bytes: usize) {
        self.bytes -= bytes;
        let Some(number) = line else { return };
        let Some(line) = self.lines.get_mut(&number) else { return };
        line.entries -= 1;
        if line.entries == 0 && !line.open {
            self.lines.remove(&number);
            self.segments.retain(|_, segment| segment.line != number);
        }
    }
}

fn cost(event: &Event) -> usize {
    size_of::<Kept>() + event.heap_bytes()
}
