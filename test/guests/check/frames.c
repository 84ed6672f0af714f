/* Errors with variables of frames and of files. */
#include <alloca.h>
#include <stdio.h>
#include <string.h>

int before[4], numbers[4], behind[4];
static int *volatile gone;

static void fill(int *to, int count) {
  for (int i = 0; i < count; i++) to[i] = i;
}

static void back(int *from) { from[-1] = 0; }

/* Without optimisation the compiler folds these into one address. */
static int constant(int index) {
  int five[5] = {0};
  five[5] = 1;
  return five[index];
}

static int below(int index) {
  int five[5] = {0};
  int *middle = five - 2;
  fill(five, 5);
  return middle[index] + five[1];
}

static void leave(void) {
  int local = 1;
  gone = &local;
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  int first[4] = {0}, second[4] = {0}, third[4] = {0};
  if (!strcmp(what, "array")) fill(second, 5);
  if (!strcmp(what, "below")) fill(third, 1), back(third);
  if (!strcmp(what, "constant")) constant(argc);
  if (!strcmp(what, "first")) below(argc - 2);
  if (!strcmp(what, "global")) fill(numbers, 5);
  if (!strcmp(what, "alloca")) {
    int *a = alloca((unsigned)argc * 8), *b = alloca((unsigned)argc * 8);
    fill(b, 8);
    fill(a, 2);
  }
  if (!strcmp(what, "returned")) {
    leave();
    *gone = 2;
  }
  if (!strcmp(what, "clean")) {
    fill(first, 4), fill(second, 4), fill(third, 4), fill(numbers, 4), fill(before, 4), fill(behind, 4);
    int *end = second + 4; /* may be made, not used */
    while (end > second) *--end = 0;
  }
  printf("%d\n", first[0] + second[0] + third[0] + numbers[0] + before[0] + behind[0]);
  return 0;
}
