// An allocator that nobody knows by name: blocks of 32 bytes from an array.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char arena[64][32];
static char *freed;
static int used;

__attribute__((noinline)) void *pool_take(size_t size) {
  if (size > 32) return NULL;
  if (freed != NULL) {
    char *at = freed;
    memcpy(&freed, at, sizeof freed);
    return at;
  }
  return used < 64 ? arena[used++] : NULL;
}

__attribute__((noinline)) void pool_give(void *at) {
  memcpy(at, &freed, sizeof freed);
  freed = at;
}

int main(void) {
  char *text = pool_take(10);
  char *other = pool_take(10);
  text[10] = 'x'; // behind the block
  pool_give(other);
  other[0] = 'y'; // freed
  pool_give(text);
  puts("done");
  return 0;
}
