// Reads lines `key=value` into an array of structs, as one does, and answers queries. Nothing in it knows of Lethe.
//
//   points FILE [QUERIES [LOCAL]]
//
// LOCAL queries ask for neighbouring entries, the others for any.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct point {
  int key;
  float value;
  char label[24];
};

static struct point *points;
static size_t count, capacity;

static void add(int key, float value) {
  if (count == capacity) {
    capacity = capacity ? capacity * 2 : 1024;
    points = realloc(points, capacity * sizeof *points);
    if (!points) abort();
  }
  struct point *p = &points[count++];
  p->key = key;
  p->value = value;
  snprintf(p->label, sizeof p->label, "point %d", key);
}

static void load(const char *path) {
  FILE *file = fopen(path, "r");
  if (!file) {
    perror(path);
    exit(1);
  }
  int key;
  float value;
  char line[256];
  while (fgets(line, sizeof line, file))
    if (sscanf(line, "%d=%f\n", &key, &value) == 2) add(key, value);
  fclose(file);
}

// A generator of our own, so that everybody asks the same.
static unsigned long long seed = 88172645463325252ull;
static unsigned long long next(void) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return seed;
}

static double ask(size_t queries, int local) {
  double sum = 0;
  size_t at = 0;
  for (size_t i = 0; i < queries; i++) {
    if (!local || i % 4096 == 0) at = next() % count;
    else at = (at + 1) % count;
    sum += points[at].value + (double)(points[at].label[6] - '0') + points[at].key % 7;
  }
  return sum;
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: points FILE [QUERIES [LOCAL]]\n");
    return 2;
  }
  load(argv[1]);
  fprintf(stderr, "loaded %zu points\n", count);
  if (count == 0) return 1;
  printf("%.6f\n", ask(argc > 2 ? strtoul(argv[2], 0, 10) : 100000, argc > 3));
  return 0;
}
