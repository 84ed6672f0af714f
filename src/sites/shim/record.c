/*
 * The recorder of `lethe run --sites`: preloaded into a program, it notes for every live block which stack it came about by.
 *
 * Blocks of EXACT bytes and more are all noted. Of smaller ones one for every EVERY bytes is, chosen at random by bytes (so that
 * each byte is as likely as any other), and stands for as many. A call that is not noted costs a subtraction; a free costs a look
 * at the head of one chain. mmap and munmap are noted too, the C library's own excepted.
 * Before a large block goes that nobody has looked at, or memory shrinks from a size that it never had, the program waits for the
 * reader to look.
 * A forked child is not recorded (a page that the kernel wipes in it says so); after exec the program has a new table.
 */
#define _GNU_SOURCE
#include "table.h"
#include "unwind.h"
#include "python.h"
#include <errno.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define EXACT 1024u
#define EVERY 32768.0
#define MOST_FRAMES 64
#define MOST_PYTHON 64
/* A freed block of so many bytes is remembered for a while: malloc keeps memory that nobody owns. */
#define REMEMBER 32768u
/* Freeing so much at once is an occasion to be looked at. */
#define OCCASION (1u << 20)
#define GROWN (16ull << 20)
/* So often a program waits because of blocks that nobody has seen; from then on once a second. */
#define FREE_ASKS 24
#define PATIENCE 120 /* seconds */
#define CHUNK (1u << 20)

static void *(*real_malloc)(size_t);
static void *(*real_calloc)(size_t, size_t);
static void *(*real_realloc)(void *, size_t);
static void (*real_free)(void *);
static void *(*real_memalign)(size_t, size_t);

static char *table;
static int table_file = -1;
static struct header *header;
static uint32_t *heads, *stack_heads;
static struct block *blocks;
static struct stack *stacks;
static uint64_t *frames;
static struct python_frame *python_frames;
static struct freed *freed;
static struct range *ranges;

/* 1 while we record; the kernel makes it 0 in a child. */
static volatile int *recording;
static int nothing;

static __thread struct { int inside; int64_t left; uint64_t random; struct bounds stack; } own __attribute__((tls_model("initial-exec")));

/* ---- locks: held for some ten instructions */

static void lock(uint32_t *word) {
  for (unsigned tries = 0; __atomic_exchange_n(word, 1, __ATOMIC_ACQUIRE); tries++)
    if (tries % 64 == 63) sched_yield(); else __builtin_ia32_pause();
}
static void unlock(uint32_t *word) { __atomic_store_n(word, 0, __ATOMIC_RELEASE); }

#define STRIPES 1024u
static struct { uint32_t lock, unused; } stripes[STRIPES];
static uint32_t grow_lock, stack_lock, name_lock, range_lock, freed_lock;

/* ---- room: a part of the sparse file is had before it is written, for a write that finds the disk full would end the program */

struct part { uint64_t at, most, had; };
static struct part block_part = {AT_BLOCKS, AT_STACKS - AT_BLOCKS, 0}, stack_part = {AT_STACKS, AT_FRAMES - AT_STACKS, 0};
static struct part frame_part = {AT_FRAMES, AT_PYTHON_FRAMES - AT_FRAMES, 0};
static struct part python_part = {AT_PYTHON_FRAMES, AT_TEXT - AT_PYTHON_FRAMES, 0}, text_part = {AT_TEXT, TEXT, 0};

static int room(struct part *part, uint64_t bytes) {
  if (bytes <= __atomic_load_n(&part->had, __ATOMIC_ACQUIRE)) return 1;
  lock(&grow_lock);
  while (part->had < bytes && part->had < part->most) {
    uint64_t more = part->most - part->had < CHUNK ? part->most - part->had : CHUNK;
    long done = syscall(SYS_fallocate, table_file, 0, part->at + part->had, more);
    if (done != 0 && errno != EOPNOTSUPP && errno != ENOSYS) break;
    __atomic_store_n(&part->had, part->had + more, __ATOMIC_RELEASE);
  }
  int enough = bytes <= part->had;
  unlock(&grow_lock);
  if (!enough) header->full = 1;
  return enough;
}

/* ---- stacks */

static uint64_t mix(uint64_t a, uint64_t b) {
  a = (a ^ b) * 0x9e3779b97f4a7c15u;
  return a ^ a >> 29;
}

#define NO_STACK 0xffffffffu

static uint32_t find_stack(uint32_t at, uint64_t hash, uint32_t until) {
  for (; at != until; at = stacks[at - 1].next)
    if (stacks[at - 1].hash == hash) return at - 1;
  return NO_STACK;
}

static uint32_t number_stack(const uint64_t *f, unsigned native, unsigned python_count) {
  unsigned n = native + python_count;
  uint64_t hash = native;
  for (unsigned i = 0; i < n; i++) hash = mix(hash, f[i]);
  uint32_t *head = &stack_heads[hash % STACK_HEADS], seen = __atomic_load_n(head, __ATOMIC_ACQUIRE);
  uint32_t number = find_stack(seen, hash, 0);
  if (number != NO_STACK) return number;
  lock(&stack_lock);
  number = find_stack(*head, hash, seen);
  if (number == NO_STACK && header->stacks < STACKS && header->frames + n <= FRAMES &&
      room(&stack_part, (header->stacks + 1ull) * sizeof(struct stack)) && room(&frame_part, (header->frames + (uint64_t)n) * 8)) {
    number = header->stacks;
    memcpy(frames + header->frames, f, n * 8);
    stacks[number] = (struct stack){hash, header->frames, (uint16_t)native, (uint16_t)python_count, *head, 0};
    header->frames += n;
    header->stacks++;
    __atomic_store_n(head, number + 1, __ATOMIC_RELEASE);
  }
  if (number == NO_STACK) header->full = 1;
  unlock(&stack_lock);
  return number;
}

static uint32_t store_text(const char *text, unsigned length) {
  if (header->text + length + 1 > TEXT || !room(&text_part, header->text + length + 1ull)) return 0;
  uint32_t at = header->text;
  memcpy(table + AT_TEXT + at, text, length + 1);
  header->text += length + 1;
  return at;
}

#define PYTHON_HEADS (1u << 14)
static uint32_t python_heads[PYTHON_HEADS];

static uint32_t find_python_frame(uint32_t i, uint64_t code, uint32_t at, uint32_t check) {
  for (; i; i = python_frames[i - 1].next) {
    const struct python_frame *f = &python_frames[i - 1];
    if (f->code == code && f->at == at && f->check == check) return i;
  }
  return 0;
}

static uint32_t name_python_frame(void *code, uint32_t at, uint32_t check) {
  uint64_t address = (uint64_t)(uintptr_t)code;
  uint32_t *head = &python_heads[mix(address, at) % PYTHON_HEADS];
  uint32_t found = find_python_frame(__atomic_load_n(head, __ATOMIC_ACQUIRE), address, at, check);
  if (found) return found - 1;
  lock(&name_lock);
  uint32_t number = header->python_frames;
  if (number < PYTHON_FRAMES && room(&python_part, (number + 1ull) * sizeof(struct python_frame))) {
    static uint32_t last_file;
    char text[1024];
    int line = python_line(code, (int)at);
    unsigned length = python_text(FIELD(void *, code, python->name), text, sizeof text);
    uint32_t name = store_text(text, length);
    length = python_text(FIELD(void *, code, python->file), text, sizeof text);
    if (!last_file || strcmp(text, table + AT_TEXT + last_file)) last_file = store_text(text, length);
    python_frames[number] = (struct python_frame){address, check, at, line < 0 ? 0 : (uint32_t)line, name, last_file, *head};
    header->python_frames++;
    __atomic_store_n(head, number + 1, __ATOMIC_RELEASE);
  } else {
    number = 0;
    header->full = 1;
  }
  unlock(&name_lock);
  return number;
}

static uint32_t stack_of(const uint64_t *frame) {
  uint64_t f[MOST_FRAMES + MOST_PYTHON];
  void *innermost = python_frame();
  unsigned native = unwind(frame, &own.stack, innermost != NULL, f, MOST_FRAMES);
  unsigned count = innermost ? python_stack(innermost, f + native, MOST_PYTHON) : 0;
  return number_stack(f, native, count);
}

/* ---- blocks */

static uint32_t *head_of(uint64_t address) { return &heads[(address * 0x9e3779b97f4a7c15u) >> (64 - 19)]; }
static uint32_t *lock_of(uint32_t *head) { return &stripes[(head - heads) % STRIPES].lock; }

/* Free slots, a chain for each stripe. */
static uint32_t free_blocks[STRIPES];

static uint64_t weight(uint64_t bytes) { return bytes >= EXACT ? bytes : (uint64_t)EVERY; }

/* Keeps count of live bytes, and of those that nobody has looked at. */
static void gain(uint64_t bytes) {
  __atomic_add_fetch(&header->live, bytes, __ATOMIC_RELAXED);
  __atomic_add_fetch(&header->unseen, (int64_t)bytes, __ATOMIC_RELAXED);
}
static int is_unseen(uint32_t epoch) { return (uint16_t)epoch == (uint16_t)__atomic_load_n(&header->epoch, __ATOMIC_RELAXED); }
static void lose(uint64_t bytes, uint32_t epoch) {
  __atomic_sub_fetch(&header->live, bytes, __ATOMIC_RELAXED);
  if (is_unseen(epoch)) __atomic_sub_fetch(&header->unseen, (int64_t)bytes, __ATOMIC_RELAXED);
}

static void insert(void *pointer, uint64_t bytes, uint32_t stack) {
  uint64_t address = (uint64_t)(uintptr_t)pointer;
  uint32_t *head = head_of(address), stripe = (uint32_t)(head - heads) % STRIPES;
  lock(lock_of(head));
  uint32_t slot = free_blocks[stripe];
  if (slot) free_blocks[stripe] = blocks[slot - 1].next;
  else {
    slot = __atomic_add_fetch(&header->blocks, 1, __ATOMIC_RELAXED);
    if (slot > BLOCKS || !room(&block_part, slot * (uint64_t)sizeof(struct block))) {
      __atomic_sub_fetch(&header->blocks, 1, __ATOMIC_RELAXED);
      header->full = 1;
      slot = 0;
    }
  }
  if (slot) {
    blocks[slot - 1] = (struct block){address, bytes, (uint16_t)header->epoch, stack, *head};
    __atomic_store_n(head, slot, __ATOMIC_RELEASE);
    gain(weight(bytes));
  }
  unlock(lock_of(head));
}

/* Takes a block out of the table; whether it was there. */
static int take(void *pointer, struct block *out) {
  uint64_t address = (uint64_t)(uintptr_t)pointer;
  uint32_t *head = head_of(address);
  if (!__atomic_load_n(head, __ATOMIC_ACQUIRE)) return 0;
  int found = 0;
  lock(lock_of(head));
  for (uint32_t *link = head; *link; link = &blocks[*link - 1].next) {
    struct block *b = &blocks[*link - 1];
    if (b->address != address) continue;
    uint32_t slot = *link, stripe = (uint32_t)(head - heads) % STRIPES;
    *out = *b;
    *link = b->next;
    b->address = 0;
    b->next = free_blocks[stripe];
    free_blocks[stripe] = slot;
    lose(weight(out->bytes), out->epoch);
    found = 1;
    break;
  }
  unlock(lock_of(head));
  return found;
}

static int find(void *pointer, struct block *out) {
  uint64_t address = (uint64_t)(uintptr_t)pointer;
  uint32_t *head = head_of(address), slot;
  lock(lock_of(head));
  for (slot = *head; slot && blocks[slot - 1].address != address; slot = blocks[slot - 1].next);
  if (slot) *out = blocks[slot - 1];
  unlock(lock_of(head));
  return slot != 0;
}

static void remember(uint64_t address, uint64_t bytes, uint32_t stack) {
  if (bytes < REMEMBER) return;
  lock(&freed_lock);
  freed[header->freed++ % FREED] = (struct freed){address, bytes, stack, 0};
  unlock(&freed_lock);
}

/* ---- mapped ranges: sorted, disjoint */

static uint32_t first_behind(uint64_t start) {
  uint32_t low = 0, high = header->ranges;
  while (low < high) {
    uint32_t middle = (low + high) / 2;
    if (ranges[middle].end <= start) low = middle + 1; else high = middle;
  }
  return low;
}

static void cut(uint64_t start, uint64_t end) {
  uint32_t i = first_behind(start), n = header->ranges;
  if (i < n && ranges[i].start < start) {
    struct range *r = &ranges[i];
    if (r->end > end && n < RANGES) {
      memmove(r + 1, r, (n - i) * sizeof *r);
      header->ranges = ++n;
      r[1].start = start;
    }
    lose((r->end < end ? r->end : end) - start, r->epoch);
    r->end = start;
    i++;
  }
  uint32_t j = i;
  for (; j < n && ranges[j].end <= end; j++) lose(ranges[j].end - ranges[j].start, ranges[j].epoch);
  if (j < n && ranges[j].start < end) {
    lose(end - ranges[j].start, ranges[j].epoch);
    ranges[j].start = end;
  }
  if (j > i) {
    memmove(ranges + i, ranges + j, (n - j) * sizeof *ranges);
    header->ranges = n - (j - i);
  }
}

/* Says whose a range is from now on; nobody's if the stack is NO_STACK. */
static void set_range(uint64_t start, uint64_t bytes, uint32_t stack) {
  uint64_t end = start + ((bytes + 4095) & ~4095ull);
  lock(&range_lock);
  cut(start, end);
  if (stack != NO_STACK) {
    uint32_t i = first_behind(start);
    if (header->ranges < RANGES) {
      memmove(ranges + i + 1, ranges + i, (header->ranges - i) * sizeof *ranges);
      ranges[i] = (struct range){start, end, stack, header->epoch};
      header->ranges++;
      gain(end - start);
    } else header->full = 1;
  }
  unlock(&range_lock);
}

/* The range that an address is in; its stack is NO_STACK if there is none. */
static struct range range_at(uint64_t address) {
  struct range range = {0, 0, NO_STACK, 0};
  lock(&range_lock);
  uint32_t i = first_behind(address);
  if (i < header->ranges && ranges[i].start <= address) range = ranges[i];
  unlock(&range_lock);
  return range;
}

/* ---- being looked at */

static int may_ask(void) {
  static uint32_t asks;
  static int64_t last;
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  if (__atomic_add_fetch(&asks, 1, __ATOMIC_RELAXED) > FREE_ASKS && now.tv_sec == __atomic_load_n(&last, __ATOMIC_RELAXED)) return 0;
  __atomic_store_n(&last, now.tv_sec, __ATOMIC_RELAXED);
  return 1;
}

/* `unseen`: what is about to go, nobody has looked at. */
static void be_looked_at(uint64_t least, int unseen) {
  uint64_t live = __atomic_load_n(&header->live, __ATOMIC_RELAXED), looked = header->looked;
  if (!header->watcher) return;
  if (live < looked + looked / 8 + least && (!unseen || header->unseen < (int64_t)least || !may_ask())) return;
  uint32_t ticket = __atomic_add_fetch(&header->asked, 1, __ATOMIC_ACQ_REL);
  const struct timespec nap = {0, 2000000};
  for (int i = 0; i < PATIENCE * 500; i++) {
    if ((int32_t)(__atomic_load_n(&header->answered, __ATOMIC_ACQUIRE) - ticket) >= 0) return;
    if (i % 50 == 49 && kill((pid_t)header->watcher, 0) < 0 && errno == ESRCH) header->watcher = 0;
    if (!header->watcher) return;
    nanosleep(&nap, NULL);
  }
}

/* ---- begin and end */

/* dlsym itself calls calloc before we know the real one. */
static char early[65536] __attribute__((aligned(16)));
static size_t early_used;
static void *from_early(size_t bytes) {
  size_t at = __atomic_fetch_add(&early_used, (bytes + 31) & ~(size_t)15, __ATOMIC_RELAXED);
  return at + bytes > sizeof early ? NULL : early + at;
}
static int is_early(const void *p) { return (const char *)p >= early && (const char *)p < early + sizeof early; }

static int open_table(const char *folder) {
  char path[4096];
  if (snprintf(path, sizeof path, "%s/%d.sites", folder, (int)getpid()) >= (int)sizeof path) return 0;
  /* After an exec the old program's pages are gone with it, and so is what it wrote. */
  int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) return 0;
  /* Out of the way of programs that count on low descriptor numbers. */
  int high = fcntl(file, F_DUPFD_CLOEXEC, 900);
  if (high >= 0) close(file), file = high;
  table_file = file;
  if (ftruncate(file, TABLE_BYTES)) return 0;
  long done = syscall(SYS_fallocate, file, 0, 0, AT_BLOCKS);
  if (done != 0 && errno != EOPNOTSUPP && errno != ENOSYS) return 0;
  char *at = (char *)syscall(SYS_mmap, NULL, TABLE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
  if (at == MAP_FAILED) return 0;
  table = at;
  header = (struct header *)at;
  heads = (uint32_t *)(at + AT_HEADS);
  stack_heads = (uint32_t *)(at + AT_STACK_HEADS);
  freed = (struct freed *)(at + AT_FREED);
  ranges = (struct range *)(at + AT_RANGES);
  blocks = (struct block *)(at + AT_BLOCKS);
  stacks = (struct stack *)(at + AT_STACKS);
  frames = (uint64_t *)(at + AT_FRAMES);
  python_frames = (struct python_frame *)(at + AT_PYTHON_FRAMES);
  const char *watcher = getenv("LETHE_SITES_WATCHER");
  header->pid = (uint32_t)getpid();
  header->exact = EXACT;
  header->every = (uint32_t)EVERY;
  header->watcher = watcher ? (uint32_t)strtoul(watcher, NULL, 10) : 0;
  header->text = 1;
  __atomic_store_n(&header->magic, TABLE_MAGIC, __ATOMIC_RELEASE);
  return room(&text_part, 1);
}

__attribute__((constructor)) static void begin(void) {
  static int begun;
  if (begun) return;
  begun = 1;
  own.inside++;
  recording = &nothing;
  real_calloc = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "calloc");
  real_malloc = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
  real_realloc = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
  real_free = (void (*)(void *))dlsym(RTLD_NEXT, "free");
  real_memalign = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "memalign");
  const char *folder = getenv("LETHE_SITES");
  if (folder && open_table(folder)) {
    volatile int *page = (volatile int *)syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page != MAP_FAILED && madvise((void *)page, 4096, MADV_WIPEONFORK) == 0) {
      find_python();
      *page = 1;
      recording = page;
    }
  }
  own.inside--;
}

__attribute__((destructor)) static void finish(void) {
  if (recording && *recording && !own.inside) be_looked_at(GROWN / 4, header->unseen >= (int64_t)GROWN / 4);
}

/* ---- the calls */

static inline int ready(void) {
  if (__builtin_expect(!recording, 0)) begin();
  return *recording && !own.inside;
}

/* Draws after how many bytes the next small block is taken: exponentially distributed. */
static int64_t draw(void) {
  if (!own.random) own.random = mix((uint64_t)(uintptr_t)&own, (uint64_t)syscall(SYS_gettid)) | 1;
  own.random ^= own.random << 13, own.random ^= own.random >> 7, own.random ^= own.random << 17;
  /* -ln(u) for u = m × 2^e, 1 ≤ m < 2: ln 2 is exact, ln m a polynomial that is right to 0.0001. */
  uint64_t bits = own.random >> 11 | 1;
  int e = 63 - __builtin_clzll(bits);
  double m = (double)bits / (double)(1ull << e) - 1;
  double ln = m * (0.999902 + m * (-0.497875 + m * (0.317650 + m * (-0.193761 + m * 0.067230))));
  return (int64_t)(EVERY * ((53 - e) * 0.6931471805599453 - ln)) + 1;
}

static inline int wanted(size_t bytes) {
  if (bytes >= EXACT) return 1;
  return (own.left -= (int64_t)(bytes ? bytes : 1)) < 0;
}

static __attribute__((noinline)) void note(void *pointer, size_t bytes, const uint64_t *frame) {
  int saved = errno;
  own.inside++;
  int skip = 0;
  if (bytes < EXACT) {
    skip = !own.random; /* a thread's first draw has not been made */
    own.left = draw();
  }
  if (!skip) {
    uint32_t stack = stack_of(frame);
    if (stack != NO_STACK) insert(pointer, bytes, stack);
  }
  own.inside--;
  errno = saved;
}

#define FRAME ((const uint64_t *)__builtin_frame_address(0))

void *malloc(size_t bytes) {
  int on = ready();
  void *p = real_malloc ? real_malloc(bytes) : from_early(bytes);
  if (on && p && wanted(bytes)) note(p, bytes, FRAME);
  return p;
}

void *calloc(size_t count, size_t bytes) {
  if (!real_calloc) return from_early(count * bytes);
  int on = ready();
  void *p = real_calloc(count, bytes);
  if (on && p && wanted(count * bytes)) note(p, count * bytes, FRAME);
  return p;
}

static void *resize(void *old, size_t bytes, const uint64_t *frame) {
  int on = ready();
  if (!on) return real_realloc(old, bytes);
  struct block before;
  int known = old && take(old, &before);
  void *p = real_realloc(old, bytes);
  if (!p) {
    if (known && bytes) insert(old, before.bytes, before.stack);
    return p;
  }
  if (known && bytes < EXACT && before.bytes < EXACT) insert(p, bytes, before.stack); /* a chosen one stays chosen */
  else if (wanted(bytes)) note(p, bytes, frame);
  return p;
}

void *realloc(void *old, size_t bytes) {
  if (is_early(old)) {
    void *p = malloc(bytes);
    size_t there = (size_t)(early + sizeof early - (char *)old);
    if (p) memcpy(p, old, bytes < there ? bytes : there);
    return p;
  }
  return resize(old, bytes, FRAME);
}

void *reallocarray(void *old, size_t count, size_t bytes) {
  size_t all;
  if (__builtin_mul_overflow(count, bytes, &all)) {
    errno = ENOMEM;
    return NULL;
  }
  return is_early(old) ? realloc(old, all) : resize(old, all, FRAME);
}

void free(void *p) {
  if (!p || is_early(p)) return;
  struct block block;
  if (ready() && __atomic_load_n(head_of((uint64_t)(uintptr_t)p), __ATOMIC_ACQUIRE)) {
    int saved = errno;
    own.inside++;
    /* While it is still there. */
    if (malloc_usable_size(p) >= OCCASION && find(p, &block)) be_looked_at(GROWN, is_unseen(block.epoch));
    if (take(p, &block)) remember(block.address, block.bytes, block.stack);
    own.inside--;
    errno = saved;
  }
  real_free(p);
}

static void *aligned(size_t align, size_t bytes, const uint64_t *frame) {
  int on = ready();
  void *p = real_memalign(align, bytes);
  if (on && p && wanted(bytes)) note(p, bytes, frame);
  return p;
}
void *memalign(size_t align, size_t bytes) { return aligned(align, bytes, FRAME); }
void *aligned_alloc(size_t align, size_t bytes) { return aligned(align, bytes, FRAME); }
void *valloc(size_t bytes) { return aligned(4096, bytes, FRAME); }
void *pvalloc(size_t bytes) { return aligned(4096, (bytes + 4095) & ~(size_t)4095, FRAME); }
int posix_memalign(void **out, size_t align, size_t bytes) {
  if (align < sizeof(void *) || (align & (align - 1))) return EINVAL;
  int saved = errno;
  void *p = aligned(align, bytes, FRAME);
  errno = saved;
  if (!p) return ENOMEM;
  *out = p;
  return 0;
}

static void *map(void *at, size_t bytes, int protection, int flags, int file, off_t offset, const uint64_t *frame) {
  long got = syscall(SYS_mmap, at, bytes, protection, flags, file, offset);
  if (got == -1 || !ready()) return (void *)got;
  int saved = errno;
  own.inside++;
  uint32_t stack = (flags & MAP_ANONYMOUS) && (flags & MAP_PRIVATE) ? stack_of(frame) : NO_STACK;
  if (stack != NO_STACK || (flags & MAP_FIXED)) set_range((uint64_t)got, bytes, stack);
  own.inside--;
  errno = saved;
  return (void *)got;
}
void *mmap(void *at, size_t bytes, int protection, int flags, int file, off_t offset) {
  return map(at, bytes, protection, flags, file, offset, FRAME);
}
void *mmap64(void *at, size_t bytes, int protection, int flags, int file, off_t offset) {
  return map(at, bytes, protection, flags, file, offset, FRAME);
}

int munmap(void *at, size_t bytes) {
  int on = ready();
  if (on && bytes >= OCCASION) {
    own.inside++;
    be_looked_at(GROWN, is_unseen(range_at((uint64_t)(uintptr_t)at).epoch));
    own.inside--;
  }
  /* Before it, for afterwards the place may be another thread's. */
  if (on && ((uintptr_t)at & 4095) == 0) set_range((uint64_t)(uintptr_t)at, bytes, NO_STACK);
  return (int)syscall(SYS_munmap, at, bytes);
}

void *mremap(void *old, size_t before, size_t bytes, int flags, ...) {
  va_list list;
  va_start(list, flags);
  void *wish = flags & MREMAP_FIXED ? va_arg(list, void *) : NULL;
  va_end(list);
  uint32_t stack = ready() ? range_at((uint64_t)(uintptr_t)old).stack : NO_STACK;
  long got = syscall(SYS_mremap, old, before, bytes, flags, wish);
  if (got != -1 && ready() && stack != NO_STACK) {
    if (!(flags & MREMAP_DONTUNMAP)) set_range((uint64_t)(uintptr_t)old, before, NO_STACK);
    set_range((uint64_t)got, bytes, stack);
  }
  return (void *)got;
}
