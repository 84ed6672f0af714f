/* Referring to a pointer instead of what it points at: *size-- decrements the pointer. See 06-pointer-not-object.md. */
#include <stdio.h>

enum { room = 3 };

/* Lets the first of `count` packets sink to its place. */
static void heapify(int **packets, int count) {
  if (count < 0 || count > room) return; /* what is no count, but lay beside it */
  for (int i = 0, child = 1; child < count; i = child, child = 2 * i + 1) {
    if (child + 1 < count && *packets[child + 1] < *packets[child]) child++;
    if (*packets[i] <= *packets[child]) return;
    int *moved = packets[i];
    packets[i] = packets[child];
    packets[child] = moved;
  }
}

/* Removes the first packet of a heap of *size packets. */
static int *binheap_delete(int **packets, int *size) {
  int *first = packets[0];
  packets[0] = packets[*size - 1];
  *size--; /* must be (*size)-- */
  heapify(packets, *size);
  return first;
}

int main(void) {
  int values[room] = {1, 2, 3};
  int *packets[room] = {&values[0], &values[1], &values[2]};
  int size = room;
  int *first = binheap_delete(packets, &size);
  printf("removed %d, %d packets left, right is 2\n", *first, size);
  return size != 2;
}
