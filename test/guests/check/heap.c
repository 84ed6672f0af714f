/* Errors with blocks of the heap, one per argument. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *volatile hidden;

static void leak(void) {
  char *lost = malloc(40);
  lost[0] = 1;
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  char *p = malloc(10);
  memset(p, 'a', 10);
  char *other = malloc(10);
  memset(other, 'b', 10);
  hidden = p;
  if (!strcmp(what, "over")) hidden[10] = 1;
  if (!strcmp(what, "under")) printf("%d\n", hidden[-1] == 3);
  if (!strcmp(what, "neighbour")) hidden[48] = 1; /* in the next block */
  if (!strcmp(what, "freed")) {
    free(hidden);
    printf("%c\n", hidden[3]);
    p = NULL;
  }
  if (!strcmp(what, "double")) {
    free(hidden);
    free(p);
    p = NULL;
  }
  if (!strcmp(what, "middle")) free(hidden + 4);
  if (!strcmp(what, "local")) free(&argc);
  if (!strcmp(what, "overlap")) memcpy(hidden + 1, hidden, 7 + (size_t)argc / 2);
  if (!strcmp(what, "strcpy")) strcpy(hidden, "more than ten");
  if (!strcmp(what, "null")) *(volatile int *)NULL = 1;
  if (!strcmp(what, "leak")) leak();
  free(p);
  free(other);
  return 0;
}
