/* Off by one: the loop writes one element more than there is. See 04-off-by-one.md. */
#include <stdio.h>
#include <stdlib.h>

int main(void) {
  const int n = 3; /* 24 bytes: with glibc's header just a block of 32 */
  int **p = malloc(n * sizeof(int *));
  int *next = malloc(6 * sizeof(int));
  for (int i = 0; i <= n; i++) p[i] = NULL; /* must be i < n: p[3] is the header of next */
  printf("written %d pointers into room for %d\n", n + 1, n);
  fflush(stdout);
  free(next);
  free(p);
  return 0;
}
