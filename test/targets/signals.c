// A target whose threads sleep in every kind of call that a stop can interrupt, and count what they must never see: an
// EINTR without a signal, a sleep that ends too soon, a lost or repeated signal.
//
// `ready`, then for every line of input `WRONG ROUNDS SIGNALS`. With `go N` a child sends N queued real-time signals,
// numbered; the handler sees whether they come in order, and the answer comes when all are there.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile unsigned long wrong, kinds[16], rounds[16];
static volatile long last = -1, alarms, out_of_order;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}
static void bad(int kind) { kinds[kind]++; wrong++; }

static void queued(int s, siginfo_t *i, void *c) {
  (void)s; (void)c;
  if (i->si_value.sival_int != last + 1) out_of_order++;
  last = i->si_value.sival_int;
}
static void alarmed(int s) { (void)s; alarms++; }

enum { SLEEP, READ, POLL, FUTEX, SIGWAIT, SELECT, EPOLL, RECV, SEMOP, COND, KINDS };

static void *thread(void *a) {
  int kind = (int)(long)a;
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, 0);
  int ends[2], pair[2];
  if (pipe(ends) || socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) abort();
  struct timeval patience = {0, 7000};
  setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  int ep = epoll_create1(0), sem = semget(IPC_PRIVATE, 1, 0600);
  semctl(sem, 0, SETVAL, 1);
  int other = semget(IPC_PRIVATE, 1, 0600);
  semctl(other, 0, SETVAL, 0);
  uint32_t word = 0;
  pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
  for (;;) {
    double from = now();
    struct timespec t = {0, 7000000};
    long r = 0, want = 0;
    int error = 0;
    errno = 0;
    switch (kind) {
      case SLEEP: r = nanosleep(&t, 0); break;
      case READ: {
        // the other end is written by ourselves through a timer-less detour: a child thread would do, a pipe with data does not block
        struct pollfd p = {ends[0], POLLIN, 0};
        r = ppoll(&p, 1, &t, 0);
        break;
      }
      case POLL: { struct pollfd p = {ends[0], POLLIN, 0}; r = poll(&p, 1, 7); break; }
      case FUTEX: r = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &t, 0, 0); want = -1; error = ETIMEDOUT; break;
      case SIGWAIT: { sigset_t s; sigemptyset(&s); sigaddset(&s, SIGUSR2); r = sigtimedwait(&s, 0, &t); want = -1; error = EAGAIN; break; }
      case SELECT: { struct timeval tv = {0, 7000}; r = select(0, 0, 0, 0, &tv); break; }
      case EPOLL: { struct epoll_event e; r = epoll_wait(ep, &e, 1, 7); break; }
      case RECV: { char c; r = recv(pair[0], &c, 1, 0); want = -1; error = EAGAIN; break; }
      case SEMOP: { struct sembuf b = {0, -1, 0}; r = semtimedop(other, &b, 1, &t); want = -1; error = EAGAIN; break; }
      case COND: {
        clock_gettime(CLOCK_REALTIME, &t);
        t.tv_nsec += 7000000;
        if (t.tv_nsec >= 1000000000) { t.tv_sec++; t.tv_nsec -= 1000000000; }
        pthread_mutex_lock(&m);
        r = pthread_cond_timedwait(&cond, &m, &t);
        pthread_mutex_unlock(&m);
        want = ETIMEDOUT;
        break;
      }
    }
    if (r != want || (want == -1 && errno != error) || now() - from < 5.0) bad(kind);
    rounds[kind]++;
  }
  return 0;
}

// A thread that blocks in read(2) for long stretches: every byte of a counter that a child writes must arrive.
static int numbers[2];
static volatile long received, broken;
static void *reader(void *a) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, 0);
  uint32_t want = 0, got;
  for (;;) {
    ssize_t n = read(numbers[0], &got, 4);
    if (n != 4 || got != want) broken++;
    want = got + 1;
    received++;
  }
  return a;
}

int main(int argc, char **argv) {
  unsigned long megabytes = argc > 2 ? strtoul(argv[2], 0, 10) : 0;
  struct sigaction sa = {.sa_sigaction = queued, .sa_flags = SA_SIGINFO | SA_RESTART};
  sigaction(SIGRTMIN + 5, &sa, 0);
  sa.sa_handler = alarmed;
  sa.sa_flags = SA_RESTART;
  sigaction(SIGALRM, &sa, 0);
  if (pipe(numbers)) return 1;
  pid_t self = getpid();
  int go[2];
  if (pipe(go)) return 1;
  if (fork() == 0) { // sends signals when told how many, and numbers all the while
    close(go[1]);
    long n, sent = 0;
    uint32_t count = 0;
    for (;;) {
      struct pollfd p = {go[0], POLLIN, 0};
      poll(&p, 1, 1);
      if (write(numbers[1], &count, 4) == 4) count++;
      if (getppid() != self) _exit(0);
      if (!(p.revents & POLLIN)) { if (p.revents) _exit(0); continue; }
      if (read(go[0], &n, sizeof n) != sizeof n) _exit(0);
      for (long i = 0; i < n; i++) {
        union sigval v = {.sival_int = (int)sent++};
        while (sigqueue(self, SIGRTMIN + 5, v) < 0) { if (getppid() != self) _exit(0); usleep(100); }
        if (i % 16 == 0) usleep(200);
      }
    }
  }
  unsigned char *data = 0;
  if (megabytes) {
    data = mmap(0, megabytes << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FILE *f = fopen(argv[1], "r");
    if (!f || fread(data + 16, 1, (megabytes << 20) - 16, f) == 0) return 3;
    fclose(f);
  }
  pthread_t t;
  for (long k = 0; k < KINDS; k++) pthread_create(&t, 0, thread, (void *)k);
  pthread_create(&t, 0, reader, 0);
  struct itimerval every = {{0, 3000}, {0, 3000}};
  setitimer(ITIMER_REAL, &every, 0);
  printf("ready\n");
  fflush(stdout);
  char text[256];
  long expected = 0;
  while (fgets(text, sizeof text, stdin)) {
    long n = 0;
    if (sscanf(text, "go %ld", &n) == 1) {
      expected += n;
      if (write(go[1], &n, sizeof n) != sizeof n) return 4;
      continue;
    }
    double from = now();
    while (last + 1 < expected && now() - from < 10000) { struct timespec s = {0, 1000000}; clock_nanosleep(CLOCK_MONOTONIC, 0, &s, 0); }
    unsigned long least = rounds[0];
    for (int k = 0; k < KINDS; k++) if (rounds[k] < least) least = rounds[k];
    printf("%lu %lu %ld %ld %ld %ld %ld kinds", wrong, least, last + 1, out_of_order, alarms, received, broken);
    for (int k = 0; k < KINDS; k++) printf(" %lu", kinds[k]);
    printf("\n");
    fflush(stdout);
  }
  return 0;
}
