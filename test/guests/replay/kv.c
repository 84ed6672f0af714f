// Reads `key=value;` pairs with fscanf into an array of structs that realloc grows; values that are names are strings of their own.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pair { int key; float value; char *name; };
static struct pair *pairs;
static int count, room;

int main(int argc, char **argv) {
  FILE *f = fopen(argv[1], "r");
  if (!f) { perror(argv[1]); return 1; }
  char name[64];
  int key;
  float value;
  while (fscanf(f, "%d=%f:%60[^;];\n", &key, &value, name) == 3) {
    if (count == room) pairs = realloc(pairs, (room = room ? room * 2 : 1024) * sizeof *pairs);
    pairs[count++] = (struct pair){key, value, strdup(name)};
  }
  fclose(f);
  fprintf(stderr, "loaded %d pairs\n", count);
  unsigned x = 7;
  int queries = atoi(argv[2]);
  double sum = 0;
  for (int q = 0, at = 0; q < queries; q++) {
    x = x * 1103515245 + 12345;
    at = argc > 3 ? (x >> 4) % count : q % 1000 == 0 ? (x >> 4) % count : (at + 1) % count;
    sum += pairs[at].key % 1000 + pairs[at].value + pairs[at].name[2];
  }
  printf("%.3f\n", sum);
}
