/* Copies, fills and comparisons of ranges at all alignments, in blocks that end anywhere. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned seed;
static unsigned below(unsigned n) {
  seed = seed * 1103515245 + 12345;
  return (seed >> 8) % n;
}

int main(int argc, char **argv) {
  seed = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
  unsigned sum = 0;
  for (int round = 0; round < 2000; round++) {
    unsigned size = 1 + below(40), from = below(size), to = below(size), n = below(size - (from > to ? from : to) + 1);
    char *a = malloc(size), *b = malloc(size);
    memset(a, (int)below(3), size);
    for (unsigned i = below(4); i < size; i += 1 + below(7)) a[i] = (char)below(4);
    /* What is not set is copied, too, and never asked for. */
    memcpy(b + to, a + from, n);
    memmove(a + from, b + to, n);
    sum = sum * 31 + (unsigned)(memcmp(a + from, b + to, n) == 0);
    char **p = malloc(3 * sizeof(char *)), **q = malloc(3 * sizeof(char *));
    p[0] = a, p[1] = NULL, p[2] = b;
    memcpy(q, p, 3 * sizeof(char *) - below(2));
    a[size - 1] = 0;
    b[to] = 0;
    sum = sum * 31 + (unsigned)strlen(q[0]) + (unsigned)strcmp(a + from, b + to) + (unsigned)strncmp(a, b + to, n);
    sum += (unsigned)q[0][size - 1];
    free(a), free(b), free(p), free(q);
  }
  printf("%u\n", sum);
  if (argc > 2) {
    unsigned size = 9 + below(9), at = 1 + below(size - 3);
    char *a = malloc(size), *b = malloc(size + 8);
    memset(a, 1, at), memset(a + at + 1, 1, size - at - 1);
    memcpy(b + 3, a, size);
    printf("%d\n", memcmp(b + 3, b + 4, at - 1));
    puts(memcmp(b + 3, a, size) == 0 ? "same" : "other");
    free(a), free(b);
  }
  return 0;
}
