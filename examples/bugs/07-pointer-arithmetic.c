/* Misunderstanding pointer arithmetic: it counts in elements, not bytes. See 07-pointer-arithmetic.md. */
#include <stdio.h>

/* The first place of val among the ints from p on, which end with a 0; or NULL. */
static int *search(int *p, int val) {
  while (*p && *p != val) p += sizeof(int); /* must be p++ */
  return *p ? p : NULL;
}

static int numbers[10] = {10, 20, 30, 40, 50, 60, 70, 80, 90, 0};

int main(void) {
  int *found = search(numbers, 30);
  printf("30 is %s, right is found\n", found ? "found" : "not found");
  return found == NULL;
}
