//! What commands print. Nobody has to read all of it: `lipcast plugin list | head -1` is no fault of anybody.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// As a shell sees a program that SIGPIPE ended: 128 and the signal's number. No code of a command's own, since it does
/// not come to its end.
const NOBODY_READS: i32 = 141;

/// Writes to standard output, at once; ends the process where nobody reads any more.
pub(super) fn write(text: Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    match out.write_fmt(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(NOBODY_READS),
        // A full disk, say: the command goes on, and what it was asked to do is done.
        Err(error) => tracing::warn!(%error, "standard output"),
        Ok(()) => {}
    }
}

/// Like the standard library's macro of that name, by way of [`write`].
macro_rules! print {
    ($($arguments:tt)*) => { $crate::cli::output::write(format_args!($($arguments)*)) };
}

/// Like the standard library's macro of that name, by way of [`write`].
macro_rules! println {
    ($($arguments:tt)*) => { $crate::cli::output::write(format_args!("{}\n", format_args!($($arguments)*))) };
}
