//! Long calls: what they need of the parent, how far they are, and whether they shall end.

use std::collections::HashMap;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use lipcast_plugins_api::loader::{Progress, Source};
use lipcast_plugins_api::types::{Code, Error};
use lipcast_wire::memory::{FileBytes, SharedMemory};
use lipcast_wire::message::{AnswerOutcome, FromChild, SourceMessage, Want};
use serde_json::Value;

use crate::voice::Voice;

/// Questions that wait for an answer.
#[derive(Default)]
pub(crate) struct Questions {
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, mpsc::Sender<Answer>>>,
}

type Answer = (AnswerOutcome, Vec<OwnedFd>);

impl Questions {
    /// The parent answered.
    pub(crate) fn answer(&self, number: u64, outcome: AnswerOutcome, descriptors: Vec<OwnedFd>) {
        if let Some(asker) = self.lock().remove(&number) {
            let _ = asker.send((outcome, descriptors));
        }
    }

    /// The parent is gone: nobody waits any more.
    pub(crate) fn close(&self) {
        self.lock().clear();
    }

    fn ask(&self, voice: &Voice, call: u64, want: Want) -> Result<(Value, Vec<OwnedFd>), Error> {
        let number = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, answered) = mpsc::channel();
        self.lock().insert(number, sender);
        voice.say(&FromChild::Ask { ask: call, number, want });
        match answered.recv() {
            Ok((AnswerOutcome::Ok(value), descriptors)) => Ok((value, descriptors)),
            Ok((AnswerOutcome::Error(error), _)) => Err(error.into()),
            Err(_) => Err(Error::new(Code::Cancelled, "the parent is gone")),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, mpsc::Sender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call that runs.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) voice: Voice,
    pub(crate) questions: Arc<Questions>,
    pub(crate) number: u64,
    pub(crate) cancelled: Arc<AtomicBool>,
}

impl Running {
    fn ask(&self, want: Want) -> Result<(Value, Vec<OwnedFd>), Error> {
        self.questions.ask(&self.voice, self.number, want)
    }
}

impl Progress for Running {
    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    fn progress(&self, permille: u32, stage: &str) {
        let stage = stage.to_owned();
        self.voice.say(&FromChild::Progress { progress: self.number, permille, stage });
    }
}

/// The avatar's source, which the parent has.
pub(crate) struct RemoteSource<'a> {
    pub(crate) running: &'a Running,
    pub(crate) transfer: &'a SharedMemory,
    pub(crate) message: SourceMessage,
}

impl Source for RemoteSource<'_> {
    fn frame_count(&self) -> u32 {
        self.message.frame_count
    }

    fn size(&self) -> (u32, u32) {
        (self.message.width, self.message.height)
    }

    fn fps(&self) -> (u32, u32) {
        self.message.fps
    }

    fn frame(&mut self, index: u32, rgb: &mut Vec<u8>) -> Result<(), Error> {
        let (value, _) = self.running.ask(Want::Frame { index })?;
        let len = value["len"].as_u64().unwrap_or(0) as usize;
        if len > self.transfer.len() {
            return Err(Error::internal(format!("a frame of {len} bytes")));
        }
        rgb.resize(len, 0);
        self.transfer.read(0, rgb);
        Ok(())
    }

    fn landmarks(&self, index: u32) -> Option<[[f32; 2]; 68]> {
        let (value, _) = self.running.ask(Want::Landmarks { index }).ok()?;
        let numbers = numbers::<136>(&value["points"])?;
        Some(std::array::from_fn(|point| [numbers[2 * point], numbers[2 * point + 1]]))
    }

    fn face_box(&self, index: u32) -> Option<[f32; 4]> {
        let (value, _) = self.running.ask(Want::FaceBox { index }).ok()?;
        numbers(&value["box"])
    }

    fn assets(&self) -> Vec<String> {
        self.message.assets.clone()
    }

    fn asset(&self, name: &str) -> Option<Arc<[u8]>> {
        let (value, descriptors) = self.running.ask(Want::Asset { name: name.to_owned() }).ok()?;
        let bytes = FileBytes::map(descriptors.first()?, value["len"].as_u64()?).ok()?;
        Some(bytes.bytes().into())
    }
}

/// The blob on its way to the parent, a transfer memory at a time.
pub(crate) struct RemoteSink<'a> {
    pub(crate) running: &'a Running,
    pub(crate) transfer: &'a SharedMemory,
}

impl Write for RemoteSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(self.transfer.len())];
        self.transfer.write(0, piece);
        let asked = self.running.ask(Want::Blob { len: piece.len() as u64 });
        asked.map(|_| piece.len()).map_err(|error| io::Error::other(error.to_string()))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn numbers<const N: usize>(value: &Value) -> Option<[f32; N]> {
    let list = value.as_array()?;
    let mut numbers = [0.0; N];
    if list.len() != N {
        return None;
    }
    for (number, value) in numbers.iter_mut().zip(list) {
        *number = value.as_f64()? as f32;
    }
    Some(numbers)
}
