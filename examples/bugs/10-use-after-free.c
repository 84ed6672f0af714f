/* Referring to a freed block. See 10-use-after-free.md. */
#include <stdio.h>
#include <stdlib.h>

int main(void) {
  int *volatile x = malloc(10 * sizeof(int));
  x[5] = 5;
  free(x);
  int *y = malloc(10 * sizeof(int)); /* the same block again */
  for (int i = 0; i < 10; i++) y[i] = i * 100;
  x[5]++; /* changes y */
  printf("y[5] is %d, right is 500\n", y[5]);
  int wrong = y[5] != 500;
  free(y);
  return wrong;
}
