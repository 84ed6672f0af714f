/* A block that grows in small steps, with sizes that end anywhere in a word: how often it moves, and what is known of its end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int is(int argc, char **argv, const char *what) { return argc > 1 && strcmp(argv[1], what) == 0; }

int main(int argc, char **argv) {
  char *block = NULL;
  char *other = NULL;
  size_t size = 0;
  int moves = 0;
  for (int i = 0; i < 3000; i++) {
    char *grown = realloc(block, size + 1001);
    moves += grown != block;
    block = grown;
    memset(block + size, i, 1000);
    if (i == 1500) other = malloc(100); /* the next to be taken lies behind it */
    if (is(argc, argv, "unset") && i > 2990 && block[size + 1000]) puts("set");
    block[size + 1000] = 1;
    size += 1001;
  }
  if (is(argc, argv, "over")) block[size] = 1;
  if (is(argc, argv, "under")) block[-1] = 1;
  long sum = 0;
  for (size_t i = 0; i < size; i += 7) sum += (unsigned char)block[i];
  printf("%ld %s\n", sum, moves < 150 ? "few" : "many");
  free(other);
  free(block);
  if (is(argc, argv, "freed")) block[size / 2] = 1;
  return 0;
}
