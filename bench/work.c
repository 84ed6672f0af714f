// A CPU-bound target.
//
//   work FILE SET
//
// Reads FILE into memory; its working set is the first SET bytes of that. Prints "ready" and answers each line
//   work N    goes N times through the working set: "wall cpu sum", nanoseconds
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	int file = open(argv[1], O_RDONLY);
	size_t set = strtoull(argv[2], 0, 10), rounds;
	struct stat s;
	if (file < 0 || fstat(file, &s) || (size_t)s.st_size < set)
		return 1;
	unsigned char *buffer = malloc(s.st_size);
	for (off_t got = 0; got < s.st_size;) {
		ssize_t n = pread(file, buffer + got, s.st_size - got, got);
		if (n <= 0)
			return 1;
		got += n;
	}
	puts("ready");
	fflush(stdout);
	char line[64];
	while (fgets(line, sizeof line, stdin) && sscanf(line, "work %zu", &rounds) == 1) {
		uint64_t wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_THREAD_CPUTIME_ID), hash = 1;
		for (size_t r = 0; r < rounds; r++)
			for (size_t i = 0; i < set; i += 8)
				hash = (hash ^ *(volatile uint64_t *)(buffer + i)) * 0x100000001b3u;
		printf("%lu %lu %lu\n", now(CLOCK_MONOTONIC) - wall, now(CLOCK_THREAD_CPUTIME_ID) - cpu, hash);
		fflush(stdout);
	}
	return 0;
}
