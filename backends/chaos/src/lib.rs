//! The misbehaving backend: it draws the probe's barcode, and fails in every way a backend can, on command.
//!
//! In: any avatar, then 16 kHz mono PCM. Out: an opaque patch in I420 at the [barcode's
//! place](lipcast_probe::barcode), with the frame's number in luma. Two things are added to what the probe draws:
//! the upper four bits of the barcode's avatar frame are the setting `id`, so that a test can tell which backend drew
//! a frame; and the patch's colour is a fingerprint of the frame's own samples, so that a checker can tell whether a
//! picture depends on what it must not depend on.
//!
//! Settings, a table; every key may be left out:
//!
//! | key | meaning |
//! | --- | --- |
//! | `id` | 0 to 15 (1): the upper four bits of the barcode's avatar frame; the lower twelve are the frame's |
//! | `lies` | a list of lies, below |
//! | `faults` | a list of faults, each a table of the keys below |
//!
//! **A fault** says in which call, what, and when. All conditions that it has must hold; without one it happens at
//! every such call. Requests of a batch count as calls of their own.
//!
//! | key | meaning |
//! | --- | --- |
//! | `in` | `create`, `destroy`, `describe`, `prepare_avatar`, `load_avatar`, `unload_avatar`, `open_session`, `close_session`, `push_audio`, `reset`, `infer_batch`, `health` |
//! | `do` | what happens, below |
//! | `at_call` | from the n-th such call of the instance on, the first is 1 |
//! | `at_frame` | `infer_batch`: from video frame n of a session on |
//! | `every` | only each m-th of the calls for which the two above hold |
//! | `chance`, `seed` | with that probability (0 to 1), the same choices for the same seed (0) |
//! | `on_audio` | `push_audio` and `infer_batch`: the samples (of the push; of the frame) hold a millisecond within 0.01 of this value |
//! | `times` | at most so often in the life of the instance |
//! | `unless_file` | only if there is no such file; it is made first. A restarted host begins anew, and so a fault happens once in a row of incarnations |
//! | `if_file` | only if there is such a file; it is removed. Whoever lays it down decides when the fault happens, and sees that it did |
//!
//! With `note`, the name of a file, the moment is written down right before it happens: a line with the nanoseconds of
//! CLOCK_MONOTONIC, appended.
//!
//! | `do` | further keys | what happens |
//! | --- | --- | --- |
//! | `fail` | `code` ("INTERNAL", or any of the header's names), `retryable` (false), `message`, `whole` (false: this request; true: the whole batch) | the call answers with that status; `health` says BROKEN, or DEGRADED if retryable. Not in calls without a status: `destroy`, `describe`, `unload_avatar`, `close_session` |
//! | `hang` | `ms` (for ever) | the call takes so much longer; a slow backend hangs 60 ms in every call |
//! | `crash` | | a write to address 8: SIGSEGV |
//! | `abort` | | SIGABRT |
//! | `exit` | `status` (0) | the process ends itself |
//! | `panic` | | a panic, which the SDK turns into BACKEND_PANIC where there is a status |
//! | `leak` | `mb` (10) | so much memory is taken, written and forgotten |
//! | `log` | `lines` (1), `bytes` (80) | so many lines of that length to the host's log |
//! | `print` | `lines` (1), `bytes` (80), `to` ("stderr" or "stdout") | likewise past the host |
//! | `fork` | `ms` (1000) | a child process that holds every descriptor so long |
//! | `close_fds` | | closes descriptors 3 to 10, a host's lines to its parent. Never in a process of your own |
//! | `bad_ring` | `what` ("counter", "cells" or "all") | writes nonsense into the shared memory at descriptor 4: the count of completed calls, their cells, or everything. Nothing happens where descriptor 4 is no such memory |
//! | `bad_talk` | | sends nonsense over the socket at descriptor 3. Nothing happens where descriptor 3 is none |
//! | `stop_self` | | SIGSTOP: it stands still until somebody continues it |
//!
//! In `infer_batch` also the picture can be wrong:
//!
//! | `do` | further keys | what happens |
//! | --- | --- | --- |
//! | `nan` | | a float model found NaN in its output: BAD_OUTPUT |
//! | `garbage` | | noise instead of the picture |
//! | `black`, `flat` | | black, or one grey everywhere, instead of the picture |
//! | `short_write` | | the lower half of the slot stays as it was |
//! | `no_result` | | the request is left without a result |
//! | `overrun` | `bytes` (64) | so many bytes are written behind 4·width·height of the slot |
//! | `outside_rect` | | a rect outside `max_rect` |
//! | `odd_rect` | | a rect at an odd place |
//! | `unknown_format` | | format 77 |
//! | `wrong_frame` | | an avatar frame that does not exist |
//! | `wild_status` | | a status code of no meaning and a message without end |
//!
//! **Lies** are about what the contract promises and a host cannot see in one call:
//!
//! | lie | what is not true |
//! | --- | --- |
//! | `cross_talk` | a picture depends on other sessions' audio |
//! | `neighbours` | a picture depends on its place in the batch and on the batch's size |
//! | `peeks` | a picture depends on 100 ms of audio beyond the look-ahead, which is 0 |
//! | `nondeterministic` | the same audio gives different pictures |
//! | `ignores_reset` | a picture depends on audio from before the last reset |
//! | `random_blob` | the same source gives different blobs |
//! | `never_at_rest` | the mouth never comes to rest |
//!
//! The library speaks through the C door alone, because part of this no safe backend can do.

mod avatar;
mod backend;
mod error;
mod fault;
mod harm;
mod raw;
mod session;
mod settings;
mod trigger;

pub use backend::ChaosBackend;
pub use raw::plugin;
