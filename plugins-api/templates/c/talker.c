/*
 * A backend for Lipcast: the mouth opens as far as the voice is loud.
 *
 * An avatar's frames come in once and become a blob; the blob comes back as a loaded avatar; then 16 kHz speech comes
 * in and patches go out, 25 times a second. The functions stand in that order; lipcast_backend.h explains each. It is
 * C11, and C++17 as it stands. In C++ catch every exception before it leaves a function: LIPCAST_BACKEND_PANIC.
 */
#include "lipcast_backend.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------- objects */

/* One loaded backend. A model would keep its weights here. */
struct lipcast_instance {
  const lipcast_host *host;
};

/* A blob is a head, then for each frame a mouth and its RGBA pixels. Change the magic when that changes, and
 * blob_version at the end of this file with it. */
typedef struct blob_head {
  uint32_t magic, width, height, fps_num, fps_den, count;
} blob_head;

typedef struct mouth {
  lipcast_rect rect;    /* on the canvas, even; empty: no face was found */
  uint32_t line;        /* row between the lips, below the rect's top */
  uint32_t left, right; /* columns of the mouth's corners */
} mouth;

#define MAGIC UINT32_C(0x314B4C54) /* "TLK1" */

/* A person, shared by all sessions that show it. */
struct lipcast_avatar {
  blob_head head;
  lipcast_rect max_rect;
  mouth *mouths;
  uint8_t **pixels; /* 4 * width * height bytes each, R, G, B, A; inside `blob` */
  uint8_t *blob;
};

/* Audio before a frame that is listened to: 40 ms at 16 kHz. */
#define BEFORE 640
/* Samples that are kept at most: 12 s. A live session pushes little further than it asks; but after a machine stood
 * still all comes at once, and only after ten seconds the server gives up on what was not answered. */
#define KEPT 192000u

/* One performance. */
struct lipcast_session {
  const lipcast_avatar *avatar;
  uint32_t fps_num, fps_den;
  uint64_t end;    /* the sample after the last one */
  uint64_t run;    /* the first sample of the run of speech that was pushed last */
  uint64_t wanted; /* no frame wants anything before this sample */
  int ended;       /* the last push said that nothing follows */
  float samples[KEPT];
};

static int32_t fail(lipcast_status *status, int32_t code, const char *message) {
  if (status != NULL) {
    status->code = code;
    strncpy(status->message, message, sizeof(status->message) - 1);
  }
  return code;
}

static lipcast_str text(const char *value) {
  lipcast_str str;
  str.ptr = value;
  str.len = (uint64_t)strlen(value);
  return str;
}

/* ------------------------------------------------------------------------------------------ instance */

/* Loads weights and warms up. It may take minutes: report progress, look at is_cancelled. */
static int32_t create(const lipcast_host *host, lipcast_str config_json, const lipcast_operation *operation,
                      lipcast_instance **out, lipcast_status *status) {
  lipcast_instance *instance;
  uint64_t i;
  (void)operation;
  /* It has no settings: empty, null and {} are all right. A JSON library belongs here once it has. */
  for (i = 0; i < config_json.len; i++) {
    if (strchr("nul{} \t\r\n", config_json.ptr[i]) == NULL) {
      return fail(status, LIPCAST_INVALID_ARG, "talker has no settings");
    }
  }
  instance = (lipcast_instance *)malloc(sizeof(*instance));
  if (instance == NULL) {
    return fail(status, LIPCAST_OOM_HOST, "no memory for the instance");
  }
  instance->host = host;
  host->log(host->ctx, LIPCAST_LOG_INFO, text("talker"), text("ready"), text(""));
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

static void health(lipcast_instance *instance, lipcast_health *out) {
  (void)instance;
  out->state = LIPCAST_HEALTH_OK;
}

/* -------------------------------------------------------------------------------------------- avatar */

static uint32_t even(float value, uint32_t limit) {
  uint32_t whole = value > 0 ? (value < (float)limit ? (uint32_t)value : limit) : 0;
  return whole / 2 * 2;
}

static uint32_t column(float x, uint32_t x0, uint32_t x1) {
  return (x > (float)x0 ? (x < (float)x1 ? (uint32_t)x : x1) : x0) - x0;
}

/* Where the mouth is, from 68 landmarks as x, y pairs. 0: too small, or outside. */
static int find(const float p[136], uint32_t width, uint32_t height, mouth *out) {
  /* 48 and 54 are the corners, 62 and 66 the middle of the inner lips. */
  float left = p[2 * 48], right = p[2 * 54], line = (p[2 * 62 + 1] + p[2 * 66 + 1]) / 2, size = right - left;
  uint32_t x0 = even(left - size / 2, width), x1 = even(right + size / 2, width);
  uint32_t y0 = even(line - size * 0.3f, height), y1 = even(line + size, height);
  if (x1 < x0 + 16 || y1 < y0 + 16 || !(line > (float)y0 && line + 8 < (float)y1)) {
    return 0;
  }
  out->rect.x = x0;
  out->rect.y = y0;
  out->rect.width = x1 - x0;
  out->rect.height = y1 - y0;
  out->line = (uint32_t)line - y0;
  out->left = column(left, x0, x1);
  out->right = column(right, x0, x1);
  return 1;
}

/* The pixels of rect; the alpha fades over a sixth of the width at the edges, so that no seam shows. */
static void cut(const lipcast_rgb_frame *frame, lipcast_rect rect, uint8_t *out) {
  uint32_t x, y, fade = rect.width / 6;
  for (y = 0; y < rect.height; y++) {
    const uint8_t *in = frame->data + (size_t)(rect.y + y) * frame->stride + 3 * (size_t)rect.x;
    uint32_t to_edge_y = y < rect.height - 1 - y ? y : rect.height - 1 - y;
    for (x = 0; x < rect.width; x++, in += 3, out += 4) {
      uint32_t to_edge = x < rect.width - 1 - x ? x : rect.width - 1 - x;
      to_edge = to_edge < to_edge_y ? to_edge : to_edge_y;
      memcpy(out, in, 3);
      out[3] = (uint8_t)(255 * (to_edge < fade ? to_edge : fade) / fade);
    }
  }
}

static int32_t write(const lipcast_host *host, lipcast_sink *sink, const void *data, size_t len) {
  lipcast_bytes bytes;
  bytes.ptr = (const uint8_t *)data;
  bytes.len = len;
  return host->blob_write(host->ctx, sink, bytes);
}

/* Frames in, blob out: once per avatar. A frame without a face is no error; nothing is painted there. */
static int32_t prepare_avatar(lipcast_instance *instance, const lipcast_avatar_source *source,
                              lipcast_str params_json, lipcast_sink *sink, const lipcast_operation *operation,
                              lipcast_status *status) {
  const lipcast_host *host = instance->host;
  blob_head start = {MAGIC, source->width, source->height, source->fps_num, source->fps_den, source->frame_count};
  int32_t code = write(host, sink, &start, sizeof(start));
  uint32_t i;
  (void)params_json;
  for (i = 0; i < source->frame_count && code == LIPCAST_OK; i++) {
    float points[136];
    mouth found;
    if (host->is_cancelled(host->ctx, operation)) {
      return fail(status, LIPCAST_CANCELLED, "cancelled by the host");
    }
    memset(&found, 0, sizeof(found));
    if (source->get_landmarks(source->ctx, i, &points) != LIPCAST_OK ||
        !find(points, source->width, source->height, &found)) {
      code = write(host, sink, &found, sizeof(found));
    } else {
      size_t size = (size_t)4 * found.rect.width * found.rect.height;
      uint8_t *rgba = (uint8_t *)malloc(size);
      lipcast_rgb_frame frame;
      memset(&frame, 0, sizeof(frame));
      frame.struct_size = sizeof(frame);
      if (rgba == NULL) {
        return fail(status, LIPCAST_OOM_HOST, "no memory for a mouth");
      }
      code = source->get_frame(source->ctx, i, &frame, status);
      if (code != LIPCAST_OK) {
        free(rgba);
        return code;
      }
      cut(&frame, found.rect, rgba);
      code = write(host, sink, &found, sizeof(found));
      code = code == LIPCAST_OK ? write(host, sink, rgba, size) : code;
      free(rgba);
    }
    host->progress(host->ctx, operation, 1000 * (i + 1) / source->frame_count, text("mouths"));
  }
  return code == LIPCAST_OK ? code : fail(status, code, "the host could not store the blob");
}

static void unload_avatar(lipcast_avatar *avatar) {
  if (avatar != NULL) {
    free(avatar->mouths);
    free(avatar->pixels);
    free(avatar->blob);
    free(avatar);
  }
}

static int is_side(uint32_t length) { return length >= 2 && length <= 8192 && length % 2 == 0; }

/* The blob has been on a disk: believe none of it. */
static int read_blob(lipcast_avatar *avatar, uint64_t len) {
  blob_head *h = &avatar->head;
  uint64_t at = sizeof(*h);
  uint32_t i, x1 = 0, y1 = 0;
  lipcast_rect *max = &avatar->max_rect;
  memcpy(h, avatar->blob, sizeof(*h));
  /* A rate that nobody films at would make frames of millions of samples. */
  if (h->magic != MAGIC || !is_side(h->width) || !is_side(h->height) || h->fps_den == 0 ||
      h->fps_num / h->fps_den < 1 || h->fps_num / h->fps_den > 240 || h->count == 0 ||
      h->count > len / sizeof(mouth)) {
    return 0;
  }
  avatar->mouths = (mouth *)calloc(h->count, sizeof(mouth));
  avatar->pixels = (uint8_t **)calloc(h->count, sizeof(uint8_t *));
  if (avatar->mouths == NULL || avatar->pixels == NULL) {
    return 0;
  }
  max->x = h->width;
  max->y = h->height;
  for (i = 0; i < h->count; i++) {
    mouth *m = &avatar->mouths[i];
    lipcast_rect *r = &m->rect;
    uint64_t size;
    if (at + sizeof(*m) > len) {
      return 0;
    }
    memcpy(m, avatar->blob + at, sizeof(*m));
    at += sizeof(*m);
    if (r->width == 0) {
      continue;
    }
    size = (uint64_t)4 * r->width * r->height;
    if ((r->x | r->y | r->width | r->height) % 2 != 0 || (uint64_t)r->x + r->width > h->width ||
        (uint64_t)r->y + r->height > h->height || m->line >= r->height || m->left > m->right ||
        m->right > r->width || size > len - at) {
      return 0;
    }
    avatar->pixels[i] = avatar->blob + at;
    at += size;
    /* Slots are as large as max_rect: the smallest rectangle around all mouths. */
    max->x = r->x < max->x ? r->x : max->x;
    max->y = r->y < max->y ? r->y : max->y;
    x1 = r->x + r->width > x1 ? r->x + r->width : x1;
    y1 = r->y + r->height > y1 ? r->y + r->height : y1;
  }
  if (x1 == 0) {
    max->x = max->y = 0;
    x1 = y1 = 2;
  }
  max->width = x1 - max->x;
  max->height = y1 - max->y;
  return at == len;
}

/* Blob in, avatar out. */
static int32_t load_avatar(lipcast_instance *instance, lipcast_bytes blob, lipcast_avatar **out,
                           lipcast_status *status) {
  lipcast_avatar *avatar;
  (void)instance;
  if (blob.len < sizeof(blob_head)) {
    return fail(status, LIPCAST_BLOB_INCOMPATIBLE, "not a blob of talker");
  }
  avatar = (lipcast_avatar *)calloc(1, sizeof(*avatar));
  if (avatar == NULL || (avatar->blob = (uint8_t *)malloc(blob.len)) == NULL) {
    unload_avatar(avatar);
    return fail(status, LIPCAST_OOM_HOST, "no memory for the avatar");
  }
  memcpy(avatar->blob, blob.ptr, blob.len);
  if (!read_blob(avatar, blob.len)) {
    unload_avatar(avatar);
    return fail(status, LIPCAST_BLOB_INCOMPATIBLE, "not a whole blob of talker");
  }
  *out = avatar;
  return LIPCAST_OK;
}

static int32_t avatar_info(lipcast_avatar *avatar, lipcast_avatar_info *out, lipcast_status *status) {
  (void)status;
  out->canvas_width = avatar->head.width;
  out->canvas_height = avatar->head.height;
  out->fps_num = avatar->head.fps_num;
  out->fps_den = avatar->head.fps_den;
  out->frame_count = avatar->head.count;
  out->max_rect = avatar->max_rect;
  out->idle = LIPCAST_IDLE_HOST;
  out->rest_policy = LIPCAST_REST_ASK;
  return LIPCAST_OK;
}

/* A fixed mask per avatar frame. Ours is in the pictures themselves (ALPHA_INLINE). */
static int32_t frame_mask(lipcast_avatar *avatar, uint32_t frame, lipcast_frame_mask *out,
                          lipcast_status *status) {
  if (frame >= avatar->head.count) {
    return fail(status, LIPCAST_NOT_FOUND, "no such avatar frame");
  }
  memset(&out->rect, 0, sizeof(out->rect));
  out->alpha = NULL;
  out->alpha_len = 0;
  return LIPCAST_OK;
}

/* ------------------------------------------------------------------------------------------- session */

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
  session->ended = 1;
  *out = session;
  return LIPCAST_OK;
}

static void close_session(lipcast_session *session) { free(session); }

static int32_t push_audio(lipcast_session *session, uint64_t first_sample, const float *pcm, uint64_t count,
                          uint32_t flags, lipcast_status *status) {
  uint64_t run = session->ended || first_sample > session->end ? first_sample : session->run, i;
  if (first_sample < session->end) {
    return fail(status, LIPCAST_INVALID_ARG, "audio that goes back");
  }
  /* Nothing is overwritten that a frame may still want; a new run needs nothing of the one before. */
  if (first_sample + count > (session->wanted > run ? session->wanted : run) + KEPT) {
    return fail(status, LIPCAST_WOULD_BLOCK, "the queue is full");
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
  session->run = run;
  session->ended = (flags & LIPCAST_AUDIO_END) != 0;
  return LIPCAST_OK;
}

/* Barge-in: forget what was heard. */
static int32_t reset(lipcast_session *session, uint32_t epoch, lipcast_status *status) {
  (void)epoch;
  (void)status;
  session->end = session->run = session->wanted = 0;
  session->ended = 1;
  memset(session->samples, 0, sizeof(session->samples));
  return LIPCAST_OK;
}

/* -------------------------------------------------------------------------------------------- frames */

static uint64_t first_sample_of(const lipcast_session *session, uint64_t frame) {
  return frame * 16000 * session->fps_den / session->fps_num;
}

/* 0 in silence, 1 for a loud voice: a function of frame and audio alone, so the same audio gives the same frame. */
static float loudness(lipcast_session *session, uint64_t frame) {
  uint64_t first = first_sample_of(session, frame), end = first_sample_of(session, frame + 1), i;
  uint64_t from = first > BEFORE ? first - BEFORE : 0;
  float sum = 0, rms;
  session->wanted = from;
  for (i = from; i < end; i++) {
    /* What was not pushed, or is no longer kept, reads as zero. */
    float sample = i < session->end && i + KEPT >= session->end ? session->samples[i % KEPT] : 0;
    /* Anything may come in: what is no number is silence, and what is too loud is as loud as it gets. */
    float square = sample == sample ? sample * sample : 0;
    sum += square < 1 ? square : 1;
  }
  rms = sqrtf(sum / (float)(end - first + BEFORE));
  rms = rms < 0.004f ? 0 : sqrtf((rms - 0.004f) * 6); /* Below that it is the room. */
  return rms < 1 ? rms : 1;
}

/* The lower part of the face slides down, and the gap that opens is filled with dark. Replace it by your method. */
static void paint(const mouth *m, const uint8_t *rgba, float opening, uint8_t *out) {
  static const uint8_t dark[4] = {60, 20, 25, 255};
  uint32_t width = m->rect.width, height = m->rect.height, line = m->line, y, x;
  uint32_t gap = (uint32_t)(opening * (float)height * 0.2f), below = height - line;
  gap = gap < below - 1 ? gap : below - 1; /* A fifth of the piece is as far as it opens. */
  for (y = 0; y < height; y++) {
    uint8_t *row = out + (size_t)4 * width * y;
    uint32_t source = y;
    if (y >= line + gap) {
      /* Chin and cheeks are pressed together, and the last row stays where it is. */
      source = line + (y - line - gap) * below / (below - gap);
    } else if (y >= line) {
      source = line;
    }
    memcpy(row, rgba + (size_t)4 * width * source, (size_t)4 * width);
    if (y >= line && y < line + gap) { /* An ellipse between the corners. */
      float t = (2 * (float)(y - line) + 1) / (float)gap - 1, middle = (float)(m->left + m->right) / 2;
      float half = (float)(m->right - m->left) * 0.4f * sqrtf(1 - t * t);
      for (x = (uint32_t)(middle - half); x < (uint32_t)(middle + half); x++) {
        memcpy(row + (size_t)4 * x, dark, 4);
      }
    }
  }
}

static int32_t draw(lipcast_request *request) {
  lipcast_session *session = request->session;
  const lipcast_avatar *avatar = session->avatar;
  float opening = loudness(session, request->frame);
  const mouth *m;
  if (request->avatar_frame >= avatar->head.count) {
    return fail(&request->status, LIPCAST_INVALID_ARG, "no such avatar frame");
  }
  m = &avatar->mouths[request->avatar_frame];
  request->avatar_frame_used = request->avatar_frame;
  request->format = LIPCAST_FORMAT_RGBA;
  request->alpha = LIPCAST_ALPHA_INLINE;
  if (opening > 0 && avatar->pixels[request->avatar_frame] != NULL) {
    if ((uint64_t)4 * m->rect.width * m->rect.height > request->slot_len) {
      return fail(&request->status, LIPCAST_INVALID_ARG, "the slot is smaller than max_rect");
    }
    request->rect = m->rect;
    paint(m, avatar->pixels[request->avatar_frame], opening, request->slot);
  } /* Else the rect stays empty: the avatar's own frame shows. */
  if (session->ended && first_sample_of(session, request->frame) >= session->end + BEFORE) {
    request->result_flags = LIPCAST_RESULT_AT_REST;
  }
  return LIPCAST_OK;
}

/* One batch, requests of several sessions; each has its own status. A model gathers its inputs first. */
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

/* --------------------------------------------------------------------------------------- descriptor */

/* Static tables are written out, never filled in: the entry may be called from several threads. */
#define TEXT(literal) {literal, sizeof(literal) - 1}

static const lipcast_backend backend = {
    sizeof(lipcast_backend), 0,         create,       destroy,       describe, prepare_avatar,
    load_avatar,             unload_avatar, avatar_info, frame_mask, open_session, close_session,
    push_audio,              reset,     infer_batch,  health,        describe /* as stats */, NULL,
};

static const lipcast_plugin plugin = {
    LIPCAST_MAGIC,
    sizeof(lipcast_plugin),
    LIPCAST_API_MAJOR,
    LIPCAST_API_MINOR,
    LIPCAST_ABI_FINGERPRINT,
    TEXT("org.example.talker"),
    TEXT("Talker"),
    TEXT("0.1.0"),
    TEXT("you"),
    TEXT("MIT OR Apache-2.0"),
    TEXT(""),
    TEXT("{\"lookbehind_ms\": 40, \"max_batch\": 16, \"blob_version\": 1, \"deterministic\": true,"
         " \"prepare\": {\"frames\": true, \"landmarks\": true}}"),
    TEXT(""),
    &backend,
};

LIPCAST_EXPORT const lipcast_plugin *lipcast_plugin_entry_v1(uint32_t host_major, uint32_t host_minor) {
  (void)host_major;
  (void)host_minor;
  return &plugin;
}
