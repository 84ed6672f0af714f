// Accesses of every width, over the edges of pages, vectors, bulk instructions, recursion and loops: prints what comes of them.
// With the argument "wild" it reads behind 2^32.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned char area[96 * 1024];
static uint32_t sum = 1;
static void mix(uint64_t value) { sum = sum * 31 + (uint32_t)value + (uint32_t)(value >> 32); }

#define EDGES(type) do { \
  for (int at = 4096 - 12; at < 4096 + 12; at++) { \
    volatile type __attribute__((aligned(1))) *p = (void *)(area + 40960 + at); \
    *p = (type)(at * 0x9e3779b97f4a7c15ull); \
    mix((uint64_t)*p); \
  } \
} while (0)

typedef struct { uint8_t byte; uint16_t half; uint32_t word; uint64_t both; double number; } __attribute__((packed)) packed;

__attribute__((noinline)) static int depth(int n) { return n < 2 ? n : depth(n - 1) + depth(n - 2); }
__attribute__((noinline)) static uint32_t wild(uint32_t *base) { return base[0x3ffffff0 / 4]; }

int main(int argc, char **argv) {
  if (argc > 1 && !strcmp(argv[1], "wild")) return wild((uint32_t *)0xfffff000u);
  EDGES(uint8_t); EDGES(uint16_t); EDGES(int16_t); EDGES(uint32_t); EDGES(uint64_t); EDGES(int8_t); EDGES(float); EDGES(double);
  for (int page = 1; page < 20; page++)
    for (int k = 0; k < 24; k++) {
      packed *p = (packed *)(area + page * 4096 - k);
      p->byte = k, p->half = page * k, p->word = page << k, p->both = (uint64_t)page << (k + 20), p->number = k / 7.0;
      mix(p->byte + p->half + p->word + p->both + (uint64_t)(p->number * 1000));
    }
  // Vectors (the compiler makes them of these), at all alignments.
  for (int at = 0; at < 40; at++) {
    typedef uint8_t vector __attribute__((vector_size(16), aligned(1)));
    vector *v = (vector *)(area + 8192 - 20 + at);
    *v = *v * 3 + (vector){1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    mix((*v)[at & 15]);
  }
  // Pieces that overlap, both ways, over several pages.
  for (int n = 1; n < 30000; n = n * 3 + 1) {
    memmove(area + 5000 + n % 7, area + 5000, n);
    memmove(area + 9000, area + 9000 + n % 5, n);
    memset(area + 60000 - n % 100, n, n);
    for (int i = 0; i < 96 * 1024; i += 97) mix(area[i]);
  }
  char *heap[50];
  for (int i = 0; i < 50; i++) heap[i] = memset(malloc(i * 100 + 1), i, i * 100 + 1);
  for (int i = 0; i < 50; i += 2) free(heap[i]);
  for (int i = 1; i < 50; i += 2) mix(heap[i][i * 100]);
  printf("%u %d\n", sum, depth(20));
  return 0;
}
