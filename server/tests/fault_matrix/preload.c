/*
 * A system at its limits, and a bug in the server, seen from inside the server, which is the released program and knows
 * nothing of this. It is loaded in front of the C library; files in the folder LIPCAST_TEST_FAULTS say what fails.
 *
 *   panic NAME   the thread of that name (15 bytes of it) panics once: its next look at the clock fails, which the Rust
 *                library takes for a bug. The file is removed.
 *   no-threads   no thread can be started for as long as the file is there.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

static const char *folder(void) {
  static const char *known;
  if (!known) known = getenv("LIPCAST_TEST_FAULTS");
  return known;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  char name[17] = "", path[4096];
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  if (clock == CLOCK_MONOTONIC && folder()) {
    int kept = errno;
    prctl(PR_GET_NAME, name);
    snprintf(path, sizeof(path), "%s/panic %s", folder(), name);
    if (unlink(path) == 0) {
      errno = EINVAL;
      return -1;
    }
    errno = kept;
  }
  return real(clock, now);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument) {
  static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
  char path[4096];
  if (!real)
    real = (int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *))dlsym(RTLD_NEXT, "pthread_create");
  if (folder()) {
    snprintf(path, sizeof(path), "%s/no-threads", folder());
    if (access(path, F_OK) == 0) return EAGAIN;
  }
  return real(thread, attributes, start, argument);
}
