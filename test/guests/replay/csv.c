// Loads a CSV file (quoted fields, doubled quotes, empty fields) into rows of strings of their own and answers queries over them.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct row { char **fields; int count; };
static struct row *rows;
static int count, room;

static void add(struct row *r, const char *s, int n) {
  r->fields = realloc(r->fields, (r->count + 1) * sizeof *r->fields);
  char *copy = malloc(n + 1);
  memcpy(copy, s, n);
  copy[n] = 0;
  r->fields[r->count++] = copy;
}

static void load(FILE *f) {
  static char field[65536];
  struct row r = {0, 0};
  int n = 0, quoted = 0, c;
  while ((c = getc(f)) != EOF) {
    if (quoted) {
      if (c != '"') field[n++] = c;
      else if ((c = getc(f)) == '"') field[n++] = c;
      else { quoted = 0; ungetc(c, f); }
    } else if (c == '"') quoted = 1;
    else if (c == ',' || c == '\n') {
      add(&r, field, n);
      n = 0;
      if (c == ',') continue;
      if (count == room) rows = realloc(rows, (room = room ? room * 2 : 64) * sizeof *rows);
      rows[count++] = r;
      r = (struct row){0, 0};
    } else field[n++] = c;
  }
}

int main(int argc, char **argv) {
  FILE *f = fopen(argv[1], "r");
  if (f == NULL) { perror(argv[1]); return 1; }
  load(f);
  fclose(f);
  fprintf(stderr, "loaded %d rows\n", count);
  unsigned x = 7, hash = 2166136261u;
  double sum = 0;
  for (int q = 0, at = 0; q < atoi(argv[2]); q++) {
    x = x * 1103515245 + 12345;
    at = q % 500 == 0 ? (x >> 4) % count : (at + x % 3) % count;
    for (int i = 0; i < rows[at].count; i++) {
      for (const char *s = rows[at].fields[i]; *s; s++) hash = (hash ^ *s) * 16777619u;
      if (i == 1) sum += atof(rows[at].fields[i]);
    }
  }
  printf("%u %.3f\n", hash, sum);
}
