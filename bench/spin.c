// A target that notices when it stands still.
//
//   spin FILE THREADS
//
// Reads FILE into memory, starts THREADS - 1 threads that sleep and wake, and one that looks at the clock every
// 50 µs with real-time priority (so that it waits for nobody but who stops it). Prints "ready" and whether it got that
// priority, and answers each line with "gaps total longest": how often, for how long in all and at most (ns)
// it was kept from looking for more than 0.4 ms since the line before.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static atomic_ulong gaps, total, longest;
static atomic_int privileged = -1;

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

static void *watch(void *arg)
{
	struct sched_param p = {.sched_priority = 10};
	privileged = pthread_setschedparam(pthread_self(), SCHED_FIFO, &p) == 0;
	uint64_t last = now();
	for (;;) {
		struct timespec t = {0, 50000};
		nanosleep(&t, 0);
		uint64_t at = now(), gap = at - last;
		last = at;
		if (gap < 400000)
			continue;
		gap -= 50000;
		gaps++;
		total += gap;
		if (gap > longest)
			longest = gap;
	}
	return arg;
}

static void *doze(void *arg)
{
	for (;;)
		usleep(20000);
	return arg;
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	int file = open(argv[1], O_RDONLY), threads = atoi(argv[2]);
	struct stat s;
	if (file < 0 || fstat(file, &s))
		return 1;
	char *buffer = malloc(s.st_size);
	for (off_t got = 0; got < s.st_size;) {
		ssize_t n = pread(file, buffer + got, s.st_size - got, got);
		if (n <= 0)
			return 1;
		got += n;
	}
	pthread_t t;
	// The main thread counts: it waits for a line.
	pthread_attr_t small;
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 65536);
	pthread_create(&t, 0, watch, 0);
	for (int i = 2; i < threads; i++)
		pthread_create(&t, &small, doze, 0);
	while (privileged < 0)
		usleep(1000);
	usleep(100000);
	printf("ready %d\n", privileged);
	fflush(stdout);
	char line[64];
	while (fgets(line, sizeof line, stdin)) {
		printf("%lu %lu %lu\n", atomic_exchange(&gaps, 0), atomic_exchange(&total, 0),
		       atomic_exchange(&longest, 0));
		fflush(stdout);
	}
	return 0;
}
