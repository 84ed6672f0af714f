/* Arrays of variable length, also where the stack pointer's alignment is not enough, and one that nobody uses. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int unused(void) {
  int x = -5;
  int a[-x];
  return x;
}

static int sum(int n) {
  int a[n];
  int s = 0;
  for (int i = 0; i < n; i++) a[i] = i;
  for (int i = 0; i < n; i++) s += a[i];
  return s;
}

static int aligned(int n, int at) {
  _Alignas(32) char a[n];
  a[at] = 1;
  return a[at];
}

static int both(int n, int at) {
  _Alignas(64) int four[4] = {1, 2, 3, 4};
  char a[n];
  memset(a, 1, n);
  a[at] = 2;
  return a[at] + four[at & 3];
}

/* A struct that is copied to itself. */
struct record { int numbers[40]; } one;
static void copy(struct record *to, struct record *from) { *to = *from; }

int main(int argc, char **argv) {
  int first = argc > 1 ? atoi(argv[1]) : 3, second = argc > 2 ? atoi(argv[2]) : 3;
  copy(&one, &one);
  printf("%d %d %d %d\n", unused(), sum(20), aligned(40, first), both(40, second));
}
