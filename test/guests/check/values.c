/* Uses of memory that was never set, and what only copies it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pair {
  char tag;
  int number;
};

static int decide(int x) {
  if (x > 3) return 1;
  return 2;
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  int *block = malloc(16 * sizeof *block);
  int never;
  volatile int sink = 0;
  if (!strcmp(what, "branch")) sink = decide(block[3]);
  if (!strcmp(what, "stack")) sink = decide(never);
  if (!strcmp(what, "address")) sink = "0123456789"[block[2] & 7];
  if (!strcmp(what, "write")) fwrite(block, 4, 1, stdout);
  if (!strcmp(what, "bit")) {
    /* One bit is set, and only that bit is asked for. */
    unsigned bits = (unsigned)block[0];
    bits |= 4;
    sink = bits & 4 ? 1 : 2;
  }
  if (!strcmp(what, "otherbit")) {
    unsigned bits = (unsigned)block[0];
    bits |= 4;
    sink = bits & 8 ? 1 : 2;
  }
  if (!strcmp(what, "copy")) {
    struct pair one, other[2];
    one.tag = 'x'; /* three bytes behind it are nobody's */
    one.number = 7;
    other[0] = one;
    memcpy(&other[1], &other[0], sizeof one);
    sink = other[1].tag + other[1].number;
    int *copy = malloc(16 * sizeof *copy);
    memcpy(copy, block, 16 * sizeof *copy);
    free(copy);
  }
  if (!strcmp(what, "float")) {
    /* Made an integer, which clang asks about before: no decision of the program's. */
    float numbers[4];
    double *more = malloc(2 * sizeof *more);
    numbers[0] = 1;
    sink = (int)numbers[argc];
    sink = (int)(unsigned)more[argc - 1];
    free(more);
    sink = 1;
  }
  if (!strcmp(what, "strings")) {
    char text[13] = "hello";
    char *end = malloc(6);
    strcpy(end, text);
    sink = (int)strlen(end) + strcmp(end, text) + (strchr(end, 'l') != NULL) + (int)strlen(strcat(text, "!"));
    printf("%s %d\n", end, sink);
    free(end);
  }
  if (!strcmp(what, "words")) {
    size_t words_length(const char *text);
    char *end = malloc(6);
    strcpy(end, "hello");
    sink = (int)words_length(end);
    printf("%d\n", sink);
    free(end);
  }
  if (!strcmp(what, "format")) {
    /* The library's code is optimised: it goes on with what memset returns in the place of its frame's address. */
    char text[40];
    snprintf(text, sizeof text, "%s %d", "five", 5);
    sink = text[0] != 'f';
  }
  if (!strcmp(what, "shorts") || !strcmp(what, "hole") || !strcmp(what, "behind")) {
    /* The block's end is in the middle of a word. */
    int hole = !strcmp(what, "hole") ? 4 : -1;
    short *shorts = malloc(5 * sizeof *shorts);
    for (int i = 0; i < 5; i++)
      if (i != hole) shorts[i] = (short)i;
    if (!strcmp(what, "behind")) shorts[5] = 5;
    for (int i = 0; i < 5; i++)
      if (shorts[i] < 0) sink++;
    free(shorts);
  }
  free(block);
  return sink < 0;
}

/* strlen as later compilers write it, of a block that is aligned. */
size_t words_length(const char *text) {
  const unsigned *word = (const unsigned *)text;
  while (((0x01010100u - *word | *word) & 0x80808080u) == 0x80808080u) word++;
  const char *end = (const char *)word;
  while (*end) end++;
  return end - text;
}
