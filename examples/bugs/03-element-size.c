/* Allocating elements of the wrong size: an array of rows in room for ints. See 03-element-size.md. */
#include <stdio.h>
#include <stdlib.h>

struct row {
  int *cells;
  long length;
};

int main(void) {
  const int n = 100, m = 10;
  struct row *rows = malloc(n * sizeof(int)); /* must be sizeof(struct row) */
  int *next = malloc(100 * sizeof(int)); /* lies behind rows */
  for (int i = 0; i < 100; i++) next[i] = i;
  for (int i = 0; i < n; i++) {
    rows[i].cells = malloc(m * sizeof(int));
    rows[i].length = m;
  }
  int changed = 0;
  for (int i = 0; i < 100; i++) changed += next[i] != i;
  printf("%d of 100 ints of another block were written over\n", changed);
  fflush(stdout);
  free(next); /* its header is gone as well */
  return changed != 0;
}
