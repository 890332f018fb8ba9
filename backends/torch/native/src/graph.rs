//! Work of a GPU that was recorded once, and is given to it again as one launch (a CUDA graph).

use std::ptr::{NonNull, null_mut};

use crate::{Alone, raw};

/// Why work was not recorded.
#[derive(Debug)]
pub enum GraphError<E> {
    /// The work itself failed, or waited for the GPU; nothing was recorded, and all is as before.
    Work(E),
    /// Recording it did; in libtorch's words. Whatever it began to keep memory for is kept: nothing else should be
    /// recorded in this process.
    Recording(String),
}

/// Recorded work, and the tensors that it leaves its results in.
#[derive(Debug)]
pub struct Graph<T> {
    // Before the results: the memory of both is given back together, when the last of them goes.
    raw: Recording,
    results: T,
}

impl<T> Graph<T> {
    /// Does `work` twice on the stream, while nobody else computes, and then records what it gives to the GPU. It must
    /// take the same steps each time, read from the same memory, and never wait for the GPU, which the second time is an
    /// error of libtorch's.
    ///
    /// It works in the memory of `beside`, if there is one, which must be of the same stream: replaying either leaves
    /// nothing of the other's results.
    ///
    /// # Errors
    /// Those of `work`, and what keeps it from being recorded.
    pub fn record<E>(
        alone: &Alone,
        _stream: &SideStream,
        beside: Option<&Self>,
        mut work: impl FnMut() -> Result<T, E>,
    ) -> Result<Self, GraphError<E>> {
        // Whatever is only done once, such as choosing kernels and loading them, is done by now.
        work().map_err(GraphError::Work)?;
        // A recording that has to wait is broken off, and cannot be undone.
        let refusal = Refusal::begin(alone).map_err(GraphError::Recording)?;
        work().map_err(GraphError::Work)?;
        drop(refusal);
        let recording = Unended::begin(beside.map(|graph| &graph.raw)).map_err(GraphError::Recording)?;
        let results = work();
        let raw = recording.end().map_err(GraphError::Recording)?;
        Ok(Self { raw, results: results.map_err(GraphError::Work)? })
    }

    /// Gives it to the GPU again; the results are there once what is given to it afterwards is.
    ///
    /// # Errors
    /// In libtorch's words.
    pub fn replay(&mut self) -> Result<&T, String> {
        self.raw.replay()?;
        Ok(&self.results)
    }
}

/// A stream of this thread's own on a GPU, for work that is to be recorded.
#[derive(Debug)]
pub struct SideStream(NonNull<raw::RawStream>);

impl SideStream {
    /// From here on this thread's work for the GPU number `index` goes there, once what it has been given is done.
    ///
    /// # Errors
    /// In libtorch's words.
    pub fn enter(index: usize) -> Result<Self, String> {
        let index = i8::try_from(index).map_err(|_| "no such GPU".to_owned())?;
        let mut stream = null_mut();
        // SAFETY: `stream` has room for a pointer. What comes back is a text of that function.
        unsafe { raw::outcome(raw::lipcast_stream_enter(index, &mut stream)) }?;
        NonNull::new(stream).map(Self).ok_or_else(|| "libtorch gave no stream".to_owned())
    }
}

impl Drop for SideStream {
    /// Waits for its work, and gives back what that took.
    fn drop(&mut self) {
        // SAFETY: it was entered on this thread, since it is not `Send`, and is left once. What comes back is a text of
        // that function; a device that is lost says so again in the next call.
        let _ = unsafe { raw::outcome(raw::lipcast_stream_leave(self.0.as_ptr())) };
    }
}

/// While it lives, waiting for the GPU is an error in the whole process.
struct Refusal<'a> {
    _alone: &'a Alone,
}

impl<'a> Refusal<'a> {
    fn begin(alone: &'a Alone) -> Result<Self, String> {
        // SAFETY: it sets a number that libtorch reads whenever it waits for a GPU, which nobody else does meanwhile. What
        // comes back is a text of that function.
        unsafe { raw::outcome(raw::lipcast_waits_refused(true)) }.map(|()| Self { _alone: alone })
    }
}

impl Drop for Refusal<'_> {
    fn drop(&mut self) {
        // SAFETY: as in `begin`, where the same call went well.
        let _ = unsafe { raw::outcome(raw::lipcast_waits_refused(false)) };
    }
}

/// A recording that goes on.
struct Unended(NonNull<raw::RawGraph>);

impl Unended {
    /// From here on until `end`, what this thread gives to its stream is recorded.
    fn begin(beside: Option<&Recording>) -> Result<Self, String> {
        let beside = beside.map_or(null_mut(), |graph| graph.0.as_ptr());
        let mut graph = null_mut();
        // SAFETY: `beside` is null or a graph, of which only a number is read; `graph` has room for a pointer. What comes
        // back is a text of that function.
        unsafe { raw::outcome(raw::lipcast_graph_begin(beside, &mut graph)) }?;
        NonNull::new(graph).map(Self).ok_or_else(|| "libtorch gave no graph".to_owned())
    }

    fn end(self) -> Result<Recording, String> {
        let graph = self.0;
        std::mem::forget(self);
        // SAFETY: it was begun, on this thread, since it is not `Send`. What comes back is a text of that function. When
        // it fails, the graph is never touched again, nor freed.
        unsafe { raw::outcome(raw::lipcast_graph_end(graph.as_ptr())) }.map(|()| Recording(graph))
    }
}

impl Drop for Unended {
    /// The work panicked.
    fn drop(&mut self) {
        // SAFETY: as in `end`, which forgets what it ended. It is never freed: whether it could be is not known.
        let _ = unsafe { raw::outcome(raw::lipcast_graph_end(self.0.as_ptr())) };
    }
}

/// A graph of libtorch that has ended well.
#[derive(Debug)]
struct Recording(NonNull<raw::RawGraph>);

// SAFETY: a graph is bound to a device and to no thread; `&mut` or one owner sees to it that no two use it at once.
unsafe impl Send for Recording {}

impl Recording {
    fn replay(&mut self) -> Result<(), String> {
        // SAFETY: it has ended well. What comes back is a text of that function.
        unsafe { raw::outcome(raw::lipcast_graph_replay(self.0.as_ptr())) }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        // SAFETY: it has ended well and is ours, and nobody uses it afterwards.
        unsafe { raw::lipcast_graph_free(self.0.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference_alone;

    #[test]
    fn without_a_gpu_there_is_no_stream_and_the_reason_is_told() {
        // The half for GPUs is not open in the tests, wherever they run.
        let reason = SideStream::enter(0).expect_err("there is one");
        assert!(reason.to_lowercase().contains("cuda"), "{reason}");
        let refused = inference_alone(|alone| Refusal::begin(alone).err());
        assert!(refused.is_some_and(|reason| reason.contains("libtorch_cuda.so is not open")));
    }
}
