/* Reading uninitialised memory: malloc does not clear. See 02-uninitialised.md. */
#include <stdio.h>
#include <stdlib.h>

#define N 6

/* y = A x */
static int *matvec(int a[N][N], const int *x) {
  int *y = malloc(N * sizeof(int));
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) y[i] += a[i][j] * x[j]; /* y[i] was never set to 0 */
  return y;
}

int main(void) {
  int a[N][N] = {{0}}, x[N];
  for (int i = 0; i < N; i++) a[i][i] = 1, x[i] = i + 1; /* y = x */
  int *dirt = malloc(N * sizeof(int)); /* an earlier user of the same block */
  for (int i = 0; i < N; i++) dirt[i] = 1000;
  free(dirt);
  int *y = matvec(a, x);
  printf("y ends with %d %d, right is 5 6\n", y[4], y[5]);
  int wrong = y[4] != 5 || y[5] != 6;
  free(y);
  return wrong;
}
