// Counts words: a hash table with chains, entries from malloc, words interned, buckets doubled when they are full; then a sorted index.
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
  struct entry *next;
  unsigned hash;
  unsigned count, first;
  char *word;
};
static struct entry **buckets;
static unsigned size, used;

static unsigned hashOf(const char *s) {
  unsigned h = 2166136261u;
  for (; *s; s++) h = (h ^ (unsigned char)*s) * 16777619u;
  return h;
}

static void grow(void) {
  unsigned larger = size ? size * 2 : 1024;
  struct entry **fresh = calloc(larger, sizeof *fresh);
  for (unsigned i = 0; i < size; i++)
    for (struct entry *e = buckets[i], *n; e; e = n) {
      n = e->next;
      e->next = fresh[e->hash & (larger - 1)];
      fresh[e->hash & (larger - 1)] = e;
    }
  free(buckets);
  buckets = fresh;
  size = larger;
}

static struct entry *find(const char *word, int add, unsigned at) {
  unsigned h = hashOf(word);
  if (size) for (struct entry *e = buckets[h & (size - 1)]; e; e = e->next)
    if (e->hash == h && strcmp(e->word, word) == 0) return e;
  if (!add) return NULL;
  if (used >= size) grow();
  struct entry *e = malloc(sizeof *e);
  *e = (struct entry){buckets[h & (size - 1)], h, 0, at, strdup(word)};
  buckets[h & (size - 1)] = e;
  used++;
  return e;
}

static int byWord(const void *a, const void *b) {
  return strcmp((*(struct entry **)a)->word, (*(struct entry **)b)->word);
}

int main(int argc, char **argv) {
  FILE *f = fopen(argv[1], "r");
  if (!f) { perror(argv[1]); return 1; }
  char *line = NULL;
  size_t room = 0;
  unsigned n = 0;
  while (getline(&line, &room, f) > 0)
    for (char *w = strtok(line, " \n"); w; w = strtok(NULL, " \n")) find(w, 1, n++)->count++;
  free(line);
  fclose(f);
  struct entry **sorted = malloc(used * sizeof *sorted);
  unsigned k = 0;
  for (unsigned i = 0; i < size; i++)
    for (struct entry *e = buckets[i]; e; e = e->next) sorted[k++] = e;
  if (argc > 3) qsort(sorted, used, sizeof *sorted, byWord);
  fprintf(stderr, "loaded %u words\n", used);
  unsigned x = 7, hash = 1;
  int queries = atoi(argv[2]);
  for (int q = 0, at = 0; q < queries; q++) {
    x = x * 1103515245 + 12345;
    at = q % 1000 == 0 ? (x >> 4) % used : (at + 1) % used;
    hash = hash * 31 + sorted[at]->count + hashOf(sorted[at]->word);
  }
  printf("%u\n", hash);
}
