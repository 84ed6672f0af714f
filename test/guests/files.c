// Does with files what its first argument says, and prints what it was told.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static int fail(const char *what) {
  printf("%s: %s\n", what, strerror(errno));
  return 1;
}

static int __attribute__((noinline)) depth(int n) {
  volatile int below = n;
  if (n == 0) __builtin_trap();
  return depth(below - 1) + below;
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  const char *path = argc > 2 ? argv[2] : "";
  if (strcmp(what, "args") == 0) {
    for (int i = 1; i < argc; i++) printf("%d [%s]\n", i, argv[i]);
    printf("NAME=%s\n", getenv("NAME") ? getenv("NAME") : "(none)");
  } else if (strcmp(what, "exit") == 0) {
    exit(atoi(path));
  } else if (strcmp(what, "trap") == 0) {
    return depth(2);
  } else if (strcmp(what, "cat") == 0) {
    FILE *file = fopen(path, "r");
    if (file == NULL) return fail(path);
    for (int c; (c = getc(file)) != EOF;) putchar(c);
  } else if (strcmp(what, "copy") == 0) {
    for (int c; (c = getchar()) != EOF;) putchar(c);
  } else if (strcmp(what, "list") == 0) {
    DIR *dir = opendir(path);
    if (dir == NULL) return fail(path);
    char *names[256];
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL && count < 256;)
      if (entry->d_name[0] != '.') {
        char text[300];
        snprintf(text, sizeof text, "%s%s", entry->d_name, entry->d_type == DT_DIR ? "/" : "");
        names[count++] = strdup(text);
      }
    qsort(names, (size_t)count, sizeof *names, compare);
    for (int i = 0; i < count; i++) puts(names[i]);
  } else if (strcmp(what, "change") == 0) {
    if (mkdir("d", 0777) != 0) return fail("mkdir");
    FILE *file = fopen("d/a", "w+");
    if (file == NULL) return fail("open");
    fputs("0123456789", file);
    fseek(file, 3, SEEK_SET);
    fputs("xyz", file);
    fseek(file, 0, SEEK_END);
    printf("size %ld\n", ftell(file));
    fclose(file);
    file = fopen("d/a", "a");
    fputs("!", file);
    fclose(file);
    if (rename("d/a", "d/b") != 0) return fail("rename");
    if (symlink("b", "d/link") != 0) return fail("symlink");
    if (link("d/b", "d/c") != 0) return fail("link");
    struct stat st;
    if (stat("d/link", &st) != 0) return fail("stat");
    printf("link: size %lld, links %d, regular %d\n", (long long)st.st_size, (int)st.st_nlink, S_ISREG(st.st_mode));
    if (truncate("d/c", 4) != 0) return fail("truncate");
    char target[16] = {0};
    printf("readlink %d %s\n", (int)readlink("d/link", target, sizeof target), target);
    if (open("d/b", O_CREAT | O_EXCL | O_WRONLY) >= 0 || errno != EEXIST) return fail("exclusive");
    if (rmdir("d") == 0 || errno != ENOTEMPTY) return fail("rmdir");
    if (unlink("d") == 0) return fail("unlink of a directory");
    unlink("d/c"), unlink("d/link");
  } else if (strcmp(what, "sleep") == 0) {
    struct timespec before, after, span = {0, 30000000};
    clock_gettime(CLOCK_MONOTONIC, &before);
    nanosleep(&span, NULL);
    clock_gettime(CLOCK_MONOTONIC, &after);
    double ms = (double)(after.tv_sec - before.tv_sec) * 1e3 + (double)(after.tv_nsec - before.tv_nsec) / 1e6;
    printf("slept %s\n", ms >= 29 ? "long enough" : "too short");
  }
  return 0;
}
