//! One performance, and the fingerprint of its audio.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lipcast_plugins_api::author::{AudioTimeline, Error, SessionParams};

use crate::avatar::Avatar;
use crate::fault::{Call, Faults};
use crate::settings::Lies;
use crate::trigger;

/// How far a lying session looks ahead, in samples: 100 ms.
const PEEK: usize = 1_600;

/// What the sessions of an instance must not share, for those that lie.
#[derive(Default)]
pub(crate) struct Gossip {
    next: AtomicU64,
    heard: Mutex<BTreeMap<u64, u64>>,
    drawn: AtomicU64,
}

/// One performance.
pub struct Session {
    pub(crate) avatar: Arc<Avatar>,
    pub(crate) params: SessionParams,
    audio: AudioTimeline,
    faults: Arc<Faults>,
    gossip: Arc<Gossip>,
    lies: Lies,
    number: u64,
    before_reset: u64,
    heard: u64,
}

impl Session {
    pub(crate) fn new(
        avatar: Arc<Avatar>,
        params: SessionParams,
        faults: Arc<Faults>,
        gossip: Arc<Gossip>,
        lies: Lies,
    ) -> Self {
        let number = gossip.next.fetch_add(1, Ordering::Relaxed);
        let audio = AudioTimeline::new(AudioTimeline::LIVE);
        Self { avatar, params, audio, faults, gossip, lies, number, before_reset: 0, heard: 0 }
    }

    pub(crate) fn push(&mut self, first: u64, pcm: &[f32], end: bool) -> Result<(), Error> {
        self.audio.push(first, pcm, end)?;
        self.heard = hash(self.heard, pcm);
        if self.lies.cross_talk {
            let mut heard = self.gossip.heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.insert(self.number, self.heard);
        }
        Ok(())
    }

    pub(crate) fn reset(&mut self) {
        self.audio.clear();
        self.before_reset = self.heard;
    }

    /// The samples of video frame `frame`.
    pub(crate) fn samples(&mut self, frame: u64) -> Vec<f32> {
        self.window(frame, 0)
    }

    /// Whether the run has ended before `frame`.
    pub(crate) fn is_over(&self, frame: u64) -> bool {
        !self.lies.never_at_rest && self.audio.ended() && self.params.first_sample(frame) >= self.audio.end()
    }

    /// What `frame`'s picture depends on, which is its own samples and nothing else, unless it lies. `place` is its
    /// index in the batch and the batch's size.
    pub(crate) fn fingerprint(&mut self, frame: u64, place: (usize, usize)) -> u64 {
        let lies = self.lies;
        let mut print = hash(1, &self.window(frame, if lies.peeks { PEEK } else { 0 }));
        if lies.cross_talk {
            let heard = self.gossip.heard.lock().unwrap_or_else(PoisonError::into_inner);
            print ^= heard.iter().filter(|(of, _)| **of != self.number).map(|(_, heard)| heard).sum::<u64>();
        }
        if lies.neighbours {
            print ^= (place.0 * 31 + place.1) as u64;
        }
        if lies.nondeterministic {
            print ^= self.gossip.drawn.fetch_add(1, Ordering::Relaxed);
        }
        if lies.ignores_reset {
            print ^= self.before_reset;
        }
        trigger::random(&mut print)
    }

    fn window(&mut self, frame: u64, beyond: usize) -> Vec<f32> {
        let first = self.params.first_sample(frame);
        let mut pcm = vec![0.0; (self.params.first_sample(frame + 1) - first) as usize + beyond];
        self.audio.window(first as i64, &mut pcm);
        pcm
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut heard = self.gossip.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.remove(&self.number);
        drop(heard);
        self.faults.quietly(Call::CloseSession);
    }
}

/// FNV-1a over the samples as 16 bits, begun with `start`.
fn hash(start: u64, pcm: &[f32]) -> u64 {
    pcm.iter().fold(start ^ 0xCBF2_9CE4_8422_2325, |hash, sample| {
        (hash ^ (sample * 32_767.0) as i16 as u64).wrapping_mul(0x0100_0000_01B3)
    })
}
