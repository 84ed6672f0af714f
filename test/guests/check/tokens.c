/* A pointer and a length that are copied as eight bytes at once, whose distance from another is an index elsewhere; a shift by bits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  const char *text;
  unsigned length;
} Token;

typedef struct {
  unsigned short flags;
} Cell;

__attribute__((noinline)) static void copy(Token *to, const Token *from) { *to = *from; }

__attribute__((noinline)) static unsigned until(const Token *last, const Token *first) {
  return last->text - first->text + last->length;
}

__attribute__((noinline)) static unsigned cut(unsigned at) {
  char line[64];
  memset(line, 'x', sizeof line);
  line[at] = 0;
  return strlen(line);
}

__attribute__((noinline)) static int isText(const Cell *cell) {
  return 0x4000000080000124ull >> (cell->flags & 63) & 1;
}

int main(int count, char **words) {
  char *far = malloc(300000), *text = malloc(100);
  far[0] = 0;
  strcpy(text, "CREATE INDEX one ON two(three)");
  Token last = {text + 24, 5}, first = {text, 6}, name;
  copy(&name, &first);
  unsigned end = until(&last, &name);
  if (count > 1 && !strcmp(words[1], "over")) end += 40;
  unsigned length = cut(end);
  Cell *cell = malloc(sizeof *cell);
  cell->flags = (cell->flags & ~63) | 8;
  if (count > 1 && !strcmp(words[1], "bits")) cell->flags = ((Cell *)far)[5].flags;
  puts(isText(cell) && length > 20 ? "right" : "wrong");
  free(cell);
  free(text);
  free(far);
  return 0;
}
