/*
 * A backend that keeps the contract, but for one thing: -DFAULT=... names it; without, it keeps all of it.
 *
 * It draws a square whose shade is how loud the last 400 ms, the frame and the next 80 ms are.
 */
#define _POSIX_C_SOURCE 200809L
#include "lipcast_backend.h"

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HONEST 0
#define CROSS_TALK 1      /* all sessions hear the same audio buffer */
#define BATCH_MEAN 2      /* a frame is a little like its neighbours in the batch */
#define PEEKS 3           /* hears 200 ms more than its look-ahead */
#define OVERRUNS 4        /* rounds the last row of larger batches up */
#define DEAF_RESET 5      /* a reset leaves the audio where it is */
#define ONE_AVATAR 6      /* all avatars live in one static place */
#define TRUSTING 7        /* uses what a blob says without looking */
#define LOCKED_HEALTH 8   /* health waits for the batch */
#define RESTLESS 9        /* never at rest */
#define LEAKS_SESSIONS 10 /* forgets a session's memory */
#define LOOSE_THREADS 11  /* leaves a thread behind in destroy */
#define EAGER 12          /* opens a file for its descriptor */
#define TALKATIVE 13      /* exports more than its entry */
#define HATES_NAN 14      /* a NaN is an index */
#define DEAF_CANCEL 15    /* does not look whether prepare is cancelled */
#define GREEDY_HOST 16    /* calls what it finds behind the host's table */
#define STAMPED_BLOB 17   /* writes the time into its blob */
#define LATE_SLIP 18      /* a late frame moves its motion */
#define BROKEN_DESTROY 19 /* falls over in destroy */
#define STICKY_AUDIO 20   /* the audio of a closed session is there for the next */
#define BACKWARDS 21      /* reports progress backwards */
#define WRONG_RECT 22     /* a result beyond max_rect */
#define FILLS_UP 23       /* a queue that stays full */
#define DROPS_AUDIO 24    /* a full queue drops what frames are still to hear */
#define STALE_RING 25     /* a reset leaves a tenth of a second of the audio where it is */
#ifndef FAULT
#define FAULT HONEST
#endif

#define NOBODY 1000u
#define KEPT 48000u
#define RATE 16000u
#define BEFORE 6400
#define AFTER 1280
#define TEXT(literal) {literal, sizeof(literal) - 1}

struct lipcast_instance {
  const lipcast_host *host;
  pthread_mutex_t drawing;
};

typedef struct blob_head {
  char magic[8];
  uint32_t width, height, fps_num, fps_den, frame_count, table;
} blob_head;

struct lipcast_avatar {
  blob_head head;
  lipcast_rect square;
  uint8_t shades[64];
};

typedef struct audio {
  uint64_t end;
  uint64_t wanted; /* no frame wants anything before this sample */
  float samples[KEPT];
} audio;

struct lipcast_session {
  lipcast_avatar *avatar;
  uint32_t fps_num, fps_den, slip;
  uint64_t pushed;
  audio *heard;
};

static lipcast_str text(const char *value) {
  lipcast_str str;
  str.ptr = value;
  str.len = strlen(value);
  return str;
}

static int32_t fail(lipcast_status *status, int32_t code, const char *message) {
  if (status != NULL) {
    status->code = code;
    strncpy(status->message, message, sizeof(status->message) - 1);
  }
  return code;
}

#if FAULT == LOOSE_THREADS
static void *sleeper(void *nothing) {
  for (;;) {
    pause();
  }
  return nothing;
}
#endif

static int32_t create(const lipcast_host *host, lipcast_str config, const lipcast_operation *operation,
                      lipcast_instance **out, lipcast_status *status) {
  lipcast_instance *instance;
  if (host->is_cancelled(host->ctx, operation)) {
    return fail(status, LIPCAST_CANCELLED, "cancelled by the host");
  }
  if (config.len > 4 && strstr(config.ptr, "no_such_setting") != NULL) {
    return fail(status, LIPCAST_INVALID_ARG, "an unknown setting");
  }
#if FAULT == GREEDY_HOST
  if (host->struct_size > sizeof(lipcast_host)) {
    void (*later)(void);
    memcpy(&later, host + 1, sizeof(later));
    later();
  }
#endif
  instance = calloc(1, sizeof(*instance));
  if (instance == NULL) {
    return fail(status, LIPCAST_OOM_HOST, "no memory");
  }
  instance->host = host;
  pthread_mutex_init(&instance->drawing, NULL);
#if FAULT == LOOSE_THREADS
  pthread_t thread;
  pthread_create(&thread, NULL, sleeper, NULL);
  pthread_detach(thread);
#endif
  host->progress(host->ctx, operation, 1000, text("ready"));
#if FAULT == BACKWARDS
  host->progress(host->ctx, operation, 400, text("not ready"));
#endif
  host->log(host->ctx, LIPCAST_LOG_INFO, text("liar"), text("the liar is ready"), text(""));
  *out = instance;
  return LIPCAST_OK;
}

static void destroy(lipcast_instance *instance) {
#if FAULT == BROKEN_DESTROY
  *(volatile int *)16 = 1;
#endif
  pthread_mutex_destroy(&instance->drawing);
  free(instance);
}

static int32_t describe(lipcast_instance *instance, lipcast_text *out, lipcast_status *status) {
  static const char json[] = "{\"device\":\"cpu\"}";
  (void)instance;
  (void)status;
  out->length = sizeof(json) - 1;
  if (out->length <= out->capacity) {
    memcpy(out->ptr, json, sizeof(json) - 1);
  }
  return LIPCAST_OK;
}

static int32_t prepare_avatar(lipcast_instance *instance, const lipcast_avatar_source *source, lipcast_str params,
                              lipcast_sink *sink, const lipcast_operation *operation, lipcast_status *status) {
  const lipcast_host *host = instance->host;
  struct {
    blob_head head;
    uint8_t shades[64];
  } made;
  lipcast_bytes bytes;
  uint32_t i;
  (void)params;
  memset(&made, 0, sizeof(made));
  memcpy(made.head.magic, "LIAR0001", 8);
  made.head.width = source->width;
  made.head.height = source->height;
  made.head.fps_num = source->fps_num;
  made.head.fps_den = source->fps_den;
  made.head.frame_count = source->frame_count;
  made.head.table = sizeof(blob_head);
  if (source->frame_count == 0 || source->frame_count > 64) {
    return fail(status, LIPCAST_UNSUPPORTED, "it takes 1 to 64 frames");
  }
  for (i = 0; i < source->frame_count; i++) {
    lipcast_rgb_frame frame;
    int32_t code = source->get_frame(source->ctx, i, &frame, status);
    if (code != LIPCAST_OK) {
      return code;
    }
    made.shades[i] = frame.data[frame.data_len / 2] / 8;
#if FAULT == DEAF_CANCEL
    struct timespec time = {0, 120000000};
    nanosleep(&time, NULL);
#else
    if (host->is_cancelled(host->ctx, operation)) {
      return fail(status, LIPCAST_CANCELLED, "cancelled by the host");
    }
#endif
    host->progress(host->ctx, operation, (i + 1) * 1000 / source->frame_count, text("frames"));
  }
#if FAULT == STAMPED_BLOB
  made.shades[63] = (uint8_t)(host->now_ns(host->ctx) >> 10);
#endif
  bytes.ptr = (const uint8_t *)&made;
  bytes.len = sizeof(made);
  if (host->blob_write(host->ctx, sink, bytes) != LIPCAST_OK) {
    return fail(status, LIPCAST_INTERNAL, "the host could not store the blob");
  }
  return LIPCAST_OK;
}

#if FAULT == ONE_AVATAR
static lipcast_avatar the_avatar;
#endif

static int32_t load_avatar(lipcast_instance *instance, lipcast_bytes blob, lipcast_avatar **out,
                           lipcast_status *status) {
  lipcast_avatar *avatar;
  blob_head head;
  (void)instance;
#if FAULT == TRUSTING
  memcpy(&head, blob.ptr, sizeof(head));
#else
  if (blob.len != sizeof(head) + 64) {
    return fail(status, LIPCAST_BLOB_INCOMPATIBLE, "not a blob of the liar");
  }
  memcpy(&head, blob.ptr, sizeof(head));
  if (memcmp(head.magic, "LIAR0001", 8) != 0 || head.width < 32 || head.width > 8192 || head.width % 2 != 0 ||
      head.height < 32 || head.height > 8192 || head.height % 2 != 0 || head.fps_num == 0 || head.fps_den == 0 ||
      head.frame_count == 0 || head.frame_count > 64 || head.table != sizeof(head)) {
    return fail(status, LIPCAST_BLOB_INCOMPATIBLE, "a blob with impossible numbers");
  }
#endif
#if FAULT == ONE_AVATAR
  avatar = &the_avatar;
#else
  avatar = calloc(1, sizeof(*avatar));
#endif
  if (avatar == NULL) {
    return fail(status, LIPCAST_OOM_HOST, "no memory");
  }
  avatar->head = head;
  memcpy(avatar->shades, blob.ptr + head.table, head.frame_count < 64 ? head.frame_count : 64);
  avatar->square.width = head.width / 8 * 2;
  avatar->square.height = head.height / 8 * 2;
  avatar->square.x = head.width / 8 * 2;
  avatar->square.y = head.height / 8 * 2;
  *out = avatar;
  return LIPCAST_OK;
}

static void unload_avatar(lipcast_avatar *avatar) {
#if FAULT != ONE_AVATAR
  free(avatar);
#else
  (void)avatar;
#endif
}

static int32_t avatar_info(lipcast_avatar *avatar, lipcast_avatar_info *out, lipcast_status *status) {
  (void)status;
  out->canvas_width = avatar->head.width;
  out->canvas_height = avatar->head.height;
  out->fps_num = avatar->head.fps_num;
  out->fps_den = avatar->head.fps_den;
  out->frame_count = avatar->head.frame_count;
  out->max_rect = avatar->square;
  out->idle = LIPCAST_IDLE_HOST;
  out->rest_policy = LIPCAST_REST_ASK;
  return LIPCAST_OK;
}

static int32_t frame_mask(lipcast_avatar *avatar, uint32_t frame, lipcast_frame_mask *out, lipcast_status *status) {
  if (frame >= avatar->head.frame_count) {
    return fail(status, LIPCAST_NOT_FOUND, "no such avatar frame");
  }
  out->rect = avatar->square;
  return LIPCAST_OK;
}

#if FAULT == CROSS_TALK || FAULT == STICKY_AUDIO
static audio shared;
#endif
#if FAULT == CROSS_TALK
static int open_sessions;
#endif

static int32_t open_session(lipcast_instance *instance, lipcast_avatar *avatar,
                            const lipcast_session_params *params, lipcast_session **out, lipcast_status *status) {
  lipcast_session *session;
  (void)instance;
  if (params->mode != LIPCAST_MODE_LIVE) {
    return fail(status, LIPCAST_UNSUPPORTED, "it keeps too little audio for a whole utterance");
  }
  session = calloc(1, sizeof(*session));
  if (session == NULL || (session->heard = calloc(1, sizeof(audio))) == NULL) {
    free(session);
    return fail(status, LIPCAST_OOM_HOST, "no memory");
  }
#if FAULT == STICKY_AUDIO
  memcpy(session->heard->samples, shared.samples, sizeof(shared.samples));
#endif
#if FAULT == CROSS_TALK
  if (open_sessions++ == 0) {
    memset(&shared, 0, sizeof(shared));
  }
#endif
  session->avatar = avatar;
  session->fps_num = params->fps_num;
  session->fps_den = params->fps_den;
  *out = session;
  return LIPCAST_OK;
}

static void close_session(lipcast_session *session) {
#if FAULT == CROSS_TALK
  open_sessions--;
#endif
#if FAULT == STICKY_AUDIO
  memcpy(shared.samples, session->heard->samples, sizeof(shared.samples));
#endif
#if FAULT != LEAKS_SESSIONS
  free(session->heard);
#endif
  free(session);
}

static audio *heard_by(lipcast_session *session) {
#if FAULT == CROSS_TALK
  (void)session;
  return &shared;
#else
  return session->heard;
#endif
}

static int32_t push_audio(lipcast_session *session, uint64_t first, const float *pcm, uint64_t count, uint32_t flags,
                          lipcast_status *status) {
  audio *heard = heard_by(session);
  uint64_t i;
  (void)flags;
  (void)status;
#if FAULT == FILLS_UP
  session->pushed += count;
  if (session->pushed > 2 * RATE) {
    return fail(status, LIPCAST_WOULD_BLOCK, "the queue is full");
  }
#endif
#if FAULT != CROSS_TALK
  if (first < heard->end) {
    return fail(status, LIPCAST_INVALID_ARG, "audio that goes back");
  }
#endif
#if FAULT != DROPS_AUDIO
  if (first > heard->end) {
    heard->wanted = first;
  }
  if (first + count > heard->wanted + KEPT) {
    return fail(status, LIPCAST_WOULD_BLOCK, "the queue is full");
  }
#endif
#if FAULT != STICKY_AUDIO && FAULT != STALE_RING
  if (first >= heard->end) {
    for (i = heard->end; i < first && i < heard->end + KEPT; i++) {
      heard->samples[i % KEPT] = 0;
    }
  }
#endif
  for (i = 0; i < count; i++) {
#if FAULT == HATES_NAN
    if (isnan(pcm[i])) {
      *(volatile int *)32 = 1;
    }
#endif
    heard->samples[(first + i) % KEPT] = pcm[i];
  }
  heard->end = first + count;
  return LIPCAST_OK;
}

static int32_t reset(lipcast_session *session, uint32_t epoch, lipcast_status *status) {
  (void)epoch;
  (void)status;
  session->slip = 0;
  session->pushed = 0;
#if FAULT == DEAF_RESET
  return LIPCAST_OK;
#else
#if FAULT == STALE_RING
  float left[1600];
  memcpy(left, session->heard->samples + 4800, sizeof(left));
#endif
  memset(heard_by(session), 0, sizeof(audio));
#if FAULT == STALE_RING
  memcpy(session->heard->samples + 4800, left, sizeof(left));
#endif
  return LIPCAST_OK;
#endif
}

static int64_t first_sample(const lipcast_session *session, uint64_t frame) {
  return (int64_t)(frame * RATE * session->fps_den / session->fps_num);
}

/* From 0 to 200; 0 where there is nothing to hear. */
static uint32_t shade_of(lipcast_session *session, uint64_t frame) {
  audio *heard = heard_by(session);
  int64_t from = first_sample(session, frame) - BEFORE;
  int64_t until = first_sample(session, frame + 1) + AFTER;
  double sum = 0;
  int64_t i;
#if FAULT == PEEKS
  until += 3200;
#endif
  heard->wanted = from < 0 ? 0 : from;
  for (i = from < 0 ? 0 : from; i < until && i < (int64_t)heard->end; i++) {
    float sample = i + (int64_t)KEPT >= (int64_t)heard->end ? heard->samples[i % KEPT] : 0;
    if (isfinite(sample)) {
      sum += (sample < 0 ? -sample : sample) < 1 ? (sample < 0 ? -sample : sample) : 1;
    }
  }
  return (uint32_t)(200 * sqrt(sum / (until - from)));
}

static uint32_t draw(lipcast_request *request, uint32_t count, uint32_t neighbour) {
  lipcast_session *session = request->session;
  lipcast_rect square = session->avatar->square;
  uint64_t bytes = (uint64_t)square.width * square.height * 3;
  uint32_t shade = shade_of(session, request->frame);
  uint32_t own = shade;
  (void)own;
  if (bytes > request->slot_len) {
    fail(&request->status, LIPCAST_INVALID_ARG, "the slot is smaller than max_rect");
    return 0;
  }
  shade += session->avatar->shades[request->avatar_frame % 64];
#if FAULT == BATCH_MEAN
  shade = neighbour == NOBODY ? shade : (shade * 3 + neighbour) / 4;
#endif
#if FAULT == LATE_SLIP
  if (request->flags & LIPCAST_REQUEST_DISCARD_OK) {
    session->slip += 3;
  }
  shade += session->slip;
#endif
  (void)neighbour;
  memset(request->slot, (int)(shade & 255), bytes);
#if FAULT == OVERRUNS
  if (count > 2) {
    memset(request->slot + request->slot_len, 0, 16);
  }
#endif
  (void)count;
  request->rect = square;
#if FAULT == WRONG_RECT
  request->rect.width += 2;
#endif
  request->format = LIPCAST_FORMAT_RGB24;
  request->alpha = LIPCAST_ALPHA_STATIC;
  request->avatar_frame_used = request->avatar_frame;
#if FAULT != RESTLESS
  if (own == 0) {
    request->result_flags = LIPCAST_RESULT_AT_REST;
  }
#endif
  return shade;
}

static int32_t infer_batch(lipcast_instance *instance, lipcast_request *const *requests, uint32_t count,
                           lipcast_status *status) {
  uint32_t i, shade = 0;
  (void)status;
  pthread_mutex_lock(&instance->drawing);
  for (i = 0; i < count; i++) {
    int stranger = i > 0 && requests[i - 1]->session != requests[i]->session;
    shade = draw(requests[i], count, stranger ? shade : NOBODY);
  }
#if FAULT == LOCKED_HEALTH
  struct timespec time = {0, 40000000};
  nanosleep(&time, NULL);
#endif
  pthread_mutex_unlock(&instance->drawing);
  return LIPCAST_OK;
}

static void health(lipcast_instance *instance, lipcast_health *out) {
#if FAULT == LOCKED_HEALTH
  pthread_mutex_lock(&instance->drawing);
  pthread_mutex_unlock(&instance->drawing);
#else
  (void)instance;
#endif
  out->state = LIPCAST_HEALTH_OK;
}

static const lipcast_backend backend = {
    sizeof(lipcast_backend),
    0,
    create,
    destroy,
    describe,
    prepare_avatar,
    load_avatar,
    unload_avatar,
    avatar_info,
    frame_mask,
    open_session,
    close_session,
    push_audio,
    reset,
    infer_batch,
    health,
    describe,
    NULL,
};

static const lipcast_plugin plugin = {
    LIPCAST_MAGIC,
    sizeof(lipcast_plugin),
    LIPCAST_API_MAJOR,
    LIPCAST_API_MINOR,
    LIPCAST_ABI_FINGERPRINT,
    TEXT("org.example.liar"),
    TEXT("Liar"),
    TEXT("1.0.0"),
    TEXT("nobody"),
    TEXT("MIT OR Apache-2.0"),
    TEXT(""),
    TEXT("{\"max_batch\": 4, \"deterministic\": true, \"lookahead_ms\": 80, \"lookbehind_ms\": 400,"
         " \"prepare\": {\"frames\": true}}"),
    TEXT(""),
    &backend,
};

#if FAULT == TALKATIVE
LIPCAST_EXPORT int helper_of_the_liar(void) { return 1; }
#endif

LIPCAST_EXPORT const lipcast_plugin *lipcast_plugin_entry_v1(uint32_t host_major, uint32_t host_minor) {
  (void)host_major;
  (void)host_minor;
#if FAULT == EAGER
  static int file = -1;
  if (file < 0) {
    file = open("/etc/hostname", O_RDONLY | O_CLOEXEC);
  }
#endif
  return &plugin;
}
