// What of libtorch's C++ interface `tch` does not wrap, as C functions.
//
// Every function that can fail returns null when it did not, and otherwise a text to be given to `lipcast_text_free`;
// no exception leaves. Pointers that are passed in are not kept beyond the call; what a function makes is the caller's until
// the function that frees it.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

// A tensor as `tch` holds it: an owned `at::Tensor`.
struct lipcast_tensor;
struct lipcast_package;
struct lipcast_inference;
struct lipcast_stream;
struct lipcast_graph;

// Frees a text of the other functions; null is fine.
void lipcast_text_free(char *text);

// From here on this thread computes for results alone: nothing is kept for gradients. Until the same thread ends it; what
// was begun last is ended first.
lipcast_inference *lipcast_inference_begin(void) noexcept;
void lipcast_inference_end(lipcast_inference *inference);

// Opens a package that AOTInductor compiled, for the GPU `device`, or the CPU when it is -1. `path` is UTF-8 with a
// final zero. On success `*package` is owned by the caller. It takes no part in other threads' work: one call at a time.
char *lipcast_package_open(const char *path, int8_t device, lipcast_package **package);

// Runs it on `count` inputs, which are only read. `outputs` has room for `capacity` pointers; `*made` of them are set,
// each to a tensor that the caller owns. With more outputs than room it fails.
char *lipcast_package_run(lipcast_package *package, lipcast_tensor *const *inputs, size_t count,
                          lipcast_tensor **outputs, size_t capacity, size_t *made);

void lipcast_package_close(lipcast_package *package);

// From here on this thread gives its work for the GPU `device` to a stream of its own, once all that the device was given
// before is done. `lipcast_stream_leave`, on the same thread, waits for that work, gives the GPU's free memory back, and
// the thread its former stream, also when it fails; it frees `stream`. What was entered last is left first.
char *lipcast_stream_enter(int8_t device, lipcast_stream **stream);
char *lipcast_stream_leave(lipcast_stream *stream);

// Whether an operator of libtorch's that makes the host wait for the GPU fails from here on; a setting of the process.
char *lipcast_waits_refused(bool refused);

// What this thread gives to its stream, which must be of `lipcast_stream_enter`, is no longer done but recorded, until
// `lipcast_graph_end` on the same thread. Nothing in between may wait for the GPU: a recording that was broken off leaves
// libtorch's allocator thinking that it goes on. libtorch keeps the memory that is allocated meanwhile for the graph, and
// takes what it keeps for `beside` first, which may be null and must be of the same stream: results of one must have been
// read before the other is replayed. `*graph` is owned by the caller. When `lipcast_graph_end` fails, `graph` must be
// left alone for good: the allocator still refers to it.
char *lipcast_graph_begin(lipcast_graph *beside, lipcast_graph **graph);
char *lipcast_graph_end(lipcast_graph *graph);

// Gives what was recorded, and has ended well, to this thread's stream.
char *lipcast_graph_replay(lipcast_graph *graph);

// Frees a graph that has ended well.
void lipcast_graph_free(lipcast_graph *graph);

// Bytes that libtorch's allocator has given out on the GPU `device` at most, and holds at most.
char *lipcast_device_memory(int8_t device, int64_t *allocated, int64_t *reserved);

// The version of libtorch whose headers this was compiled with; static.
const char *lipcast_torch_version(void);
}
