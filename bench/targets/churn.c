/* Allocates and frees: churn LEAST MOST COUNT, blocks of LEAST to MOST bytes, 4096 at a time, from stacks of 1 to 16 frames. Says the seconds of CPU. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void *held[4096];

__attribute__((noinline)) static void *deeper(unsigned depth, size_t bytes) {
  volatile char frame[32];
  frame[0] = (char)depth;
  void *p = depth > 0 ? deeper(depth - 1, bytes) : malloc(bytes);
  frame[1] = frame[0];
  return p;
}

int main(int count, char **words) {
  if (count < 4) return 2;
  unsigned least = (unsigned)atoi(words[1]), most = (unsigned)atoi(words[2]), seed = 1;
  struct timespec before, after;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
  for (int i = 0; i < atoi(words[3]); i++) {
    seed = seed * 1664525 + 1013904223;
    unsigned at = (seed >> 8) % 4096;
    free(held[at]);
    seed = seed * 1664525 + 1013904223;
    size_t bytes = least + (seed >> 8) % (most - least);
    held[at] = deeper(seed >> 28, bytes);
    memset(held[at], 1, bytes < 64 ? bytes : 64);
  }
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
  printf("%.6f\n", (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) / 1e9);
  return 0;
}
