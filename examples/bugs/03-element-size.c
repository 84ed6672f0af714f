/* Allocating elements of the wrong size: an array of pointers in room for ints. See 03-element-size.md. */
#include <stdio.h>
#include <stdlib.h>

int main(void) {
  const int n = 100, m = 10;
  int **p = malloc(n * sizeof(int)); /* must be sizeof(int *) */
  int *next = malloc(100 * sizeof(int)); /* lies behind p */
  for (int i = 0; i < 100; i++) next[i] = i;
  for (int i = 0; i < n; i++) p[i] = malloc(m * sizeof(int));
  int changed = 0;
  for (int i = 0; i < 100; i++) changed += next[i] != i;
  printf("%d of 100 ints of another block were written over\n", changed);
  fflush(stdout);
  free(next); /* its header is gone as well */
  return changed != 0;
}
