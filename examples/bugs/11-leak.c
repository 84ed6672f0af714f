/* Failing to free: only the head of a list is freed. See 11-leak.md. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

struct list {
  int val;
  struct list *next;
};

static void foo(void) {
  struct list *head = malloc(sizeof *head);
  head->val = 0;
  head->next = NULL;
  for (int i = 1; i < 100; i++) {
    struct list *node = malloc(sizeof *node);
    node->val = i;
    node->next = head->next;
    head->next = node;
  }
  free(head); /* and the 99 others? */
}

int main(void) {
  size_t before = mallinfo2().uordblks;
  for (int i = 0; i < 1000; i++) foo();
  size_t lost = mallinfo2().uordblks - before;
  printf("%zu bytes are allocated that nobody can reach\n", lost);
  return lost > 1000000;
}
