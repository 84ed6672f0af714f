/* Referring to a variable that is gone: the address of a local. See 08-address-of-local.md. */
#include <stdio.h>

static int *volatile escaped;

static void foo(void) {
  int val = 42;
  escaped = &val; /* val ends with the call */
}

static int bar(void) {
  volatile int other[16];
  for (int i = 0; i < 16; i++) other[i] = 7000 + i;
  return other[3];
}

int main(void) {
  foo();
  int used = bar(); /* its frame lies where foo's was */
  printf("val is %d, right was 42 (%d)\n", *escaped, used);
  return *escaped != 42;
}
