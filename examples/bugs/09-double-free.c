/* Freeing a block twice. See 09-double-free.md. */
#include <stdio.h>
#include <stdlib.h>

int main(void) {
  int *volatile x = malloc(100 * sizeof(int));
  x[0] = 1;
  free(x);
  int *y = malloc(50 * sizeof(int));
  y[0] = 2;
  printf("freeing x again\n");
  fflush(stdout);
  free(x); /* already free */
  free(y);
  return 0;
}
