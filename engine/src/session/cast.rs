//! Who may play: what a session is told of the backends that could draw for it, and what it tells of those that do.

use std::sync::Arc;
use std::time::Duration;

use super::Stage;
use crate::backend::Instance;

/// Who can play a session's avatar now.
pub trait Casting: Send + Sync {
    /// Instances that are ready, most preferred first. Called from the session's thread: it must not wait.
    fn ready(&self) -> Vec<Arc<dyn Instance>>;
    /// The avatar on `instance`. Called from a thread that may wait, for as long as preparing it takes.
    ///
    /// # Errors
    /// In a line why that instance cannot show it.
    fn stage(&self, instance: &Arc<dyn Instance>) -> Result<Stage, String>;
}

/// When the session that would take over is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standby {
    /// Beforehand: a backend's end costs three frames at most.
    #[default]
    Warm,
    /// When it is needed: the avatar's own frames are shown until it is open.
    Cold,
    /// Nobody takes over but the last backend of all, opened when it is needed.
    None,
}

/// Who takes over from whom, and when.
#[derive(Clone)]
pub struct Cast {
    /// Who is there.
    pub casting: Arc<dyn Casting>,
    /// When the one that would take over is opened.
    pub standby: Standby,
    /// A backend that is preferred to the one that draws takes over again once it has been ready and not late for
    /// so long.
    pub return_after: Duration,
}

/// Why another backend draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveReason {
    /// The one before crashed, hung or lost its device.
    Lost,
    /// The one before left two frames in a row unanswered.
    Late,
    /// The one before failed at too many frames.
    Failing,
    /// A backend that is preferred is back.
    Return,
    /// The one before is being replaced.
    Replaced,
}

impl MoveReason {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 5] = [Self::Lost, Self::Late, Self::Failing, Self::Return, Self::Replaced];

    /// The reason in a word, for clients.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Late => "late",
            Self::Failing => "failing",
            Self::Return => "return",
            Self::Replaced => "replaced",
        }
    }
}

/// A session's change from one backend to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Who drew; `None`: nobody, the avatar played on.
    pub from: Option<String>,
    /// Who draws; `None`: nobody is left, the avatar plays on.
    pub to: Option<String>,
    /// Why.
    pub reason: MoveReason,
    /// The first frame that is asked of the new one.
    pub frame: u64,
}
