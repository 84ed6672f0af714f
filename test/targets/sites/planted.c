/* Four places that hold a file each, in four ways: planted-c FILE FILE FILE FILE. Says "ready" and waits for the end of its input. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void *xmalloc(size_t bytes) {
  void *p = malloc(bytes);
  if (!p) abort();
  return p;
}

/* One large block. */
__attribute__((noinline)) char *site_whole(const char *path) {
  FILE *file = fopen(path, "rb");
  fseek(file, 0, SEEK_END);
  size_t bytes = (size_t)ftell(file);
  rewind(file);
  char *p = xmalloc(bytes);
  if (fread(p, 1, bytes, file) != bytes) abort();
  fclose(file);
  return p;
}

/* One that grows as it is read. */
__attribute__((noinline)) char *site_grown(const char *path) {
  FILE *file = fopen(path, "rb");
  size_t used = 0, room = 4096, got;
  char *p = malloc(room);
  while ((got = fread(p + used, 1, room - used, file)) > 0) {
    used += got;
    if (used == room) p = realloc(p, room *= 2);
  }
  fclose(file);
  return p;
}

/* Mapped memory, not malloc's. */
__attribute__((noinline)) char *site_mapped(const char *path) {
  int file = open(path, O_RDONLY);
  size_t bytes = (size_t)lseek(file, 0, SEEK_END);
  char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pread(file, p, bytes, 0) != (ssize_t)bytes) abort();
  close(file);
  return p;
}

/* Many blocks of 20 KiB, a stack frame of variable size, and a realigned stack. */
__attribute__((noinline)) char **site_blocks(const char *path) {
  int file = open(path, O_RDONLY);
  size_t bytes = (size_t)lseek(file, 0, SEEK_END), count = bytes / 20480;
  char buffer[64 + count % 64] __attribute__((aligned(64)));
  memset(buffer, 1, sizeof buffer);
  char **blocks = calloc(count + 1, sizeof *blocks);
  for (size_t i = 0; i < count; i++) {
    blocks[i] = malloc(20480 + (size_t)(buffer[i % 64] - 1));
    if (pread(file, blocks[i], 20480, (off_t)(i * 20480)) != 20480) abort();
  }
  close(file);
  return blocks;
}

int main(int count, char **words) {
  if (count < 5) return 2;
  char *a = site_whole(words[1]), *b = site_grown(words[2]), *c = site_mapped(words[3]);
  char **d = site_blocks(words[4]);
  puts("ready");
  fflush(stdout);
  while (getchar() != EOF);
  return a[0] + b[0] + c[0] + d[0][0] == 1;
}
