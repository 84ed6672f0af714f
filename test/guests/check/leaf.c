/* Functions that call nothing keep their variables below the stack pointer. Without names and put into their callers by an optimiser they still do. */
#include <stdio.h>

static int largest(const int *from, int count) {
  int best = from[0];
  for (int i = 1; i < count; i++)
    if (from[i] > best) best = from[i];
  return best;
}

static void reversed(int *to, const int *from, int count) {
  for (int i = 0; i < count; i++) to[i] = from[count - 1 - i];
}

static int filled(int count) {
  int all[16];
  __builtin_memset(all, 0, count * sizeof *all);
  all[count - 1] += 7;
  return all[0];
}

int main(int argc, char **argv) {
  int a[6] = {3, 1, 4, 1, 5, argc}, b[6];
  printf("%d\n", a[5]);
  reversed(b, a, 6);
  printf("%d\n", largest(b, 6));
  printf("%d\n", filled(argc));
  return 0;
}
