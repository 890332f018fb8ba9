/*
 * templates/minimal.c under another descriptor: another version, a longer or a shorter table, a refusal; and drawn
 * without source frames. Each macro that begins with VARIANT_ changes one thing.
 */
#define lipcast_plugin_entry_v1 minimal_entry
#include "minimal.c"
#undef lipcast_plugin_entry_v1

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
#ifndef VARIANT_CAPABILITIES
#define VARIANT_CAPABILITIES "{\"max_batch\": 4}"
#endif
#ifndef VARIANT_DECLINED
#define VARIANT_DECLINED ""
#endif
#ifndef VARIANT_ENTRY
#define VARIANT_ENTRY lipcast_plugin_entry_v1
#endif

/* A canvas without source frames: it draws idle too, and what stays dark is drawn once. */
static int32_t frameless_info(lipcast_avatar *avatar, lipcast_avatar_info *out, lipcast_status *status) {
  int32_t code = avatar_info(avatar, out, status);
  out->frame_count = 0;
  out->idle = LIPCAST_IDLE_BACKEND;
  out->rest_policy = LIPCAST_REST_ASK;
  return code;
}

static int32_t frameless_batch(lipcast_instance *instance, lipcast_request *const *requests, uint32_t count,
                               lipcast_status *status) {
  uint32_t i;
  int32_t code = infer_batch(instance, requests, count, status);
  for (i = 0; i < count; i++) {
    requests[i]->alpha = LIPCAST_ALPHA_OPAQUE;
#ifdef VARIANT_FRAME_USED
    requests[i]->avatar_frame_used = VARIANT_FRAME_USED;
#endif
  }
  return code;
}

/* Words with everything that a line of log must not hold. */
static int32_t rude_create(const lipcast_host *host, lipcast_str config_json, const lipcast_operation *operation,
                           lipcast_instance **out, lipcast_status *status) {
  (void)host;
  (void)config_json;
  (void)operation;
  (void)out;
  return fail(status, LIPCAST_MODEL_MISSING, "no weights\n\n  ERROR\tforged\033[2J line");
}

/* A draft table that ends before its function. */
static const void *short_extension(lipcast_str id) {
  static const lipcast_control_draft1 table = {8, 0, NULL};
  (void)id;
  return &table;
}

/* A table of a later minor: it goes on where this header's ends. */
typedef struct longer_table {
  lipcast_backend known;
  const void *later[4];
} longer_table;

static longer_table changed_table(void) {
  longer_table table;
  memset(&table, 0, sizeof(table));
  table.known = backend;
  table.known.struct_size = (uint32_t)(VARIANT_TABLE_SIZE);
#ifdef VARIANT_FRAMELESS
  table.known.avatar_info = frameless_info;
  table.known.infer_batch = frameless_batch;
#endif
#ifdef VARIANT_RUDE
  table.known.create = rude_create;
#endif
#ifdef VARIANT_SHORT_EXTENSION
  table.known.get_extension = short_extension;
#endif
  (void)frameless_info;
  (void)frameless_batch;
  (void)rude_create;
  (void)short_extension;
  return table;
}

LIPCAST_EXPORT const lipcast_plugin *VARIANT_ENTRY(uint32_t host_major, uint32_t host_minor) {
  static longer_table table;
  static lipcast_plugin changed;
  table = changed_table();
  changed = *minimal_entry(host_major, host_minor);
  changed.api_major = VARIANT_MAJOR;
  changed.api_minor = VARIANT_MINOR;
  changed.abi_fingerprint = VARIANT_FINGERPRINT;
  changed.capabilities_json = text(VARIANT_CAPABILITIES);
  changed.declined = text(VARIANT_DECLINED);
  changed.backend = changed.declined.len > 0 ? NULL : &table.known;
  return &changed;
}
