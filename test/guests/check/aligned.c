/* Variables that ask for more than the stack pointer's alignment: the frame is rounded down to it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef char vector __attribute__((vector_size(64)));

/* A leaf: the stack pointer stays. */
__attribute__((noinline)) static void leaf(vector *at) {
  vector copy = *at;
  copy[63] = 1;
  *at = copy;
}

__attribute__((noinline)) static int leafs(int index) {
  _Alignas(128) int many[40] = {0};
  int other = index;
  for (int i = 0; i < 40; i++) many[i] = i;
  return many[index] + other;
}

__attribute__((noinline)) static int calls(int index) {
  _Alignas(64) int many[10];
  int before[3] = {1, 2, 3};
  memset(many, 0, sizeof many);
  many[index] = 4;
  return many[3] + before[1];
}

int main(int argc, char **argv) {
  vector all = {0};
  leaf(&all);
  printf("%d\n", all[63]);
  printf("%d\n", leafs(argc > 1 && !strcmp(argv[1], "leaf") ? 40 : 4));
  printf("%d\n", calls(argc > 1 && !strcmp(argv[1], "calls") ? 10 : 3));
}
