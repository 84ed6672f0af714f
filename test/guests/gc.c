// Takes memory and never gives it back, or gives back what is still in use. Says what it found in its structures, which are checked all the time.
//   gc list N      lists that are thrown away, and one that is kept
//   gc trees N     GCBench (Boehm, after Ellis and Kovac): trees of all depths, built from above and from below
//   gc locals N    pointers that are in locals and on the operand stack only, of functions that are deep in recursion
//   gc middle N    only the middle, or the end, of a block is pointed to
//   gc grow N      realloc, calloc, aligned_alloc
//   gc freed       reads a block after it was freed
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOINLINE __attribute__((noinline))

typedef struct Node {
  struct Node *left, *right;
  int i, j;
} Node;

static void fail(const char *what) {
  printf("%s is broken\n", what);
  exit(1);
}

static NOINLINE Node *node(Node *left, Node *right, int i) {
  Node *new = malloc(sizeof *new);
  if (new == NULL) fail("malloc");
  *new = (Node){left, right, i, ~i};
  return new;
}

static NOINLINE Node *make_list(int length) {
  Node *list = NULL;
  for (int i = 0; i < length; i++) list = node(list, NULL, i);
  return list;
}

static NOINLINE int check_list(Node *list, int length) {
  for (; list != NULL; list = list->left)
    if (list->i != --length || list->j != ~length) fail("a list");
  return length;
}

static void lists(int n) {
  Node *kept = make_list(2000);
  for (int i = 0; i < n; i++)
    if (check_list(make_list(1000), 1000) != 0) fail("a list");
  printf("%d of 2000 are missing\n", check_list(kept, 2000));
}

static NOINLINE Node *bottom_up(int depth) {
  if (depth <= 0) return node(NULL, NULL, depth);
  // The first tree is nowhere but in a local, or on the operand stack, while the second one is made.
  return node(bottom_up(depth - 1), bottom_up(depth - 1), depth);
}

static NOINLINE void populate(int depth, Node *at) {
  if (depth <= 0) return;
  at->left = node(NULL, NULL, depth - 1);
  at->right = node(NULL, NULL, depth - 1);
  populate(depth - 1, at->left);
  populate(depth - 1, at->right);
}

static NOINLINE int count(Node *tree) {
  if (tree == NULL) return 0;
  if (tree->j != ~tree->i) fail("a tree");
  return 1 + count(tree->left) + count(tree->right);
}

static void trees(int most) {
  Node *kept = bottom_up(most);
  double *array = malloc(sizeof(double) * 100000);
  for (int i = 0; i < 100000; i++) array[i] = 1.0 / (i + 1);
  int total = 0;
  for (int depth = 4; depth <= most; depth += 2)
    for (int round = 0; round < 1 << (most - depth); round++) {
      Node *tree = node(NULL, NULL, depth);
      populate(depth, tree);
      total += count(tree) + count(bottom_up(depth));
    }
  if (array[999] != 1.0 / 1000) fail("the array");
  printf("%d nodes in trees, %d kept\n", total, count(kept));
}

static unsigned state = 1;
static unsigned next(unsigned below) {
  state = state * 1664525u + 1013904223u;
  return (state >> 8) % below;
}

static NOINLINE char *text(unsigned n) {
  char *made = malloc(16 + n % 50);
  sprintf(made, "text %u", n);
  return made;
}

static NOINLINE unsigned read(char *made) {
  unsigned n = 0;
  if (sscanf(made, "text %u", &n) != 1) fail("a text");
  memset(made, 'x', 5);
  return n;
}

static NOINLINE unsigned join(char *a, char *b, char *c, uint64_t n, char *d) {
  text(7);
  unsigned sum = read(a) + read(b) + read(c) + read(d) + (unsigned)n;
  text(8);
  return sum;
}

typedef unsigned (*Way)(int depth, char *from);

static NOINLINE unsigned deep(int depth, char *from);
static NOINLINE unsigned wide(int depth, char *from) {
  char *one = text(depth), *two = text(depth + 1);
  unsigned below = depth > 0 ? deep(depth - 1, one) : 0;
  unsigned n = depth & 1 ? join(text(1), text(2), text(3), below, text(depth)) : below;
  return n + read(two) + strlen(from);
}
static Way ways[2] = {deep, wide};

static NOINLINE unsigned deep(int depth, char *from) {
  char *mine = text(depth * 3);
  unsigned sum = 0;
  for (int i = 0; i < 3; i++) {
    char *loop = text(i);
    if (depth > 0 && i == 1) sum += ways[depth & 1](depth - 1, loop);
    sum += read(loop);
  }
  return sum + read(mine) + strlen(from) + read(depth % 3 == 0 ? text(depth) : text(5));
}

static void locals(int n) {
  unsigned sum = 0;
  for (int i = 0; i < n; i++) {
    char *from = text(i);
    sum = sum * 31 + ways[i & 1](i % 100, from) + read(from);
  }
  printf("%u\n", sum);
}

typedef struct {
  int size;
  char name[60];
  Node links;
} Item;

static NOINLINE Node *item(int size) {
  Item *new = malloc(sizeof *new + size);
  new->size = size;
  memset(new + 1, size, size);
  snprintf(new->name, sizeof new->name, "item of %d", size);
  new->links = (Node){NULL, NULL, size, ~size};
  return &new->links;
}

static NOINLINE int sum_back(int *end, int n) {
  // The end is all that there is of it.
  int sum = 0;
  for (int i = 1; i <= n; i++) {
    text(i);
    sum += end[-i];
  }
  return sum;
}

static void middle(int n) {
  static Node *some[50];
  static int *alike[200];
  long total = 0;
  // With many of a size the allocator puts them side by side: the end of one is the begin of another.
  for (int i = 0; i < 200; i++) alike[i] = malloc(8 * sizeof(int));
  for (int i = 0; i < n; i++) {
    Node **at = &some[next(50)];
    if (*at != NULL) {
      Item *whole = (Item *)((char *)*at - offsetof(Item, links));
      char name[60];
      snprintf(name, sizeof name, "item of %d", whole->size);
      if (strcmp(name, whole->name) != 0 || (*at)->i != whole->size) fail("an item");
      for (char *byte = (char *)(whole + 1); byte < (char *)(whole + 1) + whole->size; byte++)
        if (*byte != (char)whole->size) fail("an item");
      total += whole->size;
    }
    *at = item(next(20) == 0 ? next(30000) : next(100));
    int count = 1 << next(8), *numbers = malloc(count * sizeof(int));
    for (int k = 0; k < count; k++) numbers[k] = k;
    if (sum_back(numbers + count, count) != count * (count - 1) / 2) fail("an array");
  }
  printf("%ld\n", total);
}

static void grow(int n) {
  unsigned sum = 0;
  for (int i = 0; i < n; i++) {
    int length = 0, room = 0, *numbers = NULL;
    char **texts = calloc(100, sizeof *texts);
    for (int k = 0; k < 100; k++)
      if (texts[k] != NULL) fail("calloc");
    while (length < 5000) {
      if (length == room) numbers = realloc(numbers, (room = room * 3 / 2 + 1) * sizeof *numbers);
      numbers[length] = length * i;
      if (length % 50 == 0) texts[length / 50] = text(length);
      length++;
    }
    numbers = realloc(numbers, 1000 * sizeof *numbers);
    char *aligned = aligned_alloc(256, 512);
    if ((uintptr_t)aligned % 256 != 0) fail("aligned_alloc");
    for (int k = 0; k < 1000; k++)
      if (numbers[k] != k * i) fail("realloc");
    for (int k = 0; k < 100; k++) sum += read(texts[k]);
    free(numbers);
    free(texts);
  }
  printf("%u\n", sum);
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "list";
  int n = argc > 2 ? atoi(argv[2]) : 100;
  if (strcmp(what, "list") == 0) lists(n);
  else if (strcmp(what, "trees") == 0) trees(n);
  else if (strcmp(what, "locals") == 0) locals(n);
  else if (strcmp(what, "middle") == 0) middle(n);
  else if (strcmp(what, "grow") == 0) grow(n);
  else if (strcmp(what, "freed") == 0) {
    char *one = text(42);
    free(one);
    for (int i = 0; i < 100000; i++) text(i);
    free(one);
    printf("%u\n", read(one));
  } else return 2;
}
