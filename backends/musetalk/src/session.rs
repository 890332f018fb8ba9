//! One performance: its avatar and what it was told to say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lipcast_plugins_api::author::{Error, SessionParams};

use crate::audio::{Hearing, Speech};
use crate::avatar::Avatar;
use crate::settings::Settings;

/// The state of one performance.
///
/// There is no motion in it: a frame is a function of its number, its avatar frame and the audio around it.
#[derive(Debug)]
pub struct Session {
    /// No other session of the process has it.
    pub(crate) serial: u64,
    pub(crate) avatar: Arc<Avatar>,
    pub(crate) speech: Speech,
}

impl Session {
    /// A performance of `avatar` that has not spoken yet.
    ///
    /// # Errors
    /// `INVALID_ARG` for another canvas than the avatar's, `UNSUPPORTED` for a frame rate that cannot be had.
    pub(crate) fn new(
        avatar: Arc<Avatar>,
        params: &SessionParams,
        settings: &Settings,
    ) -> Result<Self, Error> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let [width, height] = avatar.header().canvas;
        if params.canvas != (width, height) {
            let (asked_width, asked_height) = params.canvas;
            return Err(Error::invalid_arg(format!(
                "a session of {asked_width}x{asked_height} over an avatar of {width}x{height}"
            )));
        }
        let speech = Speech::new(params.mode, &Hearing::new(params.fps, settings))?;
        Ok(Self { serial: SERIAL.fetch_add(1, Ordering::Relaxed), avatar, speech })
    }
}
