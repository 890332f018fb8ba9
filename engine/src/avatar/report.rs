//! What preparing noticed about the source, for the person who made it.

use serde::{Deserialize, Serialize};

use crate::face::{ClipFaces, FrameIssue};

/// Quality of a prepared avatar, kept in its manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Frames stored.
    pub frames: usize,
    /// Frames in which a face was seen; the others show a bridged one or none.
    pub frames_with_face: usize,
    /// Whether the source went on after the last frame that was taken.
    pub truncated: bool,
    /// Median width of the face box, in pixels; 0 without a face.
    pub face_width: u32,
    /// What is wrong with which frames, in order of the first frame.
    pub issues: Vec<IssueRun>,
    /// Remarks on the whole, in sentences.
    pub notes: Vec<String>,
}

/// One issue over frames that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssueRun {
    /// What is wrong.
    pub issue: FrameIssue,
    /// First frame, from 0.
    pub first: usize,
    /// Last frame, this one included.
    pub last: usize,
}

impl Report {
    /// Sums up one clip.
    pub(crate) fn new(clip: &ClipFaces, truncated: bool) -> Self {
        let mut widths: Vec<u32> = clip.faces.iter().flatten().map(|face| face.box_width() as u32).collect();
        widths.sort_unstable();
        let frames = clip.faces.len();
        let mut report = Self {
            frames,
            frames_with_face: clip.seen,
            truncated,
            face_width: widths.get(widths.len() / 2).copied().unwrap_or(0),
            issues: runs(&clip.issues),
            notes: Vec::new(),
        };
        if truncated {
            report.notes.push(format!("The source is longer; only its first {frames} frames were taken."));
        }
        if clip.seen < frames {
            let missing = frames - clip.seen;
            report.notes.push(format!("No face was seen in {missing} of {frames} frames."));
        }
        report
    }

    /// Adds that the source is cut off, when clearly fewer frames came than its file declares. Where only the
    /// first ones were taken, nobody knows.
    pub(crate) fn cut_off(mut self, declared: Option<usize>) -> Self {
        let frames = self.frames;
        // A change of the rate may cost a whole file its last frame or two.
        let clearly_fewer = |declared: usize| frames + 2 + declared / 50 < declared;
        if let Some(declared) = declared.filter(|declared| !self.truncated && clearly_fewer(*declared)) {
            self.notes.push(format!(
                "The source is cut off; only {frames} of the {declared} frames that it declares could be read."
            ));
        }
        self
    }

    /// Adds that frames were made smaller, when they were; sizes are width and height in pixels.
    pub(crate) fn scaled(mut self, source: (usize, usize), frames: (usize, usize)) -> Self {
        // One pixel less is an odd size cropped to an even one.
        if source.0 > frames.0 + 1 || source.1 > frames.1 + 1 {
            self.notes.push(format!(
                "The source has {}x{} pixels; it was scaled down to {}x{}, which can be encoded live.",
                source.0, source.1, frames.0, frames.1
            ));
        }
        self
    }

    /// Frames that have `issue`.
    pub fn count(&self, issue: FrameIssue) -> usize {
        self.issues.iter().filter(|run| run.issue == issue).map(|run| run.last - run.first + 1).sum()
    }
}

fn runs(issues: &[Vec<FrameIssue>]) -> Vec<IssueRun> {
    let mut runs: Vec<IssueRun> = Vec::new();
    for (frame, of_frame) in issues.iter().enumerate() {
        for &issue in of_frame {
            match runs.iter_mut().rev().find(|run| run.issue == issue && run.last + 1 == frame) {
                Some(run) => run.last = frame,
                None => runs.push(IssueRun { issue, first: frame, last: frame }),
            }
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_summed_up() {
        use FrameIssue::{Cut, NoFace, TooSmall};
        let issues = vec![vec![TooSmall], vec![TooSmall, NoFace], vec![Cut], vec![TooSmall]];
        let clip = ClipFaces { faces: vec![None; 4], issues, seen: 3 };
        let report = Report::new(&clip, false);
        assert_eq!(report.frames_with_face, 3);
        assert_eq!(report.count(TooSmall), 3);
        assert_eq!(report.issues[0], IssueRun { issue: TooSmall, first: 0, last: 1 });
        assert_eq!(report.issues.len(), 4);
    }

    #[test]
    fn clearly_fewer_frames_than_declared_are_a_cut_unless_no_more_were_taken() {
        let noted = |frames, declared, truncated| {
            let clip =
                ClipFaces { faces: vec![None; frames], issues: vec![Vec::new(); frames], seen: frames };
            let notes = Report::new(&clip, truncated).cut_off(declared).notes;
            notes.iter().any(|note| note.starts_with("The source is cut off"))
        };
        assert!(noted(27, Some(100), false));
        assert!(!noted(27, Some(100), true), "the limit was reached first");
        assert!(!noted(27, None, false));
        assert!(!noted(96, Some(100), false) && noted(95, Some(100), false));
        assert!(!noted(1, Some(3), false) && !noted(3, Some(1), false));
    }
}
