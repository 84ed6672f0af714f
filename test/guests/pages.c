// Reads a file into memory with one fread, makes an array of numbers and a list of small blocks, goes over everything several times and
// says what it found: a sum that any lost or wrong page changes. With `hold` it then frees all and waits for a byte on standard input.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct link {
  struct link *next;
  unsigned value;
  char text[40];
};

static unsigned long sum(const unsigned char *bytes, size_t length) {
  unsigned long hash = 14695981039346656037ul;
  for (size_t i = 0; i < length; i++) hash = (hash ^ bytes[i]) * 1099511628211ul;
  return hash;
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  FILE *file = fopen(argv[1], "rb");
  if (file == NULL) return 1;
  size_t room = (size_t)atol(argv[2]) << 20, count = (size_t)atol(argv[3]) << 20;
  unsigned char *bytes = malloc(room);
  size_t length = fread(bytes, 1, room, file);
  fclose(file);
  printf("read %zu bytes, sum %lx\n", length, sum(bytes, length));
  unsigned *numbers = malloc(count);
  for (size_t i = 0; i < count / 4; i++) numbers[i] = (unsigned)(i * 2654435761u);
  struct link *list = NULL;
  for (unsigned i = 0; i < count / 256; i++) {
    struct link *one = malloc(sizeof *one);
    one->next = list;
    one->value = i;
    snprintf(one->text, sizeof one->text, "link number %u", i);
    list = one;
  }
  for (int round = 0; round < 3; round++) {
    for (size_t at = (size_t)round * 5000; at < length; at += 65536 * 3) bytes[at] ^= 1;
    for (size_t i = 0; i < count / 4; i += 7001) numbers[i] += 1;
    unsigned total = 0, text = 0;
    for (struct link *one = list; one != NULL; one = one->next) total += one->value, text += one->text[strlen(one->text) - 1];
    printf("round %d: bytes %lx, numbers %lx, list %u %u\n", round, sum(bytes, length),
           sum((unsigned char *)numbers, count), total, text);
  }
  if (argc > 4 && strcmp(argv[4], "hold") == 0) {
    while (list != NULL) {
      struct link *next = list->next;
      free(list);
      list = next;
    }
    free(numbers);
    free(bytes);
    printf("freed\n");
    fflush(stdout);
    getchar();
  }
  return 0;
}
