/* A program that ends inside of functions that still hold blocks, in locals alone. */
#include <stdio.h>
#include <stdlib.h>

static void *volatile gone;

__attribute__((noinline)) static void deep(int code, int depth) {
  char *held = malloc(16);
  snprintf(held, 16, "%d", depth);
  if (depth > 0) deep(code, depth - 1);
  if (code < 100) exit(code);
  if (code > 100) puts(held);
  free(held);
}

int main(int argc, char **argv) {
  int code = argc > 1 ? atoi(argv[1]) : 0;
  gone = malloc(5);
  gone = NULL;
  int *first = calloc(4, sizeof(int));
  printf("%d\n", code);
  deep(code, 3);
  free(first);
  return code - 100;
}
