// Takes and gives back blocks at random, checks that each still holds what was put there, and says what it found.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned state = 12345;
static unsigned next(unsigned below) {
  state = state * 1664525u + 1013904223u;
  return (state >> 8) % below;
}

#define COUNT 2000
static unsigned char *block[COUNT];
static unsigned size[COUNT];

static void check(unsigned i) {
  for (unsigned at = 0; at < size[i]; at++)
    if (block[i][at] != (unsigned char)(i + at)) {
      printf("block %u is broken at %u\n", i, at);
      exit(1);
    }
}

static void fill(unsigned i) {
  for (unsigned at = 0; at < size[i]; at++) block[i][at] = (unsigned char)(i + at);
}

int main(int argc, char **argv) {
  int steps = argc > 1 ? atoi(argv[1]) : 30000;
  unsigned long taken = 0, zeros = 0;
  for (int step = 0; step < steps; step++) {
    unsigned i = next(COUNT), bytes = next(10) == 0 ? next(20000) : next(300);
    if (block[i] != NULL && next(3) != 0) {
      check(i);
      if (next(4) == 0) {
        unsigned old = size[i];
        block[i] = realloc(block[i], bytes);
        size[i] = bytes < old ? bytes : old;
        check(i);
        size[i] = bytes;
        fill(i);
      } else {
        free(block[i]);
        block[i] = NULL;
      }
    } else if (block[i] == NULL) {
      size[i] = bytes;
      switch (next(4)) {
      case 0:
        block[i] = calloc(bytes, 1);
        for (unsigned at = 0; at < bytes; at++) zeros += block[i][at] == 0;
        break;
      case 1:
        block[i] = aligned_alloc(64, bytes);
        if ((size_t)block[i] % 64 != 0) return 2;
        break;
      case 2:
        if (posix_memalign((void **)&block[i], 256, bytes) != 0 || (size_t)block[i] % 256 != 0) return 3;
        break;
      default:
        block[i] = malloc(bytes);
      }
      if (block[i] == NULL || (size_t)block[i] % 16 != 0) return 4;
      taken += bytes;
      fill(i);
    }
  }
  for (unsigned i = 0; i < COUNT; i++)
    if (block[i] != NULL) check(i), free(block[i]);
  void *volatile huge = malloc(0xfffffff0u), *volatile product = calloc(0x10000, 0x10001);
  printf("%lu bytes taken, %lu zeros, huge %d, overflow %d\n", taken, zeros, huge != NULL, product != NULL);
  return 0;
}
