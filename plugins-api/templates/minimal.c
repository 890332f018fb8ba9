/*
 * The smallest whole backend in C, also as C++: a square in the middle of the picture that is as bright as the
 * voice is loud. Copy it to begin; docs/plugin-abi.md explains.
 */
#include "lipcast_backend.h"

#include <stdlib.h>
#include <string.h>

struct lipcast_instance {
  const lipcast_host *host;
};

/* All of it is the blob: it is written and read as it stands. */
typedef struct numbers {
  uint32_t width;
  uint32_t height;
  uint32_t fps_num;
  uint32_t fps_den;
  uint32_t frame_count;
} numbers;

struct lipcast_avatar {
  numbers canvas;
  lipcast_rect square;
};

/* It keeps 12 seconds of audio. A live session pushes little more than a frame ahead of what it asks for; but after a
 * machine stood still all comes at once, and only after ten seconds the server gives up on what was not answered. A
 * whole utterance is not taken (open_session). */
#define KEPT 192000u

struct lipcast_session {
  const lipcast_avatar *avatar;
  uint32_t fps_num;
  uint32_t fps_den;
  uint64_t end;    /* the sample after the last one */
  uint64_t wanted; /* no frame wants anything before this sample */
  float samples[KEPT];
};

/* Static tables are written out, never filled in: the entry may be called from several threads. */
#define TEXT(literal) {literal, sizeof(literal) - 1}

static lipcast_str text(const char *value) {
  lipcast_str str;
  str.ptr = value;
  str.len = (uint64_t)strlen(value);
  return str;
}

static int32_t fail(lipcast_status *status, int32_t code, const char *message) {
  if (status != NULL) {
    status->code = code;
    strncpy(status->message, message, sizeof(status->message) - 1);
  }
  return code;
}

static int32_t create(const lipcast_host *host, lipcast_str config_json, const lipcast_operation *operation,
                      lipcast_instance **out, lipcast_status *status) {
  lipcast_instance *instance = (lipcast_instance *)malloc(sizeof(*instance));
  (void)config_json;
  if (instance == NULL) {
    return fail(status, LIPCAST_OOM_HOST, "no memory for the instance");
  }
  instance->host = host;
  host->progress(host->ctx, operation, 1000, text("ready"));
  host->log(host->ctx, LIPCAST_LOG_INFO, text("minimal-c"), text("ready"), text(""));
  *out = instance;
  return LIPCAST_OK;
}

static void destroy(lipcast_instance *instance) { free(instance); }

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

static int32_t prepare_avatar(lipcast_instance *instance, const lipcast_avatar_source *source,
                              lipcast_str params_json, lipcast_sink *sink, const lipcast_operation *operation,
                              lipcast_status *status) {
  const lipcast_host *host = instance->host;
  numbers made;
  lipcast_bytes bytes;
  (void)params_json;
  if (host->is_cancelled(host->ctx, operation)) {
    return fail(status, LIPCAST_CANCELLED, "cancelled by the host");
  }
  made.width = source->width;
  made.height = source->height;
  made.fps_num = source->fps_num;
  made.fps_den = source->fps_den;
  made.frame_count = source->frame_count;
  bytes.ptr = (const uint8_t *)&made;
  bytes.len = sizeof(made);
  if (host->blob_write(host->ctx, sink, bytes) != LIPCAST_OK) {
    return fail(status, LIPCAST_INTERNAL, "the host could not store the blob");
  }
  return LIPCAST_OK;
}

/* A blob may be anything: it has been on a disk. */
static int is_sound(const numbers *canvas) {
  return canvas->width >= 16 && canvas->width <= 8192 && canvas->width % 2 == 0 && canvas->height >= 16 &&
         canvas->height <= 8192 && canvas->height % 2 == 0 && canvas->fps_num > 0 && canvas->fps_den > 0 &&
         canvas->frame_count > 0;
}

static int32_t load_avatar(lipcast_instance *instance, lipcast_bytes blob, lipcast_avatar **out,
                           lipcast_status *status) {
  lipcast_avatar *avatar;
  numbers found;
  (void)instance;
  if (blob.len != sizeof(found)) {
    return fail(status, LIPCAST_BLOB_INCOMPATIBLE, "not a blob of minimal-c");
  }
  memcpy(&found, blob.ptr, sizeof(found));
  if (!is_sound(&found)) {
    return fail(status, LIPCAST_BLOB_INCOMPATIBLE, "a blob with impossible numbers");
  }
  avatar = (lipcast_avatar *)malloc(sizeof(*avatar));
  if (avatar == NULL) {
    return fail(status, LIPCAST_OOM_HOST, "no memory for the avatar");
  }
  avatar->canvas = found;
  avatar->square.width = found.width / 4 * 2;
  avatar->square.height = found.height / 4 * 2;
  avatar->square.x = found.width / 8 * 2;
  avatar->square.y = found.height / 8 * 2;
  *out = avatar;
  return LIPCAST_OK;
}

static void unload_avatar(lipcast_avatar *avatar) { free(avatar); }

static int32_t avatar_info(lipcast_avatar *avatar, lipcast_avatar_info *out, lipcast_status *status) {
  (void)status;
  out->canvas_width = avatar->canvas.width;
  out->canvas_height = avatar->canvas.height;
  out->fps_num = avatar->canvas.fps_num;
  out->fps_den = avatar->canvas.fps_den;
  out->frame_count = avatar->canvas.frame_count;
  out->max_rect = avatar->square;
  out->idle = LIPCAST_IDLE_HOST;
  out->rest_policy = LIPCAST_REST_AT_ONCE;
  return LIPCAST_OK;
}

static int32_t frame_mask(lipcast_avatar *avatar, uint32_t frame, lipcast_frame_mask *out,
                          lipcast_status *status) {
  if (frame >= avatar->canvas.frame_count) {
    return fail(status, LIPCAST_NOT_FOUND, "no such avatar frame");
  }
  out->rect = avatar->square;
  out->alpha = NULL;
  out->alpha_len = 0;
  return LIPCAST_OK;
}

static int32_t open_session(lipcast_instance *instance, lipcast_avatar *avatar,
                            const lipcast_session_params *params, lipcast_session **out,
                            lipcast_status *status) {
  lipcast_session *session;
  (void)instance;
  if (params->mode != LIPCAST_MODE_LIVE) {
    return fail(status, LIPCAST_UNSUPPORTED, "it keeps too little audio for a whole utterance");
  }
  session = (lipcast_session *)calloc(1, sizeof(*session));
  if (session == NULL) {
    return fail(status, LIPCAST_OOM_HOST, "no memory for the session");
  }
  session->avatar = avatar;
  session->fps_num = params->fps_num;
  session->fps_den = params->fps_den;
  *out = session;
  return LIPCAST_OK;
}

static void close_session(lipcast_session *session) { free(session); }

static int32_t push_audio(lipcast_session *session, uint64_t first_sample, const float *pcm, uint64_t count,
                          uint32_t flags, lipcast_status *status) {
  uint64_t i;
  (void)flags;
  if (first_sample < session->end) {
    return fail(status, LIPCAST_INVALID_ARG, "audio that goes back");
  }
  if (first_sample > session->end) {
    session->wanted = first_sample; /* A gap: a new run, which needs nothing of the one before. */
  }
  if (first_sample + count > session->wanted + KEPT) {
    return fail(status, LIPCAST_WOULD_BLOCK, "the queue is full"); /* Nothing that waits is overwritten. */
  }
  if (first_sample - session->end >= KEPT) {
    memset(session->samples, 0, sizeof(session->samples));
  } else {
    for (i = session->end; i < first_sample; i++) {
      session->samples[i % KEPT] = 0;
    }
  }
  for (i = 0; i < count; i++) {
    session->samples[(first_sample + i) % KEPT] = pcm[i];
  }
  session->end = first_sample + count;
  return LIPCAST_OK;
}

static int32_t reset(lipcast_session *session, uint32_t epoch, lipcast_status *status) {
  (void)epoch;
  (void)status;
  session->end = session->wanted = 0;
  memset(session->samples, 0, sizeof(session->samples));
  return LIPCAST_OK;
}

static uint64_t first_sample_of(const lipcast_session *session, uint64_t frame) {
  return frame * 16000 * session->fps_den / session->fps_num;
}

static void draw(lipcast_request *request) {
  lipcast_session *session = request->session;
  lipcast_rect square = session->avatar->square;
  uint64_t bytes = (uint64_t)square.width * square.height * 3;
  uint64_t end = first_sample_of(session, request->frame + 1);
  float peak = 0;
  uint64_t i;
  session->wanted = first_sample_of(session, request->frame);
  for (i = session->wanted; i < end && i < session->end; i++) {
    float sample = session->samples[i % KEPT];
    float loud = sample < 0 ? -sample : sample;
    peak = loud > peak ? loud : peak;
  }
  if (bytes > request->slot_len) {
    fail(&request->status, LIPCAST_INVALID_ARG, "the slot is smaller than max_rect");
    return;
  }
  memset(request->slot, (int)((peak < 1 ? peak : 1) * 255), (size_t)bytes);
  request->rect = square;
  request->format = LIPCAST_FORMAT_RGB24;
  request->alpha = LIPCAST_ALPHA_STATIC;
  request->avatar_frame_used = request->avatar_frame;
  if (peak == 0) {
    request->result_flags = LIPCAST_RESULT_AT_REST;
  }
}

static int32_t infer_batch(lipcast_instance *instance, lipcast_request *const *requests, uint32_t count,
                           lipcast_status *status) {
  uint32_t i;
  (void)instance;
  (void)status;
  for (i = 0; i < count; i++) {
    draw(requests[i]);
  }
  return LIPCAST_OK;
}

static void health(lipcast_instance *instance, lipcast_health *out) {
  (void)instance;
  out->state = LIPCAST_HEALTH_OK;
}

static int32_t stats(lipcast_instance *instance, lipcast_text *out, lipcast_status *status) {
  return describe(instance, out, status);
}

static const void *get_extension(lipcast_str id) {
  (void)id;
  return NULL;
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
    stats,
    get_extension,
};

static const lipcast_plugin plugin = {
    LIPCAST_MAGIC,
    sizeof(lipcast_plugin),
    LIPCAST_API_MAJOR,
    LIPCAST_API_MINOR,
    LIPCAST_ABI_FINGERPRINT,
    TEXT("org.example.minimal-c"),
    TEXT("Minimal in C"),
    TEXT("1.2.3"),
    TEXT("you"),
    TEXT("MIT OR Apache-2.0"),
    TEXT(""),
    TEXT("{\"max_batch\": 4, \"deterministic\": true}"),
    TEXT(""),
    &backend,
};

LIPCAST_EXPORT const lipcast_plugin *lipcast_plugin_entry_v1(uint32_t host_major, uint32_t host_minor) {
  (void)host_major;
  (void)host_minor;
  return &plugin;
}
