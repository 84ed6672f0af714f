/* A pointer into a block that realloc has moved goes with it by the distance of both. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
  char *block = malloc(768);
  memset(block, 1, 768);
  char *inside = block + 700;
  char *keep = malloc(16);
  char *larger = realloc(block, 5000);
  ptrdiff_t moved = larger - block;
  if (argc == 1) inside += moved;
  *inside = 2;
  printf("%d\n", larger[700]);
  free(larger);
  free(keep);
  return 0;
}
