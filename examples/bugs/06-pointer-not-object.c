/* Referring to a pointer instead of what it points at: *size-- decrements the pointer. See 06-pointer-not-object.md. */
#include <stdio.h>

/* Removes the first packet of a heap of *size packets. */
static int *binheap_delete(int **packets, int *size) {
  int *first = packets[0];
  packets[0] = packets[*size - 1];
  *size--; /* must be (*size)-- */
  return first;
}

int main(void) {
  int values[3] = {1, 2, 3};
  int *packets[3] = {&values[0], &values[1], &values[2]};
  int size = 3;
  int *first = binheap_delete(packets, &size);
  printf("removed %d, %d packets left, right is 2\n", *first, size);
  return size != 2;
}
