//! The speech queue: utterances in the order they were given, joined without padding.
//!
//! In: chunks from decoders, each on its own thread, over bounded channels. Out: 16 kHz and 48 kHz PCM of the
//! same instants. Nothing here waits.

use std::collections::VecDeque;

use crossbeam_channel::{Receiver, TryRecvError};
use lipcast_plugins_api::author::Capabilities;

use super::black_box::UtteranceStep;
use crate::audio::SpeechChunk;

/// Counts a session's utterances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtteranceId(pub u64);

/// What a decoder sends; hanging up is the end of the utterance.
#[derive(Debug)]
pub enum SpeechEvent {
    /// The next piece.
    Chunk(SpeechChunk),
    /// The rest cannot be read; what came before is played.
    Failed(String),
}

/// The queue of one session.
#[derive(Debug, Default)]
pub struct SpeechQueue {
    waiting: VecDeque<(UtteranceId, Receiver<SpeechEvent>)>,
    at_16k: VecDeque<f32>,
    at_48k: VecDeque<f32>,
    /// Samples that came in and went out since the queue was last cleared, at 16 and at 48 kHz.
    came: [u64; 2],
    gone: [u64; 2],
    /// Where utterances end, counted as `gone` at 48 kHz, that are read to their end and not yet taken to it.
    ends: VecDeque<u64>,
    /// The same with those that are read to their beginning, for [`take_steps`](Self::take_steps).
    marks: VecDeque<(u64, UtteranceId, UtteranceStep)>,
    /// The utterance whose first chunk came last.
    begun: Option<UtteranceId>,
    failures: Vec<(UtteranceId, String)>,
}

impl SpeechQueue {
    /// Decoded ahead at most, in 16 kHz samples, but for the rest of a chunk: the longest look-ahead that a backend
    /// may have and a second for the frame itself. Small beside a picture.
    const AHEAD: usize = 16 * (Capabilities::LOOKAHEAD_LIMIT_MS as usize + 1_000);

    /// Queues an utterance whose chunks arrive at `chunks`.
    pub fn enqueue(&mut self, id: UtteranceId, chunks: Receiver<SpeechEvent>) {
        self.waiting.push_back((id, chunks));
    }

    /// Takes in what the decoders have ready.
    pub fn pump(&mut self) {
        while self.at_16k.len() < Self::AHEAD {
            let Some((id, chunks)) = self.waiting.front() else { return };
            match chunks.try_recv() {
                Ok(SpeechEvent::Chunk(chunk)) => {
                    if self.begun.replace(*id) != Some(*id) {
                        self.marks.push_back((self.came[1], *id, UtteranceStep::Began));
                    }
                    self.came[0] += chunk.at_16k.len() as u64;
                    self.came[1] += chunk.at_48k.len() as u64;
                    self.at_16k.extend(chunk.at_16k);
                    self.at_48k.extend(chunk.at_48k);
                }
                Ok(SpeechEvent::Failed(message)) => {
                    self.failures.push((*id, message));
                    self.end_utterance(UtteranceStep::BrokeOff);
                }
                Err(TryRecvError::Disconnected) => self.end_utterance(UtteranceStep::Ended),
                Err(TryRecvError::Empty) => return,
            }
        }
    }

    /// Samples at 16 kHz that can be taken now.
    pub fn buffered_16k(&self) -> usize {
        self.at_16k.len()
    }

    /// Samples at 48 kHz that can be taken now.
    pub fn buffered_48k(&self) -> usize {
        self.at_48k.len()
    }

    /// Nothing more is coming: every queued utterance has been read to its end.
    pub fn is_exhausted(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Utterances that were not taken to their end, at 48 kHz: the one being heard and those that wait.
    pub fn utterances(&self) -> usize {
        self.ends.len() + self.waiting.len()
    }

    /// Takes up to `count` samples at 16 kHz.
    pub fn take_16k(&mut self, count: usize) -> Vec<f32> {
        let count = count.min(self.at_16k.len());
        self.gone[0] += count as u64;
        self.at_16k.drain(..count).collect()
    }

    /// Takes exactly `count` samples at 48 kHz, silence where speech has run out.
    pub fn take_48k(&mut self, count: usize) -> Vec<f32> {
        self.take_heard(count, count)
    }

    /// As [`take_48k`](Self::take_48k) once a run's end is known: takes no more than the instants that were taken at
    /// 16 kHz, since what follows belongs to the next run. Frames cut the two rates at different fractions of a
    /// sample, so that a sample or two of a run may come only with the frame after it.
    pub fn take_rest_48k(&mut self, count: usize) -> Vec<f32> {
        let owed = (3 * self.gone[0]).saturating_sub(self.gone[1]) as usize;
        self.take_heard(count.min(owed), count)
    }

    fn take_heard(&mut self, most: usize, count: usize) -> Vec<f32> {
        let present = most.min(self.at_48k.len());
        self.gone[1] += present as u64;
        self.leave_behind();
        let mut taken: Vec<f32> = self.at_48k.drain(..present).collect();
        taken.resize(count, 0.0);
        taken
    }

    /// A source fell behind: stretches the gap with silence in both rates, so that they stay aligned.
    pub fn insert_silence(&mut self, samples_16k: usize) {
        self.came[0] += samples_16k as u64;
        self.came[1] += samples_16k as u64 * 3;
        self.at_16k.extend(std::iter::repeat_n(0.0, samples_16k));
        self.at_48k.extend(std::iter::repeat_n(0.0, samples_16k * 3));
    }

    /// Barge-in: forgets everything queued. Decoders notice that their channel is gone.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.at_16k.clear();
        self.at_48k.clear();
        (self.came, self.gone) = Default::default();
        self.ends.clear();
        self.marks.clear();
        self.begun = None;
    }

    /// The two rates round an utterance's length each by itself. The longer one is made as long as the other, so that
    /// the next utterance begins at the same instant in both.
    fn end_utterance(&mut self, how: UtteranceStep) {
        let ended = self.waiting.pop_front();
        let (exact, came) = (3 * self.came[0], self.came[1]);
        self.at_48k.extend(std::iter::repeat_n(0.0, exact.saturating_sub(came) as usize));
        let surplus = (came.saturating_sub(exact) as usize).min(self.at_48k.len());
        self.at_48k.truncate(self.at_48k.len() - surplus);
        self.came[1] = came.max(exact) - surplus as u64;
        self.ends.push_back(self.came[1]);
        self.marks.extend(ended.map(|(id, _)| (self.came[1], id, how)));
        self.leave_behind();
    }

    fn leave_behind(&mut self) {
        while self.ends.front().is_some_and(|end| *end <= self.gone[1]) {
            self.ends.pop_front();
        }
    }

    /// Which utterances began and ended to be heard, at 48 kHz, since the last call.
    pub fn take_steps(&mut self) -> Vec<(UtteranceId, UtteranceStep)> {
        let gone = self.gone[1];
        let heard = |(at, _, step): &(u64, UtteranceId, UtteranceStep)| match step {
            UtteranceStep::Began => *at < gone,
            _ => *at <= gone,
        };
        let count = self.marks.iter().take_while(|mark| heard(mark)).count();
        self.marks.drain(..count).map(|(_, id, step)| (id, step)).collect()
    }

    /// Utterances that broke off since the last call, and why.
    pub fn take_failures(&mut self) -> Vec<(UtteranceId, String)> {
        std::mem::take(&mut self.failures)
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;

    fn chunk(value: f32, samples: usize) -> SpeechEvent {
        SpeechEvent::Chunk(SpeechChunk { at_16k: vec![value; samples], at_48k: vec![value; samples * 3] })
    }

    #[test]
    fn utterances_join_without_padding() {
        let mut queue = SpeechQueue::default();
        for (id, value) in [(0, 0.1), (1, 0.2)] {
            let (sender, receiver) = bounded(4);
            sender.send(chunk(value, 100)).unwrap();
            queue.enqueue(UtteranceId(id), receiver);
        }
        queue.pump();
        assert!(queue.is_exhausted());
        let taken = queue.take_16k(150);
        assert_eq!((taken[99], taken[100]), (0.1, 0.2));
        let heard = |taken: Vec<f32>| taken.iter().filter(|sample| **sample != 0.0).count();
        assert_eq!(heard(queue.take_rest_48k(500)), 450, "no further than at 16 kHz");
        assert_eq!(heard(queue.take_48k(200)), 150);
    }

    #[test]
    fn a_failure_ends_its_utterance_only() {
        let mut queue = SpeechQueue::default();
        let (broken, receiver) = bounded(4);
        broken.send(SpeechEvent::Failed("cut short".into())).unwrap();
        queue.enqueue(UtteranceId(0), receiver);
        let (whole, receiver) = bounded(4);
        whole.send(chunk(0.5, 10)).unwrap();
        queue.enqueue(UtteranceId(1), receiver);
        queue.pump();
        assert_eq!(queue.take_failures(), [(UtteranceId(0), "cut short".to_owned())]);
        assert_eq!(queue.buffered_16k(), 10);
        assert!(!queue.is_exhausted(), "the second decoder has not hung up");
    }

    #[test]
    fn an_utterance_counts_until_it_was_taken_to_its_end() {
        let mut queue = SpeechQueue::default();
        for id in 0..2 {
            let (sender, receiver) = bounded(4);
            sender.send(chunk(0.5, 100)).unwrap();
            queue.enqueue(UtteranceId(id), receiver);
        }
        queue.pump();
        assert!(queue.is_exhausted());
        let counts: Vec<_> = (0..4)
            .map(|_| {
                queue.take_48k(150);
                queue.utterances()
            })
            .collect();
        assert_eq!(counts, [2, 1, 1, 0]);
    }

    #[test]
    fn decoding_ahead_is_bounded() {
        let mut queue = SpeechQueue::default();
        let (sender, receiver) = bounded(100);
        for _ in 0..100 {
            sender.send(chunk(0.5, 16_000)).unwrap();
        }
        queue.enqueue(UtteranceId(0), receiver);
        queue.pump();
        assert_eq!(queue.buffered_16k(), SpeechQueue::AHEAD);
    }
}
