// What needs more than the 64 KiB of stack that the linker gives, and free of what is data.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int table[1000] = {1, 2, 3};

static int deep(int n) {
  char room[512];
  memset(room, n, sizeof room);
  return n == 0 ? room[0] : deep(n - 1) + room[7];
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "deep") == 0) printf("%d\n", deep(200));
    if (strcmp(argv[i], "flat") == 0) printf("%d\n", deep(10));
    if (strcmp(argv[i], "text") == 0) free("text");
    if (strcmp(argv[i], "table") == 0) free(table + 1);
  }
  printf("%d\n", table[1]);
  return 0;
}
