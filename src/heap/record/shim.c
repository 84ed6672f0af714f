/*
 * Records what a program asks of malloc: preloaded into it by `lethe malloc record` (see ../record.ts), which compiles it.
 *
 * Every call is one record in $LETHE_RECORD/PID.ops, a file that is mapped in windows, so nothing is lost however the program ends. A
 * site, the return address of the call, is named once in PID.sites, a line each: module+offset and the nearest symbol.
 * The lock is held over the call and its record, so the records are in the order of the calls. An exec begins the
 * files anew; a forked child does not record.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct op {
  uint32_t kind; /* 1 malloc, 2 calloc, 3 aligned, 4 realloc, 5 free; 0 ends the records */
  uint32_t site;
  uint64_t pointer; /* what the call gave, or what is freed */
  uint64_t other;   /* realloc: the old block; aligned: the alignment */
  uint64_t bytes;
};

#define WINDOW (4u << 20)
#define SITES 65536u

static void *(*real_malloc)(size_t);
static void *(*real_calloc)(size_t, size_t);
static void *(*real_realloc)(void *, size_t);
static void (*real_free)(void *);
static void *(*real_memalign)(size_t, size_t);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static __thread int inside;
static int recording, started;
static int ops_file = -1, sites_file = -1;
static struct op *window, *next_op, *window_end;
static off_t window_at;
static uint32_t sites_known;
static struct { uintptr_t address; uint32_t number; } sites[SITES];

/* dlsym itself calls calloc before we know the real one. */
static char early[65536];
static size_t early_used;

static void *from_early(size_t bytes) {
  size_t at = (early_used + 15) & ~(size_t)15;
  if (at + bytes > sizeof early) abort();
  early_used = at + bytes;
  return early + at;
}
static int is_early(const void *p) { return (const char *)p >= early && (const char *)p < early + sizeof early; }

static int next_window(void) {
  if (window) munmap(window, WINDOW);
  window = NULL;
  if (ftruncate(ops_file, window_at + WINDOW)) return 0;
  void *at = mmap(NULL, WINDOW, PROT_READ | PROT_WRITE, MAP_SHARED, ops_file, window_at);
  if (at == MAP_FAILED) return 0;
  window_at += WINDOW;
  window = next_op = at;
  window_end = window + WINDOW / sizeof *window;
  return 1;
}

static void stop(void) {
  recording = 0;
}

static int open_file(const char *folder, const char *kind) {
  char path[4096];
  if (snprintf(path, sizeof path, "%s/%d.%s", folder, (int)getpid(), kind) >= (int)sizeof path) return -1;
  int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0 || file > 900) return file;
  /* Out of the way of programs that count on low descriptor numbers. */
  int high = fcntl(file, F_DUPFD_CLOEXEC, 900);
  if (high < 0) return file;
  close(file);
  return high;
}

static void start(void) {
  if (started) return;
  started = 1;
  inside++;
  real_malloc = dlsym(RTLD_NEXT, "malloc");
  real_calloc = dlsym(RTLD_NEXT, "calloc");
  real_realloc = dlsym(RTLD_NEXT, "realloc");
  real_free = dlsym(RTLD_NEXT, "free");
  real_memalign = dlsym(RTLD_NEXT, "memalign");
  const char *folder = getenv("LETHE_RECORD");
  if (folder) {
    ops_file = open_file(folder, "ops");
    sites_file = open_file(folder, "sites");
    recording = ops_file >= 0 && sites_file >= 0 && next_window();
    pthread_atfork(NULL, NULL, stop);
  }
  inside--;
}

static uint32_t site_of(void *caller) {
  uintptr_t address = (uintptr_t)caller;
  uint32_t slot = (uint32_t)((address * 0x9e3779b97f4a7c15u) >> 48);
  while (sites[slot].address && sites[slot].address != address) slot = (slot + 1) % SITES;
  if (sites[slot].address) return sites[slot].number;
  if (sites_known >= SITES / 2) return UINT32_MAX;
  sites[slot].address = address;
  sites[slot].number = sites_known++;
  char line[1024];
  Dl_info info;
  int length;
  if (!dladdr(caller, &info) || !info.dli_fname)
    length = snprintf(line, sizeof line, "%p\n", caller);
  else if (info.dli_sname)
    length = snprintf(line, sizeof line, "%s+0x%lx %s\n", info.dli_fname, (unsigned long)(address - (uintptr_t)info.dli_fbase), info.dli_sname);
  else
    length = snprintf(line, sizeof line, "%s+0x%lx\n", info.dli_fname, (unsigned long)(address - (uintptr_t)info.dli_fbase));
  if (length >= (int)sizeof line) length = sizeof line - 1, line[length - 1] = '\n';
  if (write(sites_file, line, (size_t)length) != length) stop();
  return sites[slot].number;
}

static void note(uint32_t kind, void *pointer, uint64_t other, uint64_t bytes, void *caller) {
  if (!recording) return;
  if (next_op == window_end && !next_window()) {
    stop();
    return;
  }
  next_op->site = site_of(caller);
  next_op->pointer = (uint64_t)(uintptr_t)pointer;
  next_op->other = other;
  next_op->bytes = bytes;
  next_op->kind = kind;
  next_op++;
}

/* Whether this call is to be recorded; then the lock is held until leave(). */
static int enter(void) {
  start();
  if (inside || !recording) return 0;
  inside++;
  pthread_mutex_lock(&lock);
  return 1;
}
static void leave(void) {
  int saved = errno;
  pthread_mutex_unlock(&lock);
  inside--;
  errno = saved;
}

#define CALLER __builtin_return_address(0)

void *malloc(size_t bytes) {
  int held = enter();
  void *p = real_malloc ? real_malloc(bytes) : from_early(bytes);
  if (held) {
    if (p) note(1, p, 0, bytes, CALLER);
    leave();
  }
  return p;
}

void *calloc(size_t count, size_t bytes) {
  int held = enter();
  void *p = real_calloc ? real_calloc(count, bytes) : from_early(count * bytes);
  if (held) {
    if (p) note(2, p, 0, count * bytes, CALLER);
    leave();
  }
  return p;
}

void *realloc(void *old, size_t bytes) {
  if (is_early(old)) {
    void *p = malloc(bytes);
    if (p) memcpy(p, old, bytes);
    return p;
  }
  int held = enter();
  void *p = real_realloc(old, bytes);
  if (held) {
    if (p) note(4, p, (uint64_t)(uintptr_t)old, bytes, CALLER);
    else if (bytes == 0 && old) note(5, old, 0, 0, CALLER);
    leave();
  }
  return p;
}

void free(void *p) {
  if (!p || is_early(p)) return;
  int held = enter();
  if (held) note(5, p, 0, 0, CALLER);
  real_free(p);
  if (held) leave();
}

static void *aligned(size_t align, size_t bytes, void *caller) {
  int held = enter();
  void *p = real_memalign(align, bytes);
  if (held) {
    if (p) note(3, p, align, bytes, caller);
    leave();
  }
  return p;
}
void *memalign(size_t align, size_t bytes) { return aligned(align, bytes, CALLER); }
void *aligned_alloc(size_t align, size_t bytes) { return aligned(align, bytes, CALLER); }
void *valloc(size_t bytes) { return aligned(4096, bytes, CALLER); }
int posix_memalign(void **out, size_t align, size_t bytes) {
  if (align < sizeof(void *) || (align & (align - 1))) return EINVAL;
  int saved = errno;
  void *p = aligned(align, bytes, CALLER);
  errno = saved;
  if (!p) return ENOMEM;
  *out = p;
  return 0;
}
