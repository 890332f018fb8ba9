//! Progress of long work on a terminal; nothing where output is not one.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use lipcast_engine::avatar::Job;

use crate::app::overall;

/// A bar over `length` steps.
pub(super) fn bar(length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    let style = ProgressStyle::with_template("{msg:10} {wide_bar} {percent:>3} % {elapsed}");
    // The template is constant; were it wrong, the plain style would do.
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Shows the job's progress while `work` does it.
pub(super) fn of_job<T>(job: &Job, work: impl FnOnce() -> T) -> T {
    let (done, ended) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let bar = bar(1_000);
            // Ends when the other end is dropped.
            while ended.recv_timeout(Duration::from_millis(100)) == Err(RecvTimeoutError::Timeout) {
                let progress = job.progress();
                let backend = job.backend_permille();
                bar.set_message(if backend.is_some() { "loading" } else { progress.stage.name() });
                bar.set_position(overall(progress.permille, backend).into());
            }
            bar.finish_and_clear();
        });
        let outcome = work();
        drop(done);
        outcome
    })
}
