// A target that times its own page faults.
//
//   touch FILE BYTES CPU MODE
//
// Reads BYTES of FILE into a buffer, prints "ready", and answers each line
//   touch SEED COUNT   touches COUNT different pages in random order: "median mean p99 sum", nanoseconds
// MODE `plain`: the memory is what it is, whoever pages it. MODE `uffd`: the buffer is registered with a
// userfaultfd that a C pager (c-pager.c, a process of its own) serves from FILE, and is emptied before each answer.
// CPU: where this program and the C pager run, or -1 for anywhere.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void c_pager(int uffd, int file, char *start, size_t length);

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

static uint64_t state;
static uint64_t next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static int serve_by_c_pager(char *buffer, size_t length, int file)
{
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register r = {.range = {(uintptr_t)buffer, length}, .mode = UFFDIO_REGISTER_MODE_MISSING};
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &r)) {
		perror("userfaultfd");
		return 1;
	}
	// A forked child that serves its parent: the descriptor belongs to the parent's memory.
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		c_pager(uffd, file, buffer, length);
		_exit(0);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	size_t length = strtoull(argv[2], 0, 10) & ~4095ul;
	int cpu = atoi(argv[3]), file = open(argv[1], O_RDONLY), paged = strcmp(argv[4], "uffd") == 0;
	if (cpu >= 0) {
		cpu_set_t set;
		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
		sched_setaffinity(0, sizeof set, &set);
	}
	char *buffer = mmap(0, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t pages = length / 4096;
	uint32_t *order = malloc(pages * sizeof *order);
	uint64_t *times = malloc(pages * sizeof *times);
	memset(times, 1, pages * sizeof *times);
	if (file < 0 || buffer == MAP_FAILED)
		return 1;
	if (paged) {
		if (serve_by_c_pager(buffer, length, file))
			return 1;
	} else
		for (size_t got = 0; got < length;) {
			ssize_t n = pread(file, buffer + got, length - got, got);
			if (n <= 0)
				return 1;
			got += n;
		}
	puts("ready");
	fflush(stdout);
	unsigned long seed, count;
	char line[64];
	while (fgets(line, sizeof line, stdin) && sscanf(line, "touch %lu %lu", &seed, &count) == 2) {
		state = seed * 2654435761u + 88172645463325252u;
		for (size_t i = 0; i < pages; i++)
			order[i] = i;
		for (size_t i = pages - 1; i > 0; i--) {
			size_t j = next() % (i + 1);
			uint32_t t = order[i];
			order[i] = order[j];
			order[j] = t;
		}
		if (paged)
			madvise(buffer, length, MADV_DONTNEED);
		uint64_t sum = 0, total = 0;
		if (count > pages)
			count = pages;
		for (size_t i = 0; i < count; i++) {
			volatile char *p = buffer + (size_t)order[i] * 4096 + 64;
			uint64_t began = now();
			sum += (unsigned char)*p;
			times[i] = now() - began;
		}
		for (size_t i = 0; i < count; i++)
			total += times[i];
		qsort(times, count, sizeof *times, ascending);
		printf("%lu %lu %lu %lu\n", times[count / 2], total / count, times[count * 99 / 100], sum);
		fflush(stdout);
	}
	return 0;
}
