//! What a viewer would see of a frame, and whether two are the same.

use std::sync::Arc;

use lipcast_plugins_api::types::{Alpha, Capabilities, PixelFormat, Rect};

use crate::outcome::{Trouble, fails};
use crate::subject::Drawn;

/// How alike the pictures of a backend must be that does not claim to be deterministic: PSNR in decibels.
const ALIKE_DB: f64 = 45.0;

/// What one answered frame shows.
#[derive(Clone, Debug)]
pub(crate) struct Shot {
    pub(crate) frame: u64,
    pub(crate) at_rest: bool,
    pub(crate) used: u32,
    /// `None`: the avatar's own frame as it is.
    pub(crate) painted: Option<Painted>,
    /// It said UNCHANGED where there was nothing to repeat.
    pub(crate) repeats_nothing: bool,
}

/// What is painted over the avatar's frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Painted {
    rect: Rect,
    format: PixelFormat,
    alpha: Alpha,
    pub(crate) picture: Arc<[u8]>,
}

impl Shot {
    pub(crate) fn of(frame: u64, drawn: Drawn, previous: Option<&Shot>) -> Self {
        let Drawn { result, picture } = drawn;
        let painted = if result.unchanged {
            previous.and_then(|shot| shot.painted.clone())
        } else {
            (!result.rect.is_empty()).then(|| Painted {
                rect: result.rect,
                format: result.format,
                alpha: result.alpha,
                picture: picture.into(),
            })
        };
        Self {
            frame,
            at_rest: result.at_rest,
            used: result.avatar_frame_used,
            painted,
            repeats_nothing: result.unchanged && previous.is_none(),
        }
    }

    /// How it differs from `other`; `None`: it does not.
    fn difference(&self, other: &Self, exact: bool) -> Option<String> {
        if self.used != other.used {
            return Some(format!("avatar frame {} used, not {}", self.used, other.used));
        }
        if self.at_rest != other.at_rest {
            return Some(format!("at rest: {}, not {}", self.at_rest, other.at_rest));
        }
        match (&self.painted, &other.painted) {
            (None, None) => None,
            (Some(_), None) => Some("painted, where nothing was".to_owned()),
            (None, Some(_)) => Some("not painted, where something was".to_owned()),
            (Some(a), Some(b)) if (a.rect, a.format, a.alpha) != (b.rect, b.format, b.alpha) => {
                let tell = |p: &Painted| format!("{:?} as {:?}", p.rect, p.format);
                Some(format!("{}, not {}", tell(a), tell(b)))
            }
            (Some(a), Some(b)) if a.picture == b.picture => None,
            (Some(a), Some(b)) => {
                let psnr = psnr(&a.picture, &b.picture);
                (exact || psnr < ALIKE_DB).then(|| format!("the pictures differ ({psnr:.1} dB)"))
            }
        }
    }
}

/// Whether `found` shows what `expected` does, frame by frame; exactly so where the backend claims to be deterministic.
/// `look` says what to look at if not; `what` what was done with `found`.
pub(crate) fn same(
    capabilities: &Capabilities,
    found: &[Shot],
    expected: &[Shot],
    what: &str,
    look: &str,
) -> Result<(), Trouble> {
    let exact = capabilities.deterministic;
    let wrong: Vec<(u64, String)> = found
        .iter()
        .zip(expected)
        .filter_map(|(a, b)| a.difference(b, exact).map(|difference| (a.frame, difference)))
        .collect();
    let Some((frame, difference)) = wrong.first() else { return Ok(()) };
    let claim = if exact { "; the backend claims to be deterministic, so bytes are compared" } else { "" };
    Err(fails(
        format!(
            "{what}: {} of {} frames differ, first frame {frame}: {difference}{claim}",
            wrong.len(),
            found.len()
        ),
        look,
    ))
}

/// How many different pictures there are.
pub(crate) fn different(shots: &[Shot]) -> usize {
    let mut seen: Vec<&Option<Painted>> = Vec::new();
    for shot in shots {
        if !seen.contains(&&shot.painted) {
            seen.push(&shot.painted);
        }
    }
    seen.len()
}

fn psnr(a: &[u8], b: &[u8]) -> f64 {
    let squares: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
    if squares == 0 {
        return f64::INFINITY;
    }
    10.0 * (255.0 * 255.0 * a.len() as f64 / squares as f64).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shot(value: u8) -> Shot {
        let painted = Painted {
            rect: Rect::new(0, 0, 4, 4),
            format: PixelFormat::Rgb24,
            alpha: Alpha::Opaque,
            picture: vec![value; 48].into(),
        };
        Shot { frame: 3, at_rest: false, used: 0, painted: Some(painted), repeats_nothing: false }
    }

    #[test]
    fn a_byte_counts_for_those_who_claim_it_and_a_little_noise_for_nobody_else() {
        let compare = |deterministic, a: Shot, b: Shot| {
            let capabilities = Capabilities { deterministic, ..Capabilities::default() };
            same(&capabilities, &[a], &[b], "twice", "look").is_ok()
        };
        assert!(compare(true, shot(100), shot(100)) && !compare(true, shot(100), shot(101)));
        assert!(compare(false, shot(100), shot(101)) && !compare(false, shot(100), shot(110)));
        assert!(!compare(false, shot(1), Shot { painted: None, ..shot(1) }));
        assert!(!compare(false, shot(1), Shot { at_rest: true, ..shot(1) }));
        assert_eq!(different(&[shot(1), shot(2), shot(1)]), 2);
    }
}
