// Many small blocks in lists; frees all but some of them, waits for a line, and goes on with those.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct node {
  struct node *next;
  unsigned number;
  char text[40];
};

int main(int argc, char **argv) {
  unsigned count = argc > 1 ? atoi(argv[1]) : 100000, every = argc > 2 ? atoi(argv[2]) : 1000;
  struct node *all = NULL, *kept = NULL;
  for (unsigned i = 0; i < count; i++) {
    struct node *one = malloc(sizeof *one);
    one->next = all;
    one->number = i;
    snprintf(one->text, sizeof one->text, "node %u of %u", i, i * 2654435761u);
    all = one;
  }
  while (all != NULL) {
    struct node *one = all;
    all = one->next;
    if (one->number % every == 0) {
      one->next = kept;
      kept = one;
    } else
      free(one);
  }
  puts("freed");
  fflush(stdout);
  getchar();
  unsigned long sum = 0;
  for (struct node *one = kept; one != NULL; one = one->next) sum = sum * 31 + one->number + strlen(one->text);
  // What was free is taken again.
  for (unsigned i = 0; i < count; i++) {
    struct node *one = malloc(sizeof *one);
    one->number = i;
    memset(one->text, (int)i, sizeof one->text);
    one->next = all;
    all = one;
  }
  for (struct node *one = all; one != NULL; one = one->next) sum = sum * 31 + one->number + (unsigned char)one->text[39];
  printf("%lu\n", sum);
  return 0;
}
