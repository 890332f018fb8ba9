//! Work of a GPU that was recorded once, and is given to it again as one launch (a CUDA graph).

use std::ptr::{NonNull, null_mut};

use crate::raw;

/// How often work is done before it is recorded: whatever is only done once, such as choosing kernels and loading them,
/// must be done by then.
const REHEARSALS: usize = 2;

/// Why work was not recorded.
#[derive(Debug)]
pub enum GraphError<E> {
    /// The work itself failed.
    Work(E),
    /// Recording it did; in libtorch's words.
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
    /// Does `work` on the GPU number `index` some times, and records what it gives to the GPU. It must take the same
    /// steps each time, read from the same memory, and never wait for the GPU.
    ///
    /// It works in the memory of `beside`, if there is one: replaying either leaves nothing of the other's results.
    ///
    /// # Errors
    /// Those of `work`, and what keeps it from being recorded; the GPU can be used as before.
    pub fn record<E>(
        index: usize,
        beside: Option<&Self>,
        mut work: impl FnMut() -> Result<T, E>,
    ) -> Result<Self, GraphError<E>> {
        let index = i8::try_from(index).map_err(|_| GraphError::Recording("no such GPU".to_owned()))?;
        let stream = Stream::enter(index).map_err(GraphError::Recording)?;
        for _ in 0..REHEARSALS {
            work().map_err(GraphError::Work)?;
        }
        let raw = Recording::begin(beside.map(|graph| &graph.raw)).map_err(GraphError::Recording)?;
        let results = work();
        // It ends in any case; work that could not be recorded mostly failed because of that, and says it better.
        let ended = raw.end();
        let results = results.map_err(GraphError::Work)?;
        ended.map_err(GraphError::Recording)?;
        stream.leave().map_err(GraphError::Recording)?;
        Ok(Self { raw, results })
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

/// A stream that this thread is on.
struct Stream(NonNull<raw::RawStream>);

impl Stream {
    fn enter(index: i8) -> Result<Self, String> {
        let mut stream = null_mut();
        // SAFETY: `stream` has room for a pointer. What comes back is a text of that function.
        unsafe { raw::outcome(raw::lipcast_stream_enter(index, &mut stream)) }?;
        NonNull::new(stream).map(Self).ok_or_else(|| "libtorch gave no stream".to_owned())
    }

    /// Waits for what was given to it.
    fn leave(self) -> Result<(), String> {
        let stream = self.0;
        std::mem::forget(self);
        // SAFETY: it was entered on this thread, since `Self` is not `Send`, and is left once. What comes back is a text
        // of that function.
        unsafe { raw::outcome(raw::lipcast_stream_leave(stream.as_ptr())) }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: as in `leave`, which forgets what it left. Whatever it says, something else failed before.
        let _ = unsafe { raw::outcome(raw::lipcast_stream_leave(self.0.as_ptr())) };
    }
}

/// A graph of libtorch.
#[derive(Debug)]
struct Recording(NonNull<raw::RawGraph>);

// SAFETY: a graph is bound to a device and to no thread; `&mut` or one owner sees to it that no two use it at once.
unsafe impl Send for Recording {}

impl Recording {
    /// From here on until `end`, what this thread gives to its stream is recorded.
    fn begin(beside: Option<&Self>) -> Result<Self, String> {
        let beside = beside.map_or(null_mut(), |graph| graph.0.as_ptr());
        let mut graph = null_mut();
        // SAFETY: `beside` is null or a graph, of which only a number is read; `graph` has room for a pointer. What comes back is a text of that function.
        unsafe { raw::outcome(raw::lipcast_graph_begin(beside, &mut graph)) }?;
        NonNull::new(graph).map(Self).ok_or_else(|| "libtorch gave no graph".to_owned())
    }

    fn end(&self) -> Result<(), String> {
        // SAFETY: it was begun, on this thread: `Graph::record` does both. What comes back is a text of that function.
        unsafe { raw::outcome(raw::lipcast_graph_end(self.0.as_ptr())) }
    }

    fn replay(&mut self) -> Result<(), String> {
        // SAFETY: it has ended: only then is there a `Graph`. What comes back is a text of that function.
        unsafe { raw::outcome(raw::lipcast_graph_replay(self.0.as_ptr())) }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nobody uses it afterwards.
        unsafe { raw::lipcast_graph_free(self.0.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_gpu_nothing_is_done_and_the_reason_is_told() {
        // The half for GPUs is not open in the tests, wherever they run.
        let mut done = 0;
        let recorded = Graph::record(0, None, || {
            done += 1;
            Ok::<_, ()>(())
        });
        let Err(GraphError::Recording(reason)) = recorded else { panic!("it was recorded") };
        assert!(reason.to_lowercase().contains("cuda"), "{reason}");
        assert_eq!(done, 0);
    }
}
