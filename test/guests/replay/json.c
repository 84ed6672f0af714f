// Parses a JSON document, read in pieces by fread, into a tree of nodes by recursive descent, and walks parts of it.
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { NOTHING, BOOLEAN, NUMBER, STRING, ARRAY, OBJECT };
struct node {
  enum kind kind;
  char *key;
  struct node *next;
  union {
    double number;
    char *string;
    struct { struct node *first, *last; int count; } in;
  };
};

static FILE *file;
static char buffer[32768];
static size_t at, held;
static char *text;
static size_t length, room;

static int peek(void) {
  if (at == held) {
    held = fread(buffer, 1, sizeof buffer, file);
    at = 0;
    if (held == 0) return EOF;
  }
  return (unsigned char)buffer[at];
}
static int next(void) {
  int c = peek();
  at++;
  return c;
}
static int skip(void) {
  while (isspace(peek())) at++;
  return peek();
}
static void add(int c) {
  if (length == room) text = realloc(text, room = room ? room * 2 : 64);
  text[length++] = c;
}
static void fail(const char *what) {
  fprintf(stderr, "expected %s\n", what);
  exit(2);
}

static char *string(void) {
  length = 0;
  if (next() != '"') fail("a string");
  for (int c; (c = next()) != '"';) {
    if (c == EOF) fail("the end of a string");
    if (c == '\\') {
      c = next();
      c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
    }
    add(c);
  }
  add(0);
  return strdup(text);
}

static struct node *value(void) {
  struct node *n = calloc(1, sizeof *n);
  int c = skip();
  if (c == '{' || c == '[') {
    n->kind = c == '{' ? OBJECT : ARRAY;
    int end = c + 2;
    next();
    if (skip() == end) { next(); return n; }
    do {
      char *key = NULL;
      skip();
      if (n->kind == OBJECT) {
        key = string();
        if (skip() != ':') fail(":");
        next();
      }
      struct node *child = value();
      child->key = key;
      if (n->in.last) n->in.last->next = child;
      else n->in.first = child;
      n->in.last = child;
      n->in.count++;
    } while (skip() == ',' && next());
    if (next() != end) fail("an end");
  } else if (c == '"') {
    n->kind = STRING;
    n->string = string();
  } else if (c == 't' || c == 'f' || c == 'n') {
    n->kind = c == 'n' ? NOTHING : BOOLEAN;
    n->number = c == 't';
    while (isalpha(peek())) at++;
  } else {
    n->kind = NUMBER;
    length = 0;
    while (peek() != EOF && strchr("+-.eE0123456789", peek())) add(next());
    add(0);
    n->number = strtod(text, NULL);
  }
  return n;
}

static unsigned walk(const struct node *n, unsigned hash) {
  for (; n; n = n->next) {
    hash = hash * 31 + n->kind;
    if (n->kind == NUMBER) hash += (unsigned)(long long)(n->number * 100);
    else if (n->kind == STRING) for (const char *s = n->string; *s; s++) hash = hash * 33 + *s;
    else if (n->kind >= ARRAY) hash = walk(n->in.first, hash);
  }
  return hash;
}

int main(int argc, char **argv) {
  file = fopen(argv[1], "r");
  if (!file) { perror(argv[1]); return 1; }
  struct node *root = value();
  fclose(file);
  int count = root->in.count;
  struct node **records = malloc(count * sizeof *records), *n = root->in.first;
  for (int i = 0; i < count; i++, n = n->next) records[i] = n;
  fprintf(stderr, "loaded %d records\n", count);
  unsigned x = 7, hash = 1;
  int queries = atoi(argv[2]);
  for (int q = 0, at = 0; q < queries; q++) {
    x = x * 1103515245 + 12345;
    at = q % 1000 == 0 ? (x >> 4) % count : (at + 1) % count;
    hash = walk(records[at]->in.first, hash);
  }
  printf("%u\n", hash);
}
