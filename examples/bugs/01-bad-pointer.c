/* Dereferencing a bad pointer: scanf gets a value where it needs an address. See 01-bad-pointer.md. */
#include <stdio.h>

int main(void) {
  int val = 0;
  printf("A number: ");
  if (scanf("%d", val) != 1) return 1; /* must be &val */
  printf("You said %d.\n", val);
  return 0;
}
