//! Finds the onset of a click in PCM.

/// How long it must have been quiet before an onset: 10 ms at 16 kHz. Longer than the gaps in a tone burst
/// of any audible pitch that reaches the threshold.
pub const QUIET: usize = 160;

/// The first onset in `pcm[QUIET..]`: a sample of at least `threshold` with none so loud in the [`QUIET`]
/// samples before it. Gives its index in `pcm`.
pub fn onset(pcm: &[f32], threshold: f32) -> Option<usize> {
    let mut quiet_for = 0;
    for (index, sample) in pcm.iter().enumerate() {
        if sample.abs() < threshold {
            quiet_for += 1;
            continue;
        }
        if index >= QUIET && quiet_for >= QUIET {
            return Some(index);
        }
        quiet_for = 0;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_loud_sample_after_quiet_is_an_onset() {
        let mut pcm = vec![0.0; 1000];
        pcm[300] = -0.9;
        pcm[340] = 0.9;
        assert_eq!(onset(&pcm, 0.5), Some(300));
        // The same click when its start lies in the part before: no second onset.
        assert_eq!(onset(&pcm[180..], 0.5), None);
        assert_eq!(onset(&pcm, 0.95), None);
        pcm[700] = 0.6;
        assert_eq!(onset(&pcm[180..], 0.5), Some(520));
    }
}
