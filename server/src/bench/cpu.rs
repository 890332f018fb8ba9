//! What a process cost: the processor time of its threads, by their names.
//!
//! In: a process id. Out: seconds on a processor. Wall time says little on a machine that others use too.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Processor time of each thread of a process at one moment.
#[derive(Debug, Clone)]
pub struct CpuTimes {
    /// Name and time by thread id.
    threads: HashMap<String, (String, Duration)>,
}

impl CpuTimes {
    /// Reads the clock of every thread that lives now.
    ///
    /// # Errors
    /// When there is no such process, or the kernel keeps no scheduler statistics.
    pub fn of(process: u32) -> io::Result<Self> {
        let mut threads = HashMap::new();
        for task in fs::read_dir(format!("/proc/{process}/task"))? {
            let folder = task?.path();
            // A thread may end while it is looked at.
            if let Some((name, time)) = thread(&folder)? {
                threads.insert(folder.display().to_string(), (name, time));
            }
        }
        Ok(Self { threads })
    }

    /// What was spent since `before`, in threads whose name begins with `name`; all of them for the empty name.
    /// Threads that ended in between are not seen.
    pub fn since(&self, before: &Self, name: &str) -> Duration {
        let of_thread = |(id, (thread, now)): (&String, &(String, Duration))| {
            let then = before.threads.get(id).map_or(Duration::ZERO, |(_, then)| *then);
            thread.starts_with(name).then(|| now.saturating_sub(then))
        };
        self.threads.iter().filter_map(of_thread).sum()
    }
}

/// Name and time on a processor; the first number of `schedstat` is nanoseconds.
fn thread(folder: &Path) -> io::Result<Option<(String, Duration)>> {
    let (Ok(name), Ok(clock)) =
        (fs::read_to_string(folder.join("comm")), fs::read_to_string(folder.join("schedstat")))
    else {
        return Ok(None);
    };
    let nanoseconds = clock.split_whitespace().next().and_then(|number| number.parse().ok());
    let nanoseconds = nanoseconds.ok_or_else(|| {
        io::Error::new(io::ErrorKind::Unsupported, "this kernel keeps no scheduler statistics")
    })?;
    Ok(Some((name.trim().to_owned(), Duration::from_nanos(nanoseconds))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_found_under_its_threads_name() {
        let (ready, wait) = std::sync::mpsc::channel::<()>();
        let before = CpuTimes::of(std::process::id()).unwrap();
        let (done, is_done) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("bench-worker".into()).spawn(move || {
            let spent = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
            while spent().tv_nsec < 20_000_000 {}
            done.send(()).unwrap();
            wait.recv().unwrap_err();
        });
        is_done.recv().unwrap();
        let after = CpuTimes::of(std::process::id()).unwrap();
        drop(ready);
        thread.unwrap().join().unwrap();
        assert!(after.since(&before, "bench-worker") >= Duration::from_millis(15));
        assert_eq!(after.since(&before, "nobody"), Duration::ZERO);
        assert!(after.since(&before, "") >= after.since(&before, "bench-worker"));
    }
}
