//! Cuts the PCM of units, whose length need not divide evenly, into 20 ms Opus frames.

/// Samples of one Opus frame: 20 ms at 48 kHz.
pub(super) const FRAME_SAMPLES: usize = 960;

/// A run of 960 samples and the index of its first one on the session's 48 kHz clock.
#[derive(Debug, PartialEq)]
pub(super) struct OpusFrame<'a> {
    pub(super) first_sample: u64,
    pub(super) pcm: &'a [f32],
}

/// Collects samples until a frame is full.
///
/// Frames follow each other without gap as long as the units do. After a gap the frame begun is filled with
/// silence, and the next one begins with the first sample after the gap: audio is never moved in time.
#[derive(Debug, Default)]
pub(super) struct OpusFrames {
    first_sample: u64,
    pending: Vec<f32>,
}

impl OpusFrames {
    /// Takes the samples from `first_sample` on and hands every full frame to `emit`.
    /// Samples that were taken already are skipped.
    pub(super) fn push(&mut self, first_sample: u64, pcm: &[f32], mut emit: impl FnMut(OpusFrame<'_>)) {
        let next = self.first_sample + self.pending.len() as u64;
        let mut pcm = pcm;
        if first_sample > next {
            if !self.pending.is_empty() {
                self.pending.resize(FRAME_SAMPLES, 0.0);
                emit(OpusFrame { first_sample: self.first_sample, pcm: &self.pending });
                self.pending.clear();
            }
            self.first_sample = first_sample;
        } else {
            pcm = pcm.get((next - first_sample) as usize..).unwrap_or_default();
        }
        while !pcm.is_empty() {
            let (now, later) = pcm.split_at(pcm.len().min(FRAME_SAMPLES - self.pending.len()));
            self.pending.extend_from_slice(now);
            pcm = later;
            if self.pending.len() == FRAME_SAMPLES {
                emit(OpusFrame { first_sample: self.first_sample, pcm: &self.pending });
                self.first_sample += FRAME_SAMPLES as u64;
                self.pending.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lipcast_engine::time::FrameRate;

    use super::*;

    fn ramp(first: u64, length: usize) -> Vec<f32> {
        (first..first + length as u64).map(|sample| sample as f32).collect()
    }

    #[test]
    fn uneven_units_become_even_frames_without_a_lost_sample() {
        // 1601.6 samples a unit, so that no unit ends where a frame does.
        let fps = FrameRate::new(30_000, 1001).unwrap();
        let (mut frames, mut expected) = (OpusFrames::default(), 0);
        for frame in 0..300 {
            let (first, end) = (fps.first_sample(frame, 48_000), fps.first_sample(frame + 1, 48_000));
            frames.push(first, &ramp(first, (end - first) as usize), |opus| {
                assert_eq!(opus.first_sample, expected);
                assert_eq!(opus.pcm, ramp(expected, FRAME_SAMPLES));
                expected += FRAME_SAMPLES as u64;
            });
        }
        assert_eq!(expected, fps.first_sample(300, 48_000) / 960 * 960);
    }

    #[test]
    fn a_gap_is_kept_as_time() {
        let (mut frames, mut seen) = (OpusFrames::default(), Vec::new());
        frames.push(0, &ramp(0, 1_000), |opus| seen.push((opus.first_sample, opus.pcm[959])));
        frames.push(5_000, &ramp(5_000, 960), |opus| seen.push((opus.first_sample, opus.pcm[959])));
        assert_eq!(seen, [(0, 959.0), (960, 0.0), (5_000, 5_959.0)]);
    }

    #[test]
    fn samples_come_once() {
        let (mut frames, mut seen) = (OpusFrames::default(), Vec::new());
        frames.push(0, &ramp(0, 500), |_| ());
        frames.push(0, &ramp(0, 960), |opus| seen.push(opus.pcm.to_vec()));
        assert_eq!(seen, [ramp(0, 960)]);
    }
}
