/* A library for a JavaScript program (test/check/hosted.test.ts), which shares its memory: what the host writes, and what it catches. */
#include <stdlib.h>
#include <string.h>

#define IMPORT(name) __attribute__((import_module("host"), import_name(#name)))
#define EXPORT(name) __attribute__((export_name(#name)))

/* Calls a function of the table; -1 if that throws. */
IMPORT(invoke) int invoke(int (*function)(int), int value);
/* Throws. */
IMPORT(fail) void fail(void);
/* Writes so many bytes. */
IMPORT(fill) void fill(char *at, int length);
/* Puts a pointer to other memory there. */
IMPORT(exchange) void exchange(char **at);

EXPORT(count) int count(const char *text) {
  int n = 0;
  while (text[n]) n++;
  return n;
}

static int deeper(int depth) {
  volatile char room[64];
  memset((void *)room, depth, sizeof room);
  if (depth == 0) fail();
  return deeper(depth - 1) + room[7];
}

/* Functions are left by what the host throws; the frame of this one stays as it is. */
EXPORT(thrown) int thrown(int depth) {
  int numbers[20];
  for (int i = 0; i < 20; i++) numbers[i] = i;
  int sum = invoke(deeper, depth);
  for (int i = 0; i < 20; i++) sum += numbers[i];
  return sum;
}

EXPORT(filled) int filled(int length) {
  char *block = malloc(length), local[100];
  fill(block, length);
  fill(local, 100);
  int sum = 0;
  for (int i = 0; i < length; i++)
    if (block[i]) sum += block[i];
  for (int i = 0; i < 100; i++)
    if (local[i]) sum += local[i];
  free(block);
  return sum;
}

/* The host puts another block's address where one was. */
EXPORT(exchanged) int exchanged(void) {
  char **places = malloc(4 * sizeof *places);
  places[0] = malloc(10);
  exchange(places);
  int sum = places[0][50];
  free(places);
  return sum;
}

static int size_class(int size) { return size * 3; }
static int (*const table[])(int) = {size_class, deeper};

EXPORT(grown) int grown(int size) {
  char *block = malloc(size);
  block = realloc(block, table[0](size));
  block[3 * size - 1] = 1;
  char *zeros = calloc(size, 2);
  int sum = block[3 * size - 1] + zeros[size];
  free(block);
  free(zeros);
  return sum;
}

/* What a host calls by the table: the second one has nothing of the block that the first one has passed on. */
static char *last;
static __attribute__((noinline)) int sign(char *block) { return block[0] < 0 ? -1 : block[0] > 0; }
static int blocks(int n) {
  last = calloc(n, 3);
  return sign(last) + n;
}
struct node { struct node *next; int value; };
static int value(struct node *node) { return node->next ? node->next->value : node->value; }
EXPORT(node) struct node *node(int number) {
  struct node *node = calloc(1, sizeof *node);
  node->value = number;
  return node;
}
EXPORT(functions) void *functions(int i) {
  return i == 2 ? (void *)deeper : i ? (void *)value : (void *)blocks;
}

/* A start function: it runs before the host has anything of the module. */
static char *own;
EXPORT(first) void first(void) { own = strdup("own"); }
EXPORT(owned) int owned(void) { return own[0] + own[4]; }

EXPORT(over) int over(int size) {
  char *block = malloc(size);
  memset(block, 1, size);
  int sum = block[size];
  free(block);
  return sum;
}

EXPORT(touch) int touch(const char *block) { return block[0]; }

EXPORT(local) int local(int index) {
  volatile int numbers[10];
  for (int i = 0; i <= index; i++) numbers[i] = i;
  return numbers[0];
}

EXPORT(null) int null(int *at) { return *at; }

/* A copy of what is not ours is told once; the bytes that it has made are as good as any. */
EXPORT(copied) int copied(void) {
  char *from = malloc(32), *to = malloc(96);
  memset(from, 1, 32);
  memset(to, 1, 96);
  for (volatile int i = 0; i < 1; i++) memcpy(to + 16 * i, from, 64 + i);
  int sum = 0;
  for (int i = 0; i < 96; i++) sum += to[i];
  free(from);
  free(to);
  return sum;
}
