/*
 * lipcast_backend.h: the contract between Lipcast and a lip-sync backend, version 1.0.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * This text is the reference. It is C11 and C++17; it includes nothing but <stdint.h>, <stddef.h> and
 * <assert.h>. A plugin is a shared library that exports one function, lipcast_plugin_entry_v1 (at the end).
 *
 * WHAT A BACKEND DOES
 *   An avatar's frames go in once (prepare_avatar) and an opaque blob comes out, which the host keeps.
 *   Then speech goes in as 16 kHz PCM, and patches of the video picture come out, batched over sessions.
 *   A patch may be a mouth, a head, or the whole canvas; what a backend computes in between is its own.
 *
 * TAGS
 *   Every function carries a thread tag:
 *     [any]      From any thread, at any time the object lives, also beside other calls. Answers in 1 ms.
 *     [control]  From any thread, but no two [control] calls of one instance at the same time. May run
 *                beside [session] and [infer] calls. May take long where it says so.
 *     [session]  Calls of one session never overlap, nor do they overlap an infer_batch that holds a
 *                request of it. Calls of different sessions may overlap: two open_session too, and any of
 *                them a [control] call. Bounded: well under a frame.
 *     [infer]    One fixed thread for the whole life of the instance, never two calls at once.
 *     [calling]  A function of the host: only from the thread of, and only during, the call that gave it.
 *   A host may make all [session] calls from the [infer] thread. Lipcast does.
 *
 * STATES
 *   instance   create -> (everything) -> destroy, after its avatars and sessions are gone
 *   avatar     load_avatar -> (avatar_info, frame_mask, open_session) -> unload_avatar, after its sessions
 *   session    open_session -> (push_audio, infer_batch, reset)* -> close_session, exactly once
 *   After BACKEND_PANIC from a call of a session, or from an infer_batch that held a request of it, that session
 *   is asked nothing more but close_session. Its avatar and instance stay in use; unload_avatar, destroy and the
 *   calls of other sessions must go on working. A backend that cannot promise that says HEALTH_BROKEN.
 *   After DEVICE_LOST or HEALTH_BROKEN the host opens nothing more, and ends sessions, avatars and instance in
 *   the usual order.
 *
 * OWNERSHIP
 *   Nothing allocated on one side is freed on the other. What a pointer argument points to belongs to the
 *   caller and is good until the call returns, unless the text says longer. What a plugin returns by
 *   pointer is static, or lives as long as the object it belongs to, as the text says.
 *   Output pictures go into memory of the host (slots). Handles are opaque to the side that did not make
 *   them.
 *
 * ERRORS
 *   A function that returns int32_t returns a LIPCAST_ status code. Where it has a `status` argument and does
 *   not return LIPCAST_OK, it fills that with the same code and one line of UTF-8 for people. Any such function
 *   may return INVALID_ARG, OOM_HOST, INTERNAL and BACKEND_PANIC; further codes stand at the function. An
 *   unknown code is read as INTERNAL. After a failed call no out argument is read.
 *   No exception, panic or longjmp may leave a function. Catch it and return BACKEND_PANIC, or nothing where
 *   the function returns nothing.
 *
 * TIME AND AUDIO
 *   A session has one timeline of 16 kHz samples. With fps = num/den, video frame k shows the samples from
 *   floor(k * 16000 * den / num) up to those of k + 1. The timeline goes on through silence; the host
 *   pushes no audio while nobody speaks. A run of speech begins with a push whose first sample is that of
 *   a video frame, and ends with LIPCAST_AUDIO_END. Everything that was not pushed reads as zero: before
 *   the run, after its end, and between runs.
 *   Frames are asked for during a run and while the mouth comes to rest after it. Between runs none is, unless
 *   the backend draws idle (IDLE_BACKEND); so k goes up by more than one from run to run.
 *   Frame k is asked for once audio up to its end plus `lookahead_ms` was pushed, or END was. The same
 *   audio since the last reset, or since the start of a replay, gives the same frame; audio beyond the
 *   look-ahead must not matter. After a failover the host replays `lookbehind_ms` of audio; a small
 *   difference in the first frames is no failure.
 *   After END the host goes on asking until a result carries LIPCAST_RESULT_AT_REST or a time-out passes,
 *   then shows the avatar's own frames from avatar_frame_used + 1. That flag is all the motion state the
 *   host knows of.
 *
 * VERSIONS
 *   Structs and tables with a struct_size, which is their first field (the second of lipcast_plugin), tell there
 *   their size in bytes as their maker knows it. They grow at their end only, and a field never changes its
 *   meaning. A reader looks at no more than the size covers; what is missing reads as zero, which means "not
 *   there". A writer into a struct of the other side writes no further than its size. lipcast_str, lipcast_bytes
 *   and lipcast_rect have no size and never grow.
 *   A host loads plugins of its own major version, older and newer minors alike, for as long as it has that
 *   major. abi_fingerprint catches a header that was edited by hand.
 *   New abilities come as extensions under a string id: "lipcast.name/revision" when settled,
 *   "draft.name/revision" before, reverse DNS for third parties.
 *   Minor 0: all that stands here. A later minor lists what it added in this place.
 *
 * TYPES
 *   Fixed-width integers, no enum types, no bool, no bit-fields, no long. 64-bit platforms. Text is UTF-8
 *   with a length. Reserved fields are zero.
 *
 * FIVE KINDS OF BACKEND, walked through these calls
 *   Patch per frame (MuseTalk). prepare needs frames and landmarks: the blob holds latents and masks.
 *     max_rect: the union of the face boxes. Per avatar frame a rect and a feathered alpha (frame_mask).
 *     Results RGB24 with ALPHA_STATIC. order ANY, max_batch as memory allows, lookahead 200 ms.
 *   Stateless patch (Wav2Lip). As above with a soft rectangle for alpha, and REST_AT_ONCE: a frame is a
 *     pure function of the audio around it, so nothing is left to calm down.
 *   Weights trained for one person (Ultralight). The weights are an asset beside the source: `assets` in
 *     the capabilities names them, open_asset reads them, and they end up in the blob. load_avatar puts
 *     them on the device. Requests of several avatars in one batch are grouped by the backend.
 *   Whole head, ordered (Ditto-like). order SEQUENTIAL and chunk_frames n: every k of a run exactly once, in
 *     order, late ones marked DISCARD_OK so that the motion stays in step; several requests of one session may
 *     stand in one batch. Results with their own rect and ALPHA_INLINE override the static mask. REST_ASK:
 *     after END it goes on until the head has come back, then says AT_REST with the avatar frame it
 *     arrived at in avatar_frame_used.
 *   A renderer without source frames (Live2D, 3D). Prepared from assets; frame_count 0, so there is no
 *     frame_mask, avatar_frame is 0, and the canvas is avatar_info's. IDLE_BACKEND: it is asked for every
 *     frame, also in silence, and says UNCHANGED where nothing moved. Results cover the canvas, RGBA or
 *     I420A with ALPHA_INLINE (the host puts them on a background) or ALPHA_OPAQUE.
 */
#ifndef LIPCAST_BACKEND_H
#define LIPCAST_BACKEND_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------------ version */

#define LIPCAST_MAGIC UINT32_C(0x5343504C) /* "LPCS" in memory on little-endian machines */
#define LIPCAST_API_MAJOR UINT32_C(1)
#define LIPCAST_API_MINOR UINT32_C(0)
/* FNV-1a over names, types and offsets of the tables below; abi-fingerprint.txt lists what goes in. */
#define LIPCAST_ABI_FINGERPRINT UINT64_C(0x9dba68bfc7729996)

/* ------------------------------------------------------------------------------------- status codes */

#define LIPCAST_OK INT32_C(0)
#define LIPCAST_INVALID_ARG INT32_C(1)        /* an argument is out of range or malformed */
#define LIPCAST_UNSUPPORTED INT32_C(2)        /* the backend has no such ability */
#define LIPCAST_NOT_READY INT32_C(3)          /* called in a state that does not allow it */
#define LIPCAST_WOULD_BLOCK INT32_C(4)        /* a bounded queue is full; nothing was taken */
#define LIPCAST_CANCELLED INT32_C(5)          /* the host asked to stop */
#define LIPCAST_DEADLINE INT32_C(6)           /* too late to be worth doing */
#define LIPCAST_OOM_HOST INT32_C(7)           /* main memory ran out */
#define LIPCAST_OOM_DEVICE INT32_C(8)         /* device memory ran out */
#define LIPCAST_DEVICE_LOST INT32_C(9)        /* the device is gone; the instance is of no more use */
#define LIPCAST_MODEL_MISSING INT32_C(10)     /* a model file is not there */
#define LIPCAST_MODEL_CORRUPT INT32_C(11)     /* a model file is damaged */
#define LIPCAST_BLOB_INCOMPATIBLE INT32_C(12) /* blob of another kind or version: prepare again */
#define LIPCAST_BAD_OUTPUT INT32_C(13)        /* the backend found its own output unusable */
#define LIPCAST_NOT_FOUND INT32_C(14)         /* no such frame, asset, landmarks or extension */
#define LIPCAST_INTERNAL INT32_C(15)          /* anything else */
#define LIPCAST_BACKEND_PANIC INT32_C(16)     /* a panic or exception was caught */

/* ---------------------------------------------------------------------------------- basic structures */

/* UTF-8 text, not terminated. ptr may be NULL when len is 0. */
typedef struct lipcast_str {
  const char *ptr;
  uint64_t len; /* bytes */
} lipcast_str;

/* Bytes that the callee only reads. ptr may be NULL when len is 0. */
typedef struct lipcast_bytes {
  const uint8_t *ptr;
  uint64_t len;
} lipcast_bytes;

/* How a call ended. The caller sets struct_size and zeroes the rest; the callee fills it on failure.
 * A status argument may be NULL. */
typedef struct lipcast_status {
  uint32_t struct_size;
  int32_t code;
  uint32_t retryable; /* 1: the same call may succeed later */
  uint32_t reserved;
  char message[240];  /* UTF-8, one line, ended by a zero byte */
} lipcast_status;

/* Text the callee writes into memory of the caller. The callee sets `length` to the bytes of the whole
 * text, and writes it if it fits `capacity`; if not, it writes nothing and the caller comes again. */
typedef struct lipcast_text {
  uint32_t struct_size;
  uint32_t reserved;
  char *ptr;
  uint64_t capacity;
  uint64_t length;
} lipcast_text;

/* Pixels of the canvas, origin at the top left. */
typedef struct lipcast_rect {
  uint32_t x;
  uint32_t y;
  uint32_t width;
  uint32_t height;
} lipcast_rect;

/* A source frame: R, G, B bytes, full-range sRGB, rows from the top, `stride` bytes apart. */
typedef struct lipcast_rgb_frame {
  uint32_t struct_size;
  uint32_t width;
  uint32_t height;
  uint32_t stride;
  const uint8_t *data;
  uint64_t data_len;
} lipcast_rgb_frame;

/* Made by the plugin, opaque to the host. */
typedef struct lipcast_instance lipcast_instance; /* one loaded backend with its weights */
typedef struct lipcast_avatar lipcast_avatar;     /* a person loaded into an instance */
typedef struct lipcast_session lipcast_session;   /* one performance */
/* Made by the host, opaque to the plugin. */
typedef struct lipcast_operation lipcast_operation; /* a long call in progress */
typedef struct lipcast_sink lipcast_sink;           /* where a prepared blob goes */

/* ------------------------------------------------------------------------------------- avatar, session */

#define LIPCAST_IDLE_HOST UINT32_C(0)    /* in silence the host plays the avatar's own frames */
#define LIPCAST_IDLE_BACKEND UINT32_C(1) /* the backend is asked for idle frames too. Before any speech, and after a
                                            reset, it gets an empty push with END, then requests of which the
                                            first is marked FIRST. */

#define LIPCAST_REST_ASK UINT32_C(0)     /* after END the host asks on until AT_REST */
#define LIPCAST_REST_AT_ONCE UINT32_C(1) /* after END the host may blend out at once */

/* What a loaded avatar is. It never changes. */
typedef struct lipcast_avatar_info {
  uint32_t struct_size;
  uint32_t canvas_width;  /* even, at most 8192 */
  uint32_t canvas_height; /* even, at most 8192 */
  uint32_t fps_num;       /* the avatar's own rate, above 0 */
  uint32_t fps_den;       /* above 0 */
  uint32_t frame_count;   /* avatar frames, as many as the source had, at most 262144; 0: the backend draws without (then idle
                             is IDLE_BACKEND) */
  lipcast_rect max_rect;  /* even; every result and mask lies inside; slots are sized by it */
  uint32_t slots;         /* results the backend likes to have in flight; 0: the host chooses */
  uint32_t idle;          /* LIPCAST_IDLE_* */
  uint32_t rest_policy;   /* LIPCAST_REST_* */
  uint32_t reserved;
} lipcast_avatar_info;

/* Where the patch of an avatar frame lies and how it is blended. It never changes. */
typedef struct lipcast_frame_mask {
  uint32_t struct_size;
  uint32_t reserved;
  lipcast_rect rect;    /* even, inside max_rect; empty: nothing is painted on this frame */
  const uint8_t *alpha; /* width * height bytes, rows packed, 255 = patch; NULL: opaque.
                           Good until the avatar is unloaded. The host takes the 2x2 mean for chroma. */
  uint64_t alpha_len;
} lipcast_frame_mask;

#define LIPCAST_MODE_LIVE UINT32_C(0)  /* audio arrives while frames are asked for */
#define LIPCAST_MODE_WHOLE UINT32_C(1) /* the complete utterance, with END, comes before the first request */

/* What a session is opened for; fixed for its life. */
typedef struct lipcast_session_params {
  uint32_t struct_size;
  uint32_t mode;           /* LIPCAST_MODE_* */
  uint32_t canvas_width;   /* the avatar's */
  uint32_t canvas_height;
  uint32_t fps_num;        /* of the video; not always the avatar's */
  uint32_t fps_den;
  lipcast_str params_json; /* an object the backend documents; may be empty or "null" */
} lipcast_session_params;

/* ------------------------------------------------------------------------------------------- requests */

/* The host may give up a request of an ANY backend that comes too late for its frame; its FIRST and LAST then come
 * with the next request. */
#define LIPCAST_REQUEST_FIRST UINT32_C(1)      /* first of a run of speech, or after a reset */
#define LIPCAST_REQUEST_LAST UINT32_C(2)       /* no later frame of this run has audio; it comes once a run, unless a
                                                  reset or the next run comes before */
#define LIPCAST_REQUEST_DISCARD_OK UINT32_C(4) /* late: keep the state in step; the picture may be left out, the
                                                  status is then DEADLINE */

/* Pixels are packed: no padding between rows, planes one after the other. */
#define LIPCAST_FORMAT_RGB24 UINT32_C(1) /* 3wh bytes; full-range sRGB */
#define LIPCAST_FORMAT_RGBA UINT32_C(2)  /* 4wh bytes; full-range sRGB, straight alpha */
#define LIPCAST_FORMAT_I420 UINT32_C(3)  /* 3wh/2 bytes: Y, U, V; BT.601 limited range */
#define LIPCAST_FORMAT_I420A UINT32_C(4) /* 5wh/2 bytes: I420, then a full-size alpha plane */

#define LIPCAST_ALPHA_STATIC UINT32_C(0) /* the mask of avatar_frame_used; rect must be that mask's */
#define LIPCAST_ALPHA_INLINE UINT32_C(1) /* the format's own alpha: RGBA or I420A */
#define LIPCAST_ALPHA_OPAQUE UINT32_C(2) /* pasted as it is */

/* UNCHANGED: the picture of this session's previous result once more, whether the host could show that one or not,
 * with its rect, format and alpha; where its alpha was STATIC, with the mask it had then. It is laid over
 * avatar_frame_used of the new result. rect, format, alpha and the slot are not looked at. Before the first result
 * and after a reset there is none: the avatar's frame shows as it is. */
#define LIPCAST_RESULT_UNCHANGED UINT32_C(1)
#define LIPCAST_RESULT_AT_REST UINT32_C(2)   /* the host may go on with the avatar's own frames */

/* One video frame asked of one session. The host fills everything down to slot_len and zeroes the result;
 * the backend fills the result. Colour conversion of RGB results is the host's. */
typedef struct lipcast_request {
  uint32_t struct_size;
  uint32_t epoch;           /* of the session, since its last reset */
  lipcast_session *session;
  uint64_t seq;             /* counts the session's requests */
  uint64_t frame;           /* video frame k of the session's timeline */
  uint32_t avatar_frame;    /* avatar frame j it is shown on; 0 when frame_count is 0 */
  uint32_t flags;           /* LIPCAST_REQUEST_* */
  uint64_t deadline_ns;     /* when the result is of no more use, in the host's now_ns; 0: never */
  uint8_t *slot;            /* host memory, 64-byte aligned; not touched after infer_batch returns */
  uint64_t slot_len;        /* bytes: at least 4 * width * height of max_rect. The host checks that nothing
                               was written behind it. */
  lipcast_status status;    /* result: OK, or why this one failed. CANCELLED, DEADLINE (only with
                               DISCARD_OK), OOM_DEVICE, DEVICE_LOST, BAD_OUTPUT */
  lipcast_rect rect;        /* result: even, inside max_rect; empty: the avatar's frame shows as it is */
  uint32_t format;          /* result: LIPCAST_FORMAT_* */
  uint32_t alpha;           /* result: LIPCAST_ALPHA_* */
  uint32_t result_flags;    /* result: LIPCAST_RESULT_* */
  uint32_t avatar_frame_used; /* result: below frame_count, 0 when that is 0; usually avatar_frame */
} lipcast_request;

/* --------------------------------------------------------------------------------------------- health */

#define LIPCAST_HEALTH_OK UINT32_C(0)
#define LIPCAST_HEALTH_DEGRADED UINT32_C(1) /* works, but not as it should */
#define LIPCAST_HEALTH_BROKEN UINT32_C(2)   /* does not work and will not recover; the host replaces it */

typedef struct lipcast_health {
  uint32_t struct_size;
  uint32_t state;    /* LIPCAST_HEALTH_* */
  char message[248]; /* UTF-8, one line, ended by a zero byte */
} lipcast_health;

/* ---------------------------------------------------------------------------- what the host offers */

#define LIPCAST_LOG_ERROR UINT32_C(1)
#define LIPCAST_LOG_WARN UINT32_C(2)
#define LIPCAST_LOG_INFO UINT32_C(3)
#define LIPCAST_LOG_DEBUG UINT32_C(4)
#define LIPCAST_LOG_TRACE UINT32_C(5)

#define LIPCAST_METRIC_COUNTER UINT32_C(1)   /* only grows; the value is added */
#define LIPCAST_METRIC_GAUGE UINT32_C(2)     /* is set */
#define LIPCAST_METRIC_HISTOGRAM UINT32_C(3) /* its distribution matters; seconds or bytes */

/* Given to create; lives as long as the process, so that a thread that was forgotten finds it. No function is NULL.
 * [any] functions may be called until destroy returns; what is said later may go unheard. */
typedef struct lipcast_host {
  uint32_t struct_size;
  uint32_t api_major;
  uint32_t api_minor;
  uint32_t reserved;
  void *ctx; /* first argument of every function */

  /* [any] Monotonic nanoseconds; deadlines are in this clock. */
  uint64_t (*now_ns)(void *ctx);

  /* [any] One line of log. target names the part that speaks; fields_json is an object or empty. */
  void (*log)(void *ctx, uint32_t level, lipcast_str target, lipcast_str message, lipcast_str fields_json);

  /* [calling] 1: the host wants this operation to end; return CANCELLED soon. Ask every 100 ms.
   * operation may be NULL: 0. */
  uint32_t (*is_cancelled)(void *ctx, const lipcast_operation *operation);

  /* [calling] How far it is, 0 to 1000, never backwards, and what it does now. operation may be NULL. */
  void (*progress)(void *ctx, const lipcast_operation *operation, uint32_t permille, lipcast_str stage);

  /* [calling] Appends to the blob of prepare_avatar. After an error the blob is lost: return it. */
  int32_t (*blob_write)(void *ctx, lipcast_sink *sink, lipcast_bytes data);

  /* [any] A measurement. The host prefixes the backend's name. labels_json is an object or empty. */
  void (*metric)(void *ctx, lipcast_str name, uint32_t kind, double value, lipcast_str labels_json);

  /* [any] A named table of the host, static, or NULL. */
  const void *(*get_extension)(void *ctx, lipcast_str id);
} lipcast_host;

/* What an avatar is prepared from; lives until prepare_avatar returns. No function is NULL; all are
 * [calling]. With frame_count 0, width, height and the rate are what the host would like the canvas to be; a
 * backend without frames may answer another in avatar_info. */
typedef struct lipcast_avatar_source {
  uint32_t struct_size;
  uint32_t frame_count; /* source frames; may be 0 */
  uint32_t width;       /* of every frame: the canvas; even, above 0 */
  uint32_t height;
  uint32_t fps_num;
  uint32_t fps_den;
  uint32_t asset_count; /* named files beside the frames */
  uint32_t reserved;
  void *ctx; /* first argument of every function */

  /* Frame `index`; its pixels are good until the next get_frame. NOT_FOUND, CANCELLED. */
  int32_t (*get_frame)(void *ctx, uint32_t index, lipcast_rgb_frame *out, lipcast_status *status);

  /* 68 points as x, y pairs in pixels, iBUG order. NOT_FOUND: no face in this frame. */
  int32_t (*get_landmarks)(void *ctx, uint32_t index, float (*out)[136]);

  /* x0, y0, x1, y1 in pixels. NOT_FOUND: no face in this frame. */
  int32_t (*get_face_box)(void *ctx, uint32_t index, float (*out)[4]);

  /* The name of asset `index`, good until prepare_avatar returns. NOT_FOUND. */
  int32_t (*asset_name)(void *ctx, uint32_t index, lipcast_str *out);

  /* The bytes of an asset, good until prepare_avatar returns. NOT_FOUND. */
  int32_t (*open_asset)(void *ctx, lipcast_str name, lipcast_bytes *out, lipcast_status *status);
} lipcast_avatar_source;

/* ------------------------------------------------------------------------------- what a backend offers */

#define LIPCAST_AUDIO_END UINT32_C(1) /* nothing else is queued: audio past these samples reads as zero */

/* The calls of a backend. Everything down to `health` must be there. */
typedef struct lipcast_backend {
  uint32_t struct_size;
  uint32_t reserved;

  /* [control] Loads weights and runs one batch to warm up. May take minutes: report progress, look for
   * cancellation. config_json is [backend.NAME.config] of config.toml; an object or "null".
   * CANCELLED, UNSUPPORTED, MODEL_MISSING, MODEL_CORRUPT, OOM_DEVICE, DEVICE_LOST. */
  int32_t (*create)(const lipcast_host *host, lipcast_str config_json, const lipcast_operation *operation,
                    lipcast_instance **out, lipcast_status *status);

  /* [control] After all avatars and sessions are gone. Joins every thread the instance started. */
  void (*destroy)(lipcast_instance *instance);

  /* [control] Effective device, precision, batch sizes, memory: a JSON object. */
  int32_t (*describe)(lipcast_instance *instance, lipcast_text *out, lipcast_status *status);

  /* [control, or beside other control calls if the capabilities say prepare_concurrent]
   * Source in, blob out through host->blob_write. May take minutes. The same source, parameters and
   * version give the same bytes. A frame without a face does not fail it.
   * CANCELLED, NOT_FOUND (an asset), UNSUPPORTED, OOM_DEVICE, DEVICE_LOST. */
  int32_t (*prepare_avatar)(lipcast_instance *instance, const lipcast_avatar_source *source,
                            lipcast_str params_json, lipcast_sink *sink,
                            const lipcast_operation *operation, lipcast_status *status);

  /* [control] Blob in, avatar out. The host has checked that the blob is this backend's and undamaged as
   * far as a hash can tell; parse it as hostile even so. BLOB_INCOMPATIBLE, OOM_DEVICE, DEVICE_LOST. */
  int32_t (*load_avatar)(lipcast_instance *instance, lipcast_bytes blob, lipcast_avatar **out,
                         lipcast_status *status);

  /* [control] After all its sessions are closed. */
  void (*unload_avatar)(lipcast_avatar *avatar);

  /* [any] Fills `out`. */
  int32_t (*avatar_info)(lipcast_avatar *avatar, lipcast_avatar_info *out, lipcast_status *status);

  /* [any] Fills `out` for an avatar frame. Never asked when frame_count is 0. NOT_FOUND. */
  int32_t (*frame_mask)(lipcast_avatar *avatar, uint32_t frame, lipcast_frame_mask *out,
                        lipcast_status *status);

  /* [session] Begins a performance; cheap. UNSUPPORTED, OOM_DEVICE. */
  int32_t (*open_session)(lipcast_instance *instance, lipcast_avatar *avatar,
                          const lipcast_session_params *params, lipcast_session **out,
                          lipcast_status *status);

  /* [session] Ends it, with whatever is queued; also after BACKEND_PANIC. */
  void (*close_session)(lipcast_session *session);

  /* [session] Appends 16 kHz mono PCM, nominal range -1 to 1, whose first sample is number first_sample of
   * the timeline: the end of the last push, or later. Copy what is needed. count may be 0 with END.
   * WOULD_BLOCK: the queue is full, nothing was taken, come again after the next batch. The host then comes with
   * the same samples; with a frame and the look-ahead beyond the last frame asked for there must be room. A gap
   * before a run takes none, and what was not asked for of the run before may be dropped when a new run begins. */
  int32_t (*push_audio)(lipcast_session *session, uint64_t first_sample, const float *pcm, uint64_t count,
                        uint32_t flags, lipcast_status *status);

  /* [session] Barge-in: drop all audio and motion; the avatar stays. Later requests carry `epoch`. Audio
   * may then begin at any sample. */
  int32_t (*reset)(lipcast_session *session, uint32_t epoch, lipcast_status *status);

  /* [infer] Draws `count` frames, at most max_batch. Requests of one session stand in the order of their
   * frames. Fill the result of every request; one that fails has no effect on its neighbours. Returning
   * anything but OK fails the whole batch. OOM_DEVICE, DEVICE_LOST. */
  int32_t (*infer_batch)(lipcast_instance *instance, lipcast_request *const *requests, uint32_t count,
                         lipcast_status *status);

  /* [any] How it feels; asked about once a second. Never waits for a running batch. */
  void (*health)(lipcast_instance *instance, lipcast_health *out);

  /* ---- minor 9; a table that ends here is that of minor 8 ---- */

  /* [any] Counters and memory: a JSON object. May be NULL. */
  int32_t (*stats)(lipcast_instance *instance, lipcast_text *out, lipcast_status *status);

  /* [any] A named table of the plugin, static, or NULL. May be NULL itself. */
  const void *(*get_extension)(lipcast_str id);
} lipcast_backend;

/*
 * The descriptor. Everything in it is static, and there is nothing to compute: the entry touches no file
 * and no device, and starts no thread. magic, struct_size, api_major, api_minor and abi_fingerprint are
 * checked in this order before anything else is read.
 *
 * capabilities_json is an object; every key may be left out:
 *   "devices": ["cpu"]        where it can run, best first
 *   "precision": ["fp32"]     arithmetic it offers, best first
 *   "lookahead_ms": 0         audio after the end of a frame that it needs; at most 2000, since speech is
 *                             heard that much later
 *   "lookbehind_ms": 0        audio before a frame that it remembers
 *   "order": "ANY"            or "SEQUENTIAL": every frame of a run exactly once, in order
 *   "chunk_frames": 1         frames of one session that it computes at once. The host does not wait for so many: it
 *                             asks for each when its audio is there, and puts those that are there into one batch.
 *                             So lookahead_ms must cover the rest of the chunk, and the backend keeps what it drew
 *                             for frames that are not asked for yet. At a run's end the chunk is filled with the
 *                             zeros after END; what was drawn beyond the last request is lost with it.
 *   "max_batch": 1            requests one infer_batch takes at most
 *   "prepare": {"frames": false, "landmarks": false, "face_box": false, "assets": []}
 *                             hints what the host gets ready; it may give more
 *   "blob_version": 1         another number means: prepare again
 *   "prepare_concurrent": false
 *   "deterministic": false    same audio, same frames, bit for bit
 */
typedef struct lipcast_plugin {
  uint32_t magic;       /* LIPCAST_MAGIC */
  uint32_t struct_size;
  uint32_t api_major;   /* LIPCAST_API_MAJOR */
  uint32_t api_minor;   /* LIPCAST_API_MINOR */
  uint64_t abi_fingerprint; /* LIPCAST_ABI_FINGERPRINT */
  lipcast_str id;       /* "org.example.wav2lip": up to 64 letters, digits, '.', '-', '_' */
  lipcast_str name;     /* for people */
  lipcast_str version;  /* of the plugin */
  lipcast_str vendor;
  lipcast_str license;  /* SPDX expression */
  lipcast_str url;
  lipcast_str capabilities_json;
  lipcast_str declined; /* why `backend` is NULL */
  const lipcast_backend *backend; /* NULL: the plugin does not want to run in this host */
} lipcast_plugin;

/*
 * The one exported symbol. [any], also more than once; always the same pointer. The host passes its own
 * version. A plugin that needs a newer host returns a descriptor without `backend` and with `declined`;
 * NULL declines without a reason. The symbol stays v1 for the life of contract major versions 0 and 1.
 */
#if defined(__GNUC__)
#define LIPCAST_EXPORT __attribute__((visibility("default")))
#else
#define LIPCAST_EXPORT
#endif
LIPCAST_EXPORT const lipcast_plugin *lipcast_plugin_entry_v1(uint32_t host_major, uint32_t host_minor);

/* ---------------------------------------------------------------------------------------- extensions */

/* Draft: JSON messages to a session, for emotion and gesture. Not covered by the fingerprint. */
#define LIPCAST_EXTENSION_CONTROL "draft.control/1"
typedef struct lipcast_control_draft1 {
  uint32_t struct_size;
  uint32_t reserved;
  /* [session] UNSUPPORTED. */
  int32_t (*control)(lipcast_session *session, lipcast_str json, lipcast_status *status);
} lipcast_control_draft1;

/* -------------------------------------------------------------------------------------------- layout */

#ifdef __cplusplus
#define LIPCAST_STATIC_ASSERT static_assert
#else
#define LIPCAST_STATIC_ASSERT _Static_assert
#endif
#define LIPCAST_LAYOUT(type, size, last, offset)                                       \
  LIPCAST_STATIC_ASSERT(sizeof(type) == (size), #type " has another size");            \
  LIPCAST_STATIC_ASSERT(offsetof(type, last) == (offset), #type "." #last " lies elsewhere")
LIPCAST_LAYOUT(lipcast_str, 16, len, 8);
LIPCAST_LAYOUT(lipcast_bytes, 16, len, 8);
LIPCAST_LAYOUT(lipcast_status, 256, message, 16);
LIPCAST_LAYOUT(lipcast_text, 32, length, 24);
LIPCAST_LAYOUT(lipcast_rect, 16, height, 12);
LIPCAST_LAYOUT(lipcast_rgb_frame, 32, data_len, 24);
LIPCAST_LAYOUT(lipcast_avatar_info, 56, reserved, 52);
LIPCAST_LAYOUT(lipcast_frame_mask, 40, alpha_len, 32);
LIPCAST_LAYOUT(lipcast_session_params, 40, params_json, 24);
LIPCAST_LAYOUT(lipcast_request, 352, avatar_frame_used, 348);
LIPCAST_LAYOUT(lipcast_health, 256, message, 8);
LIPCAST_LAYOUT(lipcast_host, 80, get_extension, 72);
LIPCAST_LAYOUT(lipcast_avatar_source, 80, open_asset, 72);
LIPCAST_LAYOUT(lipcast_backend, 136, get_extension, 128);
LIPCAST_LAYOUT(lipcast_plugin, 160, backend, 152);

#ifdef __cplusplus
}
#endif

#endif /* LIPCAST_BACKEND_H */
