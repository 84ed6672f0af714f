// Work for a guest: guest NAME. Each does some half a second of what programs do with memory, and prints a checksum.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t state = 1;
static uint32_t next(void) { return (state = state * 1664525u + 1013904223u) >> 8; }

static int ascending(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return x < y ? -1 : x > y;
}
static uint32_t sort(void) {
  enum { N = 1 << 20 };
  uint32_t *numbers = malloc(N * sizeof *numbers), sum = 0;
  for (int i = 0; i < N; i++) numbers[i] = next();
  qsort(numbers, N, sizeof *numbers, ascending);
  for (int i = 0; i < N; i += 999) sum += numbers[i];
  free(numbers);
  return sum;
}

struct node { struct node *left, *right; uint32_t key; char text[12]; };
static uint32_t trees(void) {
  uint32_t sum = 0;
  for (int round = 0; round < 6; round++) {
    struct node *root = NULL, *all = NULL;
    for (int i = 0; i < 60000; i++) {
      struct node *n = malloc(sizeof *n), **at = &root;
      n->left = n->right = NULL;
      n->key = next();
      memcpy(n->text, "a few bytes", 12);
      while (*at) at = n->key < (*at)->key ? &(*at)->left : &(*at)->right;
      *at = n;
    }
    // Freed as a list: the right pointers become its links.
    all = root;
    for (struct node *n = all; n;) {
      if (n->left) { struct node *l = n->left; n->left = l->right; l->right = n; n = l; continue; }
      struct node *after = n->right;
      sum += n->key + n->text[3];
      free(n);
      n = after;
    }
  }
  return sum;
}

static uint32_t text(void) {
  uint32_t sum = 0;
  char line[96];
  for (int i = 0; i < 300000; i++) {
    int length = snprintf(line, sizeof line, "%u;%d;%x", next(), i, i * 7);
    for (char *at = line, *end; at < line + length; at = end + 1) sum += strtoul(at, &end, 16);
  }
  return sum;
}

static uint32_t matrix(void) {
  enum { N = 320 };
  double *a = malloc(N * N * 8), *b = malloc(N * N * 8), *c = calloc(N * N, 8), sum = 0;
  for (int i = 0; i < N * N; i++) a[i] = next() % 10, b[i] = next() % 10;
  for (int round = 0; round < 8; round++)
    for (int i = 0; i < N; i++)
      for (int k = 0; k < N; k++)
        for (int j = 0; j < N; j++) c[i * N + j] += a[i * N + k] * b[k * N + j];
  for (int i = 0; i < N * N; i += 77) sum += c[i];
  return (uint32_t)sum;
}

// A compressor's inner loop: a hash of three bytes, the longest match, bytes copied.
static uint32_t pack(void) {
  enum { N = 3 << 20 };
  unsigned char *in = malloc(N), *out = malloc(N * 2);
  int *heads = malloc(65536 * sizeof *heads);
  uint32_t sum = 0;
  for (int i = 0; i < N; i++) in[i] = "lethe forgets "[next() % 14] ^ (i % 97 == 0);
  for (int round = 0; round < 3; round++) {
    int o = 0;
    memset(heads, 0xff, 65536 * sizeof *heads);
    for (int i = 0; i + 8 < N;) {
      uint32_t key = (in[i] * 2654435761u ^ in[i + 1] * 40503u ^ in[i + 2] * 977u) & 65535;
      int at = heads[key], length = 0;
      heads[key] = i;
      if (at >= 0) while (length < 258 && i + length < N && in[at + length] == in[i + length]) length++;
      if (length >= 4) { out[o++] = 255; out[o++] = length; i += length; }
      else out[o++] = in[i++];
    }
    for (int i = 0; i < o; i += 101) sum = sum * 31 + out[i];
  }
  return sum;
}

int main(int argc, char **argv) {
  static const struct { const char *name; uint32_t (*run)(void); } works[] = {
      {"sort", sort}, {"trees", trees}, {"text", text}, {"matrix", matrix}, {"pack", pack}};
  for (unsigned i = 0; i < sizeof works / sizeof *works; i++)
    if (argc > 1 && !strcmp(argv[1], works[i].name)) printf("%s %u\n", works[i].name, works[i].run());
  return 0;
}
