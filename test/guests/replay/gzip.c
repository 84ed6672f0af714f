// Reads a gzip file, inflates it with an inflate of its own, and parses what comes out, `name value` a line, into a sorted array.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t *in, *out;
static size_t inSize, inAt, outSize, outRoom;
static uint32_t bits, held;

static uint32_t take(int n) {
  while (held < (uint32_t)n) {
    if (inAt == inSize) { fprintf(stderr, "the input ends too early\n"); exit(2); }
    bits |= (uint32_t)in[inAt++] << held;
    held += 8;
  }
  uint32_t v = bits & ((1u << n) - 1);
  bits >>= n;
  held -= n;
  return v;
}

static void put(uint8_t byte) {
  if (outSize == outRoom) out = realloc(out, outRoom = outRoom ? outRoom * 2 : 65536);
  out[outSize++] = byte;
}

struct code { uint16_t count[16], symbol[288]; };

static void build(struct code *h, const uint8_t *lengths, int n) {
  uint16_t at[16];
  memset(h->count, 0, sizeof h->count);
  for (int i = 0; i < n; i++) h->count[lengths[i]]++;
  h->count[0] = 0;
  at[1] = 0;
  for (int i = 1; i < 15; i++) at[i + 1] = at[i] + h->count[i];
  for (int i = 0; i < n; i++) if (lengths[i]) h->symbol[at[lengths[i]]++] = i;
}

static int symbol(const struct code *h) {
  int code = 0, first = 0, index = 0;
  for (int length = 1; length < 16; length++) {
    code |= take(1);
    int n = h->count[length];
    if (code - first < n) return h->symbol[index + code - first];
    index += n;
    first = (first + n) << 1;
    code <<= 1;
  }
  fprintf(stderr, "no such code\n");
  exit(2);
}

static void blocks(void) {
  static const uint16_t base[] = {3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
  static const uint8_t extra[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
  static const uint16_t far[] = {1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
  static const uint8_t farExtra[] = {0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};
  static const uint8_t order[] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
  struct code literals, distances;
  uint8_t lengths[320];
  for (int last = 0; !last;) {
    last = take(1);
    int kind = take(2);
    if (kind == 0) {
      bits = held = 0;
      size_t n = in[inAt] | in[inAt + 1] << 8;
      inAt += 4;
      while (n--) put(in[inAt++]);
      continue;
    }
    if (kind == 1) {
      for (int i = 0; i < 288; i++) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
      build(&literals, lengths, 288);
      memset(lengths, 5, 30);
      build(&distances, lengths, 30);
    } else {
      int nl = take(5) + 257, nd = take(5) + 1, nc = take(4) + 4;
      memset(lengths, 0, 19);
      for (int i = 0; i < nc; i++) lengths[order[i]] = take(3);
      build(&literals, lengths, 19);
      for (int i = 0; i < nl + nd;) {
        int s = symbol(&literals), value = 0, n = 1;
        if (s < 16) value = s;
        else if (s == 16) { value = lengths[i - 1]; n = 3 + take(2); }
        else n = s == 17 ? 3 + take(3) : 11 + take(7);
        while (n--) lengths[i++] = value;
      }
      uint8_t second[32];
      memcpy(second, lengths + nl, nd);
      build(&literals, lengths, nl);
      build(&distances, second, nd);
    }
    for (int s; (s = symbol(&literals)) != 256;) {
      if (s < 256) { put(s); continue; }
      int n = base[s - 257] + take(extra[s - 257]);
      int d = symbol(&distances);
      size_t back = far[d] + take(farExtra[d]);
      while (n--) put(out[outSize - back]);
    }
  }
}

struct entry { char name[20]; double value; };
static struct entry *entries;
static int count;

static int byName(const void *a, const void *b) { return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name); }

int main(int argc, char **argv) {
  FILE *f = fopen(argv[1], "r");
  if (f == NULL) { perror(argv[1]); return 1; }
  fseek(f, 0, SEEK_END);
  in = malloc(inSize = ftell(f));
  rewind(f);
  if (fread(in, 1, inSize, f) != inSize) return 1;
  inAt = 10;
  blocks();
  put(0);
  free(in);
  int room = 0;
  for (char *s = (char *)out; *s; s = strchr(s, '\n') + 1) {
    if (count == room) entries = realloc(entries, (room = room ? room * 2 : 64) * sizeof *entries);
    if (sscanf(s, "%19s %lf", entries[count].name, &entries[count].value) != 2) break;
    count++;
  }
  if (argc > 3) qsort(entries, count, sizeof *entries, byName);
  fprintf(stderr, "loaded %d entries of %zu bytes\n", count, outSize);
  unsigned x = 3;
  double sum = 0;
  for (int q = 0, at = 0; q < atoi(argv[2]); q++) {
    x = x * 1103515245 + 12345;
    at = q % 1000 == 0 ? (x >> 4) % count : (at + 1) % count;
    sum += entries[at].value * (entries[at].name[q % 4] - 96);
  }
  printf("%.3f %s\n", sum, entries[count / 2].name);
}
