/* A copy between alignments, as libraries have it: words are read whole, and put together from two. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noinline)) static void copy(uint32_t *to, const char *from, unsigned words) {
  unsigned shift = (uintptr_t)from & 3;
  const uint32_t *at = (const uint32_t *)(from - shift);
  uint32_t word = *at;
  for (unsigned i = 0; i < words; i++) {
    uint32_t next = *++at;
    to[i] = word >> (shift << 3) | next << (-(shift << 3) & 24);
    word = next;
  }
}

int main(int count, char **words) {
  char *from = malloc(18);
  uint32_t to[5] = {0};
  memcpy(from, "..0123456789abcdef", 18);
  copy(to, from + 2, 4);
  int wrong = memcmp(to, "0123456789abcdef", 16) != 0;
  if (count > 1 && !strcmp(words[1], "over")) copy(to, from + 2, 5);
  free(from);
  puts(wrong ? "wrong" : "right");
  return 0;
}
