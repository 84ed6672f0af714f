// Values that are loaded, changed and stored where they were: the store takes over what the load has found.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct part {
  unsigned short count, half;
  int word;
};

__attribute__((noinline)) static void raise(struct part *p) { p->count++; }
__attribute__((noinline)) static void raise_word(volatile struct part *p) { p->word += 3; }
__attribute__((noinline)) static void between(volatile int *p, volatile int *q, const int *from) {
  int x = *p;
  *q = *from;
  *p = x + 1;
}
__attribute__((noinline)) static void between_halves(volatile short *p, volatile short *q, const short *from) {
  short x = *p;
  *q = *from;
  *p = x + 1;
}

int main(int count, char **words) {
  struct part *volatile blocks[] = {malloc(sizeof(struct part)), malloc(sizeof(struct part))};
  struct part *p = blocks[0], *unset = blocks[1];
  short *s = (short *)&p->word;
  if (!strcmp(words[1], "unset")) {
    raise(p);
    if (p->count == 3) puts("three");
  } else if (!strcmp(words[1], "word")) {
    raise_word(p);
    if (p->word == 3) puts("three");
  } else if (!strcmp(words[1], "half")) {
    p->count = 1;
    raise(p);
    if (p->count != 2) puts("wrong");
    if (p->half == 3) puts("three");
  } else if (!strcmp(words[1], "same")) {
    p->word = 1;
    between(&p->word, &p->word, &unset->word);
    if (p->word != 2) puts("wrong");
    s[0] = 1, s[1] = 1;
    between_halves(s, s, (short *)unset);
    if (s[0] != 2) puts("wrong");
  } else if (!strcmp(words[1], "other")) {
    p->word = 1;
    between(&p->word, (int *)p, &unset->word);
    if (p->word != 2) puts("wrong");
    if (*(int *)p == 3) puts("three");
  } else if (!strcmp(words[1], "freed")) {
    p->word = 1;
    free(p);
    raise_word(p);
    p = NULL;
  }
  free(p);
  free(unset);
  return 0;
}
