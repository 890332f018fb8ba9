//! The ring: operations go in at the parent's end, are done in order at the child's, and come back in their cells.
//!
//! Two counters and the cells are all there is. Each side says that it is about to sleep, looks once more, and then
//! sleeps on its eventfd, so that the bell is rung only for sleepers and no ring is lost.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};

use lipcast_plugins_api::types::Error;

use crate::doorbell::Doorbell;
use crate::layout::{CELL_LEN, CELLS, MAGIC, RING_LEN, VERSION, cell, header, request};
use crate::memory::{MemoryError, SharedMemory};
use crate::op::{self, Drawn, Malformed, Op};

/// The parent's end.
#[derive(Debug)]
pub struct Submissions {
    memory: Arc<SharedMemory>,
    work: Doorbell,
    done: Doorbell,
    submitted: u32,
    completed: u32,
    /// What is under way, oldest first.
    under_way: std::collections::VecDeque<UnderWay>,
    bytes: Vec<u8>,
}

/// An operation that the child has.
#[derive(Debug, Clone, Copy)]
struct UnderWay {
    /// Its first word, which is the parent's.
    word: u32,
    /// How much of its cell is looked at when it is done.
    span: usize,
}

/// What came of an operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// How the call itself ended.
    pub status: Result<(), Error>,
    /// For a batch that succeeded: each request's, in their order.
    pub results: Vec<Result<Drawn, Error>>,
}

impl Submissions {
    /// Makes a ring, with nothing in it.
    ///
    /// # Errors
    /// When the system has no memory or no descriptor left.
    pub fn create() -> Result<Self, MemoryError> {
        let memory = SharedMemory::create("lipcast-ring", RING_LEN)?;
        let words = [
            (header::MAGIC, MAGIC),
            (header::VERSION, VERSION),
            (header::CELLS, CELLS),
            (header::CELL_LEN, CELL_LEN as u32),
        ];
        for (at, value) in words {
            memory.word(at).store(value, Ordering::Relaxed);
        }
        Ok(Self {
            memory: Arc::new(memory),
            work: Doorbell::new()?,
            done: Doorbell::new()?,
            submitted: 0,
            completed: 0,
            under_way: std::collections::VecDeque::new(),
            bytes: Vec::new(),
        })
    }

    /// What the child inherits: the ring, the bell for work and the bell for what is done.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 3] {
        [self.memory.file(), self.work.as_fd(), self.done.as_fd()]
    }

    /// Rung when something is done; poll it after [`sleep`](Self::sleep) said that there is nothing.
    pub fn bell(&self) -> &Doorbell {
        &self.done
    }

    /// Operations that are under way.
    pub fn pending(&self) -> usize {
        self.under_way.len()
    }

    /// Cells that are free.
    pub fn room(&self) -> usize {
        CELLS as usize - self.pending()
    }

    /// The child's heartbeat; it counts up every [`BEAT_MS`](crate::layout::BEAT_MS) while the child gets to run.
    pub fn beat(&self) -> u32 {
        self.memory.word(header::BEAT).load(Ordering::Relaxed)
    }

    /// Puts an operation in.
    ///
    /// # Panics
    /// When there is no [`room`](Self::room): ask first.
    pub fn submit(&mut self, op: &Op) {
        assert!(self.room() > 0, "the caller asks for room first");
        op.encode(&mut self.bytes);
        let start = cell_start(self.submitted);
        self.memory.write(start, &self.bytes);
        self.memory.write(start + cell::STATUS, &op::encode_status(Ok(())));
        let word = u32::from_le_bytes(std::array::from_fn(|byte| self.bytes[byte]));
        self.under_way.push_back(UnderWay { word, span: self.bytes.len() });
        self.submitted = self.submitted.wrapping_add(1);
        self.memory.word(header::SUBMITTED).store(self.submitted, Ordering::Release);
        // Either the child sees the new count when it looks once more, or we see that it sleeps.
        fence(Ordering::SeqCst);
        if self.memory.word(header::CHILD_WAITS).load(Ordering::Relaxed) != 0 {
            self.work.ring();
        }
    }

    /// Takes the oldest operation that is done; `None` when none is.
    ///
    /// # Errors
    /// When the child wrote numbers that cannot be: it is not to be trusted any more.
    pub fn complete(&mut self) -> Result<Option<Completion>, Malformed> {
        let claimed = self.memory.word(header::COMPLETED).load(Ordering::Acquire);
        let fresh = claimed.wrapping_sub(self.completed);
        if fresh == 0 {
            return Ok(None);
        }
        if fresh as usize > self.under_way.len() {
            let text = format!("it claims to have done {fresh} operations of {}", self.under_way.len());
            return Err(Malformed(text));
        }
        let start = cell_start(self.completed);
        self.completed = self.completed.wrapping_add(1);
        let Some(UnderWay { word, span }) = self.under_way.pop_front() else { return Ok(None) };
        // The child only adds to a cell. One that wrote over the parent's part of it has written who knows where.
        if self.word_of(start) != word {
            return Err(Malformed("it wrote over an operation that it was given".to_owned()));
        }
        let mut status = [0; 8 + cell::MESSAGE_LEN];
        self.memory.read(start + cell::STATUS, &mut status);
        let status = op::decode_status(&status);
        let mut results = Vec::new();
        if status.is_ok() && word == op::INFER {
            self.bytes.resize(span, 0);
            self.memory.read(start, &mut self.bytes);
            for bytes in self.bytes[request::REQUESTS..].chunks_exact(request::LEN) {
                results.push(op::decode_result(bytes)?);
            }
        }
        Ok(Some(Completion { status, results }))
    }

    /// Says that the parent is about to sleep; `false` when there is something to [`complete`](Self::complete) after
    /// all.
    pub fn sleep(&self) -> bool {
        self.memory.word(header::PARENT_WAITS).store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.memory.word(header::COMPLETED).load(Ordering::Relaxed) == self.completed
    }

    /// Says that the parent is awake; `rung` tells whether the poll found the bell ringing. One that begins to ring after
    /// that wakes it once too often.
    pub fn wake(&self, rung: bool) {
        self.memory.word(header::PARENT_WAITS).store(0, Ordering::Relaxed);
        if rung {
            self.done.clear();
        }
    }

    fn word_of(&self, start: usize) -> u32 {
        let mut word = [0; 4];
        self.memory.read(start + cell::OP, &mut word);
        u32::from_le_bytes(word)
    }
}

/// The child's end.
#[derive(Debug)]
pub struct Work {
    memory: Arc<SharedMemory>,
    work: Doorbell,
    done: Doorbell,
    completed: u32,
    stopped: Arc<AtomicBool>,
}

/// Ends a child's waiting for work, from another thread.
#[derive(Debug)]
pub struct Stopper {
    stopped: Arc<AtomicBool>,
    bell: Doorbell,
}

impl Stopper {
    /// Ends it.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.bell.ring();
    }
}

/// An operation to do.
#[derive(Debug)]
pub struct Task {
    /// What.
    pub op: Op,
    start: usize,
}

impl Work {
    /// Takes the ring that the parent made.
    ///
    /// # Errors
    /// When it is none, or of another version.
    pub fn open(memory: SharedMemory, work: Doorbell, done: Doorbell) -> Result<Self, Malformed> {
        let word = |at| memory.word(at).load(Ordering::Relaxed);
        let found = [word(header::MAGIC), word(header::VERSION), word(header::CELLS), word(header::CELL_LEN)];
        if found != [MAGIC, VERSION, CELLS, CELL_LEN as u32] {
            return Err(Malformed(format!("this is no ring of version {VERSION}: {found:x?}")));
        }
        Ok(Self { memory: Arc::new(memory), work, done, completed: 0, stopped: Arc::default() })
    }

    /// What beats the heart: count it up every [`BEAT_MS`](crate::layout::BEAT_MS).
    pub fn heart(&self) -> Heart {
        Heart(self.memory.clone())
    }

    /// What ends the waiting.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn stopper(&self) -> std::io::Result<Stopper> {
        let bell = Doorbell::from_fd(self.work.as_fd().try_clone_to_owned()?);
        Ok(Stopper { stopped: self.stopped.clone(), bell })
    }

    /// Waits for the next operation; `None` once it was stopped.
    ///
    /// # Errors
    /// When the parent wrote nonsense.
    pub fn take(&mut self) -> Result<Option<Task>, Malformed> {
        let submitted = self.memory.word(header::SUBMITTED);
        while submitted.load(Ordering::Acquire) == self.completed {
            if self.stopped.load(Ordering::Acquire) {
                return Ok(None);
            }
            self.memory.word(header::CHILD_WAITS).store(1, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            if submitted.load(Ordering::Relaxed) == self.completed {
                let mut bell = [rustix::event::PollFd::new(&self.work, rustix::event::PollFlags::IN)];
                // A signal wakes it too: it looks again.
                if matches!(rustix::event::poll(&mut bell, None), Ok(1)) {
                    self.work.clear();
                }
            }
            self.memory.word(header::CHILD_WAITS).store(0, Ordering::Relaxed);
        }
        let start = cell_start(self.completed);
        // A cell is large and its operation most often small: no more is read than it says it has.
        let mut head = [0; op::HEAD_LEN];
        self.memory.read(start, &mut head);
        let bytes = self.memory.copy(start, op::len_of(&head)?);
        Ok(Some(Task { op: Op::decode(&bytes)?, start }))
    }

    /// Hands an operation back: how the call ended and, for a batch, what came of each request.
    pub fn finish(&mut self, task: &Task, status: Result<(), &Error>, results: &[Result<Drawn, Error>]) {
        self.memory.write(task.start + cell::STATUS, &op::encode_status(status));
        let mut bytes = [0; request::LEN];
        for (index, result) in results.iter().enumerate() {
            let at = task.start + request::REQUESTS + index * request::LEN;
            self.memory.read(at, &mut bytes);
            op::encode_result(&mut bytes, result.as_ref());
            self.memory.write(at, &bytes);
        }
        self.completed = self.completed.wrapping_add(1);
        self.memory.word(header::COMPLETED).store(self.completed, Ordering::Release);
        fence(Ordering::SeqCst);
        if self.memory.word(header::PARENT_WAITS).load(Ordering::Relaxed) != 0 {
            self.done.ring();
        }
    }
}

/// A child's sign of life.
#[derive(Debug)]
pub struct Heart(Arc<SharedMemory>);

impl Heart {
    /// One beat.
    pub fn beat(&self) {
        let beat: &AtomicU32 = self.0.word(header::BEAT);
        beat.fetch_add(1, Ordering::Relaxed);
    }
}

fn cell_start(number: u32) -> usize {
    header::LEN + (number % CELLS) as usize * CELL_LEN
}

#[cfg(test)]
mod tests {
    use lipcast_plugins_api::types::Code;
    use proptest::collection;
    use proptest::prelude::*;

    use super::*;
    use crate::op::Request;

    fn pair() -> (Submissions, Work) {
        let parent = Submissions::create().unwrap();
        let [memory, work, done] = parent.descriptors().map(|fd| fd.try_clone_to_owned().unwrap());
        let memory = SharedMemory::open(memory, RING_LEN).unwrap();
        let child = Work::open(memory, Doorbell::from_fd(work), Doorbell::from_fd(done)).unwrap();
        (parent, child)
    }

    fn request(seq: u64) -> Request {
        Request {
            session: 7,
            seq,
            frame: seq + 100,
            deadline_ns: 1,
            epoch: 2,
            avatar_frame: 3,
            flags: 5,
            slot: seq as u32,
        }
    }

    #[test]
    fn operations_come_back_in_order_with_their_results() {
        let (mut parent, mut child) = pair();
        let push = Op::Push { session: 7, first_sample: 640, pcm: vec![0.5; 641], end: true };
        let batch = Op::Infer { requests: (0..3).map(request).collect() };
        for round in 0..200 {
            parent.submit(&push);
            parent.submit(&batch);
            assert_eq!(parent.pending(), 2);
            let task = child.take().unwrap().unwrap();
            assert_eq!(task.op, push);
            let full = Error::new(Code::WouldBlock, "full").retryable();
            child.finish(&task, Err(&full), &[]);
            assert_eq!(parent.complete().unwrap().unwrap().status, Err(full), "round {round}");
            assert_eq!(parent.complete().unwrap(), None);
            let task = child.take().unwrap().unwrap();
            assert_eq!(task.op, batch);
            let drawn = |n| Drawn { rect: [n, 2, 4, 6], format: 1, alpha: 2, flags: 0, avatar_frame_used: n };
            let results = [Ok(drawn(0)), Err(Error::new(Code::BadOutput, "nän")), Ok(drawn(2))];
            child.finish(&task, Ok(()), &results);
            assert_eq!(parent.complete().unwrap().unwrap().results, results);
        }
    }

    #[test]
    fn the_largest_operations_arrive_whole() {
        let (mut parent, mut child) = pair();
        let largest = [
            Op::Push {
                session: 1,
                first_sample: 2,
                pcm: (0..crate::layout::PUSH_SAMPLES).map(|sample| sample as f32).collect(),
                end: false,
            },
            Op::Infer { requests: (0..request::MOST as u64).map(request).collect() },
            Op::Open { session: 1, avatar: 2, whole: true, fps: (25, 1), params: "x".repeat(60_000) },
            Op::Push { session: 1, first_sample: 2, pcm: Vec::new(), end: true },
            Op::Reset { session: 1, epoch: 7 },
            Op::Close { session: 1 },
        ];
        for op in &largest {
            parent.submit(op);
            let task = child.take().unwrap().unwrap();
            assert_eq!(task.op, *op);
            child.finish(&task, Ok(()), &[]);
            parent.complete().unwrap().unwrap();
        }
    }

    #[test]
    fn a_cell_that_lies_about_its_length_is_refused() {
        let push = Op::Push { session: 1, first_sample: 0, pcm: vec![0.0; 3], end: true };
        let batch = Op::Infer { requests: vec![request(1)] };
        let open = Op::Open { session: 1, avatar: 2, whole: true, fps: (25, 1), params: "{}".to_owned() };
        for (op, length) in [(push, 24), (batch, 16), (open, 36)] {
            let (mut parent, mut child) = pair();
            parent.submit(&op);
            parent.memory.write(cell_start(0) + length, &u32::MAX.to_le_bytes());
            assert!(child.take().is_err(), "{op:?}");
        }
    }

    #[test]
    fn a_sleeper_is_rung_and_nobody_else() {
        let (mut parent, mut child) = pair();
        let rung = |bell: &Doorbell| {
            let mut here = [rustix::event::PollFd::new(bell, rustix::event::PollFlags::IN)];
            let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
            rustix::event::poll(&mut here, Some(&now)).unwrap() == 1
        };
        parent.submit(&Op::Close { session: 1 });
        let task = child.take().unwrap().unwrap();
        child.finish(&task, Ok(()), &[]);
        assert!(!rung(parent.bell()), "the parent was awake");
        assert!(!parent.sleep(), "there is something to take");
        parent.complete().unwrap().unwrap();
        parent.submit(&Op::Close { session: 1 });
        assert!(parent.sleep());
        let task = child.take().unwrap().unwrap();
        child.finish(&task, Ok(()), &[]);
        assert!(rung(parent.bell()));
        parent.wake(true);
        assert!(!rung(parent.bell()));
    }

    #[test]
    fn a_child_that_claims_too_much_is_found_out() {
        let (mut parent, child) = pair();
        parent.submit(&Op::Close { session: 1 });
        child.memory.word(header::COMPLETED).store(2, Ordering::Release);
        assert!(parent.complete().is_err());
        child.memory.word(header::COMPLETED).store(u32::MAX, Ordering::Release);
        assert!(parent.complete().is_err());
    }

    #[test]
    fn a_child_that_writes_over_an_operation_is_found_out() {
        let (mut parent, mut child) = pair();
        parent.submit(&Op::Infer { requests: vec![request(0)] });
        let task = child.take().unwrap().unwrap();
        child.memory.write(header::LEN + cell::OP, &[9; 4]);
        child.finish(&task, Ok(()), &[Err(Error::internal("none"))]);
        assert!(parent.complete().is_err());
    }

    proptest! {
        /// Whatever a child writes, wherever and at whatever moment: the parent reads an answer or finds it out, and
        /// goes on for as long as it has not found it out.
        #[test]
        fn a_child_may_write_anything_anywhere(
            writes in collection::vec((any::<proptest::sample::Index>(), collection::vec(any::<u8>(), 1..64)), 0..40),
            completed in proptest::option::of(any::<u32>()),
            batch in 1..=request::MOST,
        ) {
            let (mut parent, child) = pair();
            parent.submit(&Op::Push { session: 1, first_sample: 0, pcm: vec![0.5; 100], end: false });
            parent.submit(&Op::Infer { requests: (0..batch as u64).map(request).collect() });
            // The header and the cells that are in use: what is written elsewhere is never looked at.
            let used = header::LEN + 2 * CELL_LEN;
            for (place, bytes) in &writes {
                let at = place.index(used - bytes.len());
                child.memory.write(at, bytes);
            }
            child.memory.word(header::COMPLETED).store(completed.unwrap_or(2), Ordering::Release);
            while let Ok(Some(completion)) = parent.complete() {
                prop_assert!(completion.results.len() <= batch);
            }
            parent.sleep();
            parent.wake(true);
        }
    }
}
