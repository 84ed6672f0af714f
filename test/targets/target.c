// A target: loads a file into private memory and does to it what it is told, one line of answer per line of command.
// All offsets count from `base`, the page at which the memory begins; the file's bytes begin SHIFT bytes later.
//
//   target FILE MODE     MODE: mmap, huge, malloc, brk, locked
//   ready BASE SHIFT LENGTH   (LENGTH: bytes of whole pages from BASE)
//
// The n-th child that is forked takes its commands from descriptor 3 + n, so it can outlive its parent.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096ul
static unsigned char *base, *heap, *shadow;
static unsigned long length;
static int in = 0, out = 1, children = 0;
static uint32_t table[256];
extern char **environ;

static uint32_t crc(const unsigned char *p, unsigned long n) {
  uint32_t c = ~0u;
  while (n--) c = table[(c ^ *p++) & 255] ^ (c >> 8);
  return ~c;
}

static void die(const char *what) {
  dprintf(out, "failed %s: %s\n", what, strerror(errno));
  _exit(99);
}

static void load(const char *file, unsigned char *to, unsigned long n) {
  int fd = open(file, O_RDONLY | O_CLOEXEC);
  if (fd < 0) die(file);
  for (unsigned long got = 0; got < n;) {
    ssize_t r = read(fd, to + got, n - got);
    if (r <= 0) die("read");
    got += r;
  }
  close(fd);
}

// ---- threads

struct job { unsigned long from, n; int index, count; uint32_t result; uint64_t seed; unsigned long writes; };
static pthread_barrier_t barrier;
static volatile int racing;

static void *sums(void *a) {
  struct job *j = a;
  pthread_barrier_wait(&barrier);
  j->result = crc(base + j->from, j->n);
  return 0;
}

// Each thread owns the words of its index in every page; what it writes goes to the shadow too.
static void *race(void *a) {
  struct job *j = a;
  uint64_t s = j->seed * 2654435761u + j->index + 1;
  unsigned long pages = j->n / PAGE;
  pthread_barrier_wait(&barrier);
  while (racing) {
    for (int k = 0; k < 64; k++) {
      s ^= s << 13; s ^= s >> 7; s ^= s << 17;
      unsigned long at = j->from + (s % pages) * PAGE + ((s >> 40) % (512 / j->count)) * 8 * j->count + 8 * j->index;
      memcpy(base + at, &s, 8);
      memcpy(shadow + at, &s, 8);
      j->writes++;
    }
    if (j->seed & 1) usleep(50);
  }
  return 0;
}

static void *sleeps(void *a) {
  for (;;) pause();
  return a;
}

static pthread_t racers[64];
static struct job racing_jobs[64];

// One thread unmaps a page, the other moves another page to just there as soon as it is free.
static unsigned char *volatile place;
static volatile int turn;

static void *unmaps(void *a) {
  for (int seen = 0;;) {
    while (turn == seen) ;
    seen = turn;
    if (seen < 0) return a;
    munmap(place, PAGE);
  }
}

// The checksum of `n` pages from `from` on, each read where it was moved to; the n pages behind them are unmapped there before.
static uint32_t juggle(unsigned long from, unsigned long n) {
  pthread_t t;
  unsigned char *seen = mmap(0, n * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  place = mmap(0, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  turn = 0;
  if (pthread_create(&t, 0, unmaps, 0)) die("pthread_create");
  for (unsigned long i = 0; i < n; i++) {
    if (mremap(base + from + (n + i) * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place) != place) die("mremap");
    turn = i + 1;
    while (mmap(place, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != place) ;
    if (mremap(base + from + i * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place) != place) die("mremap");
    memcpy(seen + i * PAGE, place, PAGE);
  }
  turn = -1;
  pthread_join(t, 0);
  return crc(seen, n * PAGE);
}

static void run_threads(unsigned long count, struct job *jobs) {
  pthread_t t[256];
  pthread_barrier_init(&barrier, 0, count);
  for (unsigned long i = 0; i < count; i++)
    if (pthread_create(&t[i], 0, sums, &jobs[i])) die("pthread_create");
  for (unsigned long i = 0; i < count; i++) pthread_join(t[i], 0);
}

static char *line(void) {
  static char text[4096];
  unsigned n = 0;
  for (;;) {
    char c;
    ssize_t r = read(in, &c, 1);
    if (r < 0 && errno == EINTR) continue;
    if (r < 0) dprintf(2, "target %d: read: %s (%d)\n", getpid(), strerror(errno), errno);
    if (r <= 0) return 0;
    if (c == '\n') { text[n] = 0; return text; }
    if (n < sizeof text - 1) text[n++] = c;
  }
}

static int status_of(int s) { return WIFEXITED(s) ? WEXITSTATUS(s) : 1000 + WTERMSIG(s); }

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  for (unsigned i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
    table[i] = c;
  }
  signal(SIGPIPE, SIG_IGN);
  struct stat st;
  if (stat(argv[1], &st)) die("stat");
  unsigned long shift = 48, n = st.st_size, size = (n + shift + PAGE - 1) / PAGE * PAGE;
  const char *mode = argv[2];
  if (!strcmp(mode, "brk")) {
    free(malloc(60000)); // malloc's own part of the heap comes first
    heap = sbrk(0);
    if (sbrk(((unsigned long)-(unsigned long)heap & (PAGE - 1)) + size) == (void *)-1) die("sbrk");
    base = (unsigned char *)(((unsigned long)heap + PAGE - 1) / PAGE * PAGE);
  } else if (!strcmp(mode, "malloc")) {
    heap = malloc(n);
    base = (unsigned char *)((unsigned long)heap / PAGE * PAGE);
    shift = heap - base;
    size = shift + n; // what lies behind is not ours
  } else {
    unsigned long align = !strcmp(mode, "huge") ? 2ul << 20 : PAGE;
    if (align > PAGE) size = (size + align - 1) / align * align;
    base = mmap(0, size + align, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) die("mmap");
    base = (unsigned char *)(((unsigned long)base + align - 1) / align * align);
    if (align > PAGE) madvise(base, size, MADV_HUGEPAGE);
  }
  length = size;
  load(argv[1], base + shift, n);
  if (!strcmp(mode, "locked") && mlock(base, size)) die("mlock");
  dprintf(out, "ready %lu %lu %lu\n", (unsigned long)base, shift, length);

  for (char *l; (l = line());) {
    char word[32] = "", path[3000] = "";
    unsigned long a = 0, b = 0, c = 0, d = 0;
    int used = 0;
    sscanf(l, "%31s%n", word, &used);
    char *rest = l + used;
    while (*rest == ' ') rest++;
    if (*rest == '/') { sscanf(rest, "%2999s%n", path, &used); rest += used; }
    sscanf(rest, "%lu %lu %lu %lu", &a, &b, &c, &d);
    long r = 0;
#define IS(x) (!strcmp(word, x))
    if (IS("sum")) { dprintf(out, "%u\n", crc(base + a, b)); continue; }
    else if (IS("juggle")) { dprintf(out, "%u\n", juggle(a, b)); continue; }
    else if (IS("back")) { // from the last page to the first
      uint32_t x = 0;
      for (unsigned long p = b / PAGE; p-- > 0;) x ^= crc(base + a + p * PAGE, PAGE);
      dprintf(out, "%u\n", x);
      continue;
    }
    else if (IS("fill")) for (unsigned long i = 0; i < b; i++) base[a + i] = (unsigned char)(c + i * 31 + (i >> 8));
    else if (IS("move")) memmove(base + a, base + b, c);
    else if (IS("load")) load(path, base + a, b);
    else if (IS("fork")) {
      children++;
      pid_t p = fork();
      if (p == 0) { in = out = 2 + children; continue; }
      r = p;
    }
    else if (IS("forks")) { // many children, each of which sums a range; how many were wrong
      uint32_t want = b;
      long wrong = 0;
      for (unsigned long i = 0; i < a; i++) {
        pid_t p = fork();
        if (p == 0) _exit(crc(base + c, d) == want ? 0 : 1);
        int s = -1;
        waitpid(p, &s, 0);
        if (s != 0) wrong++;
      }
      r = wrong;
    }
    else if (IS("wait")) { int s; r = waitpid(a, &s, 0) < 0 ? -errno : status_of(s); }
    else if (IS("base")) r = (long)base;
    else if (IS("exit")) _exit((int)a);
    else if (IS("vfork")) {
      char *args[] = {"/bin/sh", "-c", "exit 7", 0};
      volatile uint32_t sum = 0;
      pid_t p = vfork();
      if (p == 0) { sum = crc(base + a, b); execv(args[0], args); _exit(98); }
      int s; waitpid(p, &s, 0);
      dprintf(out, "%d %u\n", status_of(s), sum);
      continue;
    }
    else if (IS("vwait")) { // nobody can stop us meanwhile
      pid_t p = vfork();
      if (p == 0) { usleep(a); _exit(5); }
      int s; waitpid(p, &s, 0);
      r = status_of(s);
    }
    else if (IS("spawn")) {
      char *args[] = {"/bin/sh", "-c", "exit 9", 0};
      pid_t p; int s;
      if (posix_spawn(&p, args[0], 0, 0, args, environ)) die("posix_spawn");
      waitpid(p, &s, 0);
      r = status_of(s);
    }
    else if (IS("exec")) execl("/proc/self/exe", argv[0], argv[1], argv[2], (char *)0);
    else if (IS("grow") || IS("shrink")) {
      void *p = mremap(base, length, a, MREMAP_MAYMOVE);
      if (p == MAP_FAILED) r = -errno;
      else { r = p != base; base = p; length = a; }
    }
    else if (IS("relocate")) { // to a place of its own, so it must move
      void *to = mmap(0, a, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      void *p = mremap(base, length, a, MREMAP_MAYMOVE | MREMAP_FIXED, to);
      if (p == MAP_FAILED) r = -errno;
      else { base = p; length = a; }
    }
    else if (IS("realloc")) {
      heap = realloc(heap, a);
      base = (unsigned char *)((unsigned long)heap / PAGE * PAGE);
      r = heap - base;
    }
    else if (IS("brk")) r = brk(base + a) ? -errno : 0;
    else if (IS("advise")) r = madvise(base + a, b, c) ? -errno : 0;
    else if (IS("unmap")) r = munmap(base + a, b) ? -errno : 0;
    else if (IS("map")) r = mmap(base + a, b, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ? -errno : 0;
    else if (IS("mapfile")) {
      int fd = open(path, O_RDONLY | O_CLOEXEC);
      r = mmap(base + a, b, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, c) == MAP_FAILED ? -errno : 0;
      close(fd);
    }
    else if (IS("protect")) r = mprotect(base + a, b, c) ? -errno : 0;
    else if (IS("lock")) r = mlock(base + a, b) ? -errno : 0;
    else if (IS("readfile")) { // PATH offset-in-memory bytes offset-in-file direct
      int fd = open(path, O_RDONLY | O_CLOEXEC | (d ? O_DIRECT : 0));
      r = fd < 0 ? -errno : pread(fd, base + a, b, c);
      if (r < 0) r = -errno;
      close(fd);
    }
    else if (IS("writefile")) {
      int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | (d ? O_DIRECT : 0), 0600);
      r = fd < 0 ? -errno : pwrite(fd, base + a, b, c);
      if (r < 0) r = -errno;
      close(fd);
    }
    else if (IS("open")) r = open(path, (int)a); // flags, as a number
    else if (IS("patch")) { // pwrite of `b` bytes of pattern through descriptor a at offset c
      unsigned char *p = malloc(b);
      for (unsigned long i = 0; i < b; i++) p[i] = (unsigned char)(d + i * 31 + (i >> 8));
      r = pwrite((int)a, p, b, c);
      free(p);
    }
    else if (IS("truncate")) r = truncate(path, a) ? -errno : 0;
    else if (IS("close")) r = close((int)a);
    else if (IS("closefrom")) r = close_range((unsigned)a, ~0u, 0) ? -errno : 0;
    else if (IS("threads")) {
      pthread_attr_t at;
      pthread_attr_init(&at);
      pthread_attr_setstacksize(&at, 65536);
      pthread_t t;
      for (unsigned long i = 0; i < a; i++) if (pthread_create(&t, &at, sleeps, 0)) die("pthread_create");
    }
    else if (IS("same")) { // a threads sum the same range at once; how many differ from the first
      struct job jobs[256];
      for (unsigned long i = 0; i < a; i++) jobs[i] = (struct job){.from = b, .n = c};
      run_threads(a, jobs);
      for (unsigned long i = 1; i < a; i++) if (jobs[i].result != jobs[0].result) r++;
      dprintf(out, "%ld %u\n", r, jobs[0].result);
      continue;
    }
    else if (IS("race")) { // count from n seed
      if (!shadow) shadow = mmap(0, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
      memcpy(shadow, base, length);
      racing = 1;
      pthread_barrier_init(&barrier, 0, a + 1);
      for (unsigned long i = 0; i < a; i++) {
        racing_jobs[i] = (struct job){.from = b, .n = c, .index = i, .count = a, .seed = d};
        if (pthread_create(&racers[i], 0, race, &racing_jobs[i])) die("pthread_create");
      }
      pthread_barrier_wait(&barrier);
      r = 0;
    }
    else if (IS("endrace")) { // how many pages differ from the shadow, and how many writes there were
      racing = 0;
      unsigned long writes = 0;
      for (unsigned long i = 0; i < a; i++) { pthread_join(racers[i], 0); writes += racing_jobs[i].writes; }
      for (unsigned long p = 0; p < length; p += PAGE) if (memcmp(base + p, shadow + p, PAGE)) r++;
      dprintf(out, "%ld %lu\n", r, writes);
      continue;
    }
    else if (IS("loop")) { // sums a range again and again until the next command; how many were wrong
      struct timeval tv;
      unsigned long rounds = 0;
      dprintf(out, "looping\n");
      for (;;) {
        fd_set set; FD_ZERO(&set); FD_SET(in, &set);
        tv.tv_sec = tv.tv_usec = 0;
        if (select(in + 1, &set, 0, 0, &tv) > 0) break;
        rounds++;
        if (crc(base + a, b) != c) r++;
      }
      line();
      dprintf(out, "%ld %lu\n", r, rounds);
      continue;
    }
    else if (IS("churn")) { // maps and unmaps blocks of its own until the next command; how many were not as it left them
      enum { LIVE = 12 };
      unsigned char *live[LIVE] = {0};
      unsigned long sizes[LIVE] = {0}, rounds = 0, s = a * 2654435761u + 1;
      struct timeval tv;
      dprintf(out, "churning\n");
      for (;; rounds++) {
        fd_set set; FD_ZERO(&set); FD_SET(in, &set);
        tv.tv_sec = tv.tv_usec = 0;
        if (select(in + 1, &set, 0, 0, &tv) > 0) break;
        s ^= s << 13; s ^= s >> 7; s ^= s << 17;
        int i = s % LIVE;
        if (live[i]) {
          if (live[i][0] != i || live[i][sizes[i] / 2] != i + 1 || live[i][sizes[i] - 1] != i + 2) r++;
          munmap(live[i], sizes[i]);
        }
        sizes[i] = (1 + (s >> 20) % 4096) * PAGE;
        live[i] = mmap(0, sizes[i], PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (live[i] == MAP_FAILED) die("mmap");
        live[i][0] = i; live[i][sizes[i] / 2] = i + 1; live[i][sizes[i] - 1] = i + 2;
      }
      line();
      for (int i = 0; i < LIVE; i++) if (live[i]) munmap(live[i], sizes[i]);
      dprintf(out, "%ld %lu\n", r, rounds);
      continue;
    }
    else if (IS("selfopen")) r = system(rest); // a shell command, run as a child of the target
    else { dprintf(out, "what? %s\n", l); continue; }
    dprintf(out, "%ld\n", r);
  }
  return 0;
}
