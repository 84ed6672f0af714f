// Takes, resizes and gives back blocks of all sizes, many times, and looks whether each still holds what it wrote.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned seed;
static unsigned next(unsigned limit) {
  seed = seed * 1664525 + 1013904223;
  return (seed >> 8) % limit;
}

struct block {
  unsigned char *at;
  size_t size;
  unsigned char mark;
};

static int bad;
static void fill(struct block *b) { memset(b->at, b->mark, b->size); }
static void look(struct block *b, size_t size) {
  for (size_t i = 0; i < size; i++)
    if (b->at[i] != b->mark) {
      bad++;
      return;
    }
}

int main(int argc, char **argv) {
  static struct block blocks[200];
  seed = atoi(argv[1]);
  for (int round = 0; round < 6000; round++) {
    struct block *b = &blocks[next(200)];
    size_t size = next(40) == 0 ? 60000 + next(200000) : next(3) == 0 ? next(5000) : next(80);
    if (b->at == NULL) {
      unsigned how = next(4);
      if (how == 0) {
        b->at = calloc(size + 1, 1);
        for (size_t i = 0; i < size; i++)
          if (b->at[i] != 0) bad++;
      } else if (how == 1) {
        size_t align = 32 << next(6);
        b->at = aligned_alloc(align, size);
        if ((size_t)b->at % align != 0) bad++;
      } else {
        b->at = malloc(size);
        if ((size_t)b->at % 16 != 0) bad++;
      }
      b->size = size;
      b->mark = next(255) + 1;
      fill(b);
    } else if (next(2)) {
      look(b, b->size);
      unsigned char *to = realloc(b->at, size);
      b->at = to;
      look(b, size < b->size ? size : b->size);
      b->size = size;
      fill(b);
    } else {
      look(b, b->size);
      free(b->at);
      b->at = NULL;
    }
  }
  for (int i = 0; i < 200; i++) free(blocks[i].at);
  printf("%d\n", bad);
  return bad != 0;
}
