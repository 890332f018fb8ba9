/*
 * The smallest whole backend in C, also as C++: a canvas without source frames, as bright as the voice is
 * loud, on a transparent ground. It draws the idle picture too. Copy it to begin; docs/plugin-abi.md explains.
 *
 * The tests build it in variants, through the macros that begin with VARIANT_.
 */
#include "lipcast_backend.h"

#include <stdlib.h>
#include <string.h>

#ifndef VARIANT_MAJOR
#define VARIANT_MAJOR LIPCAST_API_MAJOR
#endif
#ifndef VARIANT_MINOR
#define VARIANT_MINOR LIPCAST_API_MINOR
#endif
#ifndef VARIANT_FINGERPRINT
#define VARIANT_FINGERPRINT LIPCAST_ABI_FINGERPRINT
#endif
#ifndef VARIANT_TABLE_SIZE
#define VARIANT_TABLE_SIZE sizeof(lipcast_backend)
#endif
#ifndef VARIANT_ENTRY
#define VARIANT_ENTRY lipcast_plugin_entry_v1
#endif

struct lipcast_instance {
  const lipcast_host *host;
};

struct lipcast_avatar {
  uint32_t numbers[4]; /* width, height, fps_num, fps_den */
};

/* It keeps one second of audio, which is enough for any frame it is asked for. */
#define KEPT 16000u

struct lipcast_session {
  const lipcast_avatar *avatar;
  uint32_t fps_num;
  uint32_t fps_den;
  uint64_t end; /* the sample after the last one */
  float samples[KEPT];
};

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
  uint32_t numbers[4];
  lipcast_bytes bytes;
  (void)params_json;
  if (host->is_cancelled(host->ctx, operation)) {
    return fail(status, LIPCAST_CANCELLED, "cancelled by the host");
  }
  numbers[0] = source->width;
  numbers[1] = source->height;
  numbers[2] = source->fps_num;
  numbers[3] = source->fps_den;
  bytes.ptr = (const uint8_t *)numbers;
  bytes.len = sizeof(numbers);
  return host->blob_write(host->ctx, sink, bytes);
}

static int32_t load_avatar(lipcast_instance *instance, lipcast_bytes blob, lipcast_avatar **out,
                           lipcast_status *status) {
  lipcast_avatar *avatar;
  (void)instance;
  if (blob.len != sizeof(avatar->numbers)) {
    return fail(status, LIPCAST_BLOB_INCOMPATIBLE, "not a blob of minimal-c");
  }
  avatar = (lipcast_avatar *)malloc(sizeof(*avatar));
  if (avatar == NULL) {
    return fail(status, LIPCAST_OOM_HOST, "no memory for the avatar");
  }
  memcpy(avatar->numbers, blob.ptr, sizeof(avatar->numbers));
  *out = avatar;
  return LIPCAST_OK;
}

static void unload_avatar(lipcast_avatar *avatar) { free(avatar); }

static int32_t avatar_info(lipcast_avatar *avatar, lipcast_avatar_info *out, lipcast_status *status) {
  (void)status;
  out->canvas_width = avatar->numbers[0];
  out->canvas_height = avatar->numbers[1];
  out->fps_num = avatar->numbers[2];
  out->fps_den = avatar->numbers[3];
  out->frame_count = 0;
  out->max_rect.x = 0;
  out->max_rect.y = 0;
  out->max_rect.width = avatar->numbers[0];
  out->max_rect.height = avatar->numbers[1];
  out->idle = LIPCAST_IDLE_BACKEND;
  out->rest_policy = LIPCAST_REST_ASK;
  return LIPCAST_OK;
}

static int32_t frame_mask(lipcast_avatar *avatar, uint32_t frame, lipcast_frame_mask *out,
                          lipcast_status *status) {
  (void)avatar;
  (void)frame;
  (void)out;
  return fail(status, LIPCAST_NOT_FOUND, "there are no avatar frames");
}

static int32_t open_session(lipcast_instance *instance, lipcast_avatar *avatar,
                            const lipcast_session_params *params, lipcast_session **out,
                            lipcast_status *status) {
  lipcast_session *session = (lipcast_session *)calloc(1, sizeof(*session));
  (void)instance;
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
  session->end = 0;
  memset(session->samples, 0, sizeof(session->samples));
  return LIPCAST_OK;
}

static uint64_t first_sample_of(const lipcast_session *session, uint64_t frame) {
  return frame * 16000 * session->fps_den / session->fps_num;
}

static void draw(lipcast_request *request) {
  const lipcast_session *session = request->session;
  const uint32_t *numbers = session->avatar->numbers;
  uint64_t pixels = (uint64_t)numbers[0] * numbers[1];
  uint64_t end = first_sample_of(session, request->frame + 1);
  float peak = 0;
  uint64_t i;
  for (i = first_sample_of(session, request->frame); i < end && i < session->end; i++) {
    float sample = session->samples[i % KEPT];
    float loud = sample < 0 ? -sample : sample;
    peak = loud > peak ? loud : peak;
  }
  request->avatar_frame_used = 0;
  if (peak == 0 && !(request->flags & LIPCAST_REQUEST_FIRST)) {
    request->result_flags = LIPCAST_RESULT_UNCHANGED | LIPCAST_RESULT_AT_REST;
    return;
  }
  if (pixels * 4 > request->slot_len) {
    fail(&request->status, LIPCAST_INVALID_ARG, "the slot is smaller than max_rect");
    return;
  }
  memset(request->slot, (int)(peak * 255), (size_t)(pixels * 4));
  request->rect.x = 0;
  request->rect.y = 0;
  request->rect.width = numbers[0];
  request->rect.height = numbers[1];
  request->format = LIPCAST_FORMAT_RGBA;
  request->alpha = LIPCAST_ALPHA_INLINE;
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

/* A table of a later minor: it goes on where this header's ends. */
typedef struct longer_table {
  lipcast_backend known;
  const void *later[4];
} longer_table;

LIPCAST_EXPORT const lipcast_plugin *VARIANT_ENTRY(uint32_t host_major, uint32_t host_minor) {
  static longer_table table;
  static lipcast_plugin plugin;
  (void)host_major;
  (void)host_minor;

  table.known.struct_size = (uint32_t)(VARIANT_TABLE_SIZE);
  table.known.create = create;
  table.known.destroy = destroy;
  table.known.describe = describe;
  table.known.prepare_avatar = prepare_avatar;
  table.known.load_avatar = load_avatar;
  table.known.unload_avatar = unload_avatar;
  table.known.avatar_info = avatar_info;
  table.known.frame_mask = frame_mask;
  table.known.open_session = open_session;
  table.known.close_session = close_session;
  table.known.push_audio = push_audio;
  table.known.reset = reset;
  table.known.infer_batch = infer_batch;
  table.known.health = health;
  table.known.stats = stats;
  table.known.get_extension = get_extension;

  plugin.magic = LIPCAST_MAGIC;
  plugin.struct_size = (uint32_t)sizeof(plugin);
  plugin.api_major = VARIANT_MAJOR;
  plugin.api_minor = VARIANT_MINOR;
  plugin.abi_fingerprint = VARIANT_FINGERPRINT;
  plugin.id = text("org.example.minimal-c");
  plugin.name = text("Minimal in C");
  plugin.version = text("1.2.3");
  plugin.vendor = text("you");
  plugin.license = text("MIT OR Apache-2.0");
  plugin.url = text("");
  plugin.capabilities_json = text("{\"max_batch\": 4, \"deterministic\": true}");
  plugin.declined = text("");
  plugin.backend = &table.known;
#ifdef VARIANT_DECLINED
  plugin.declined = text(VARIANT_DECLINED);
  plugin.backend = NULL;
#endif
  return &plugin;
}
