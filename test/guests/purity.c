// Functions of every kind, ours and the C library's, for the judge of purity. Nothing here is meant to be run.
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define KEEP __attribute__((noinline, used))

static int counter;
static int table[256];
static const int squares[4] = {0, 1, 4, 9};

KEEP int own_add(int a, int b) { return a * 31 + b; }
KEEP int own_fib(int n) { return n < 2 ? n : own_fib(n - 1) + own_fib(n - 2); }
KEEP double own_mix(double a, double b) { return a * 0.25 + sqrt(fabs(b)); }
KEEP int own_square(int i) { return squares[i & 3]; }
KEEP int own_sum(const int *a, int n) { int s = 0; for (int i = 0; i < n; i++) s += a[i]; return s; }
KEEP void own_fill(int *a, int n, int v) { for (int i = 0; i < n; i++) a[i] = v + i; }
KEEP int own_count(void) { return ++counter; }
KEEP void own_store(int i, int v) { table[i & 255] = v; }
KEEP int own_look(int i) { return table[i & 255]; }
KEEP int own_frame(int n) { volatile int a[16]; for (int i = 0; i < 16; i++) a[i] = n * i; return a[n & 15]; }
KEEP int cmp_pure(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
KEEP int cmp_counts(const void *a, const void *b) { counter++; return *(const int *)a - *(const int *)b; }
KEEP int cmp_clock(const void *a, const void *b) { return (int)time(0) + *(const int *)a - *(const int *)b; }
KEEP void sort_pure(int *a, int n) { qsort(a, n, sizeof *a, cmp_pure); }
KEEP void sort_clock(int *a, int n) { qsort(a, n, sizeof *a, cmp_clock); }
KEEP void sort_counts(int *a, int n) { qsort(a, n, sizeof *a, cmp_counts); }
KEEP int *find_pure(int *k, int *a, int n) { return bsearch(k, a, n, sizeof *a, cmp_pure); }
KEEP int *find_clock(int *k, int *a, int n) { return bsearch(k, a, n, sizeof *a, cmp_clock); }
KEEP int parse(const char *s, int *k, float *v) { return sscanf(s, "%d=%f\n", k, v); }
KEEP int format(char *s, int n, double v) { return snprintf(s, n, "%g %d", v, n); }
KEEP void say(const char *s) { printf("%s\n", s); }
KEEP void log_line(int n) { printf("%d\n", n); }
KEEP void complain(const char *s) { fprintf(stderr, "%s\n", s); }
KEEP long now(void) { return time(0); }
KEEP double elapsed(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec * 1e-9; }
KEEP int lucky(void) { int x; getentropy(&x, sizeof x); return x; }
KEEP char *copy_of(const char *s) { return strdup(s); }
KEEP void *block(int n) { return malloc(n); }
KEEP void *larger(void *p, int n) { return realloc(p, n); }
KEEP int roll(void) { return rand() % 6; }
KEEP int slurp(const char *path, char *into, int n) { FILE *f = fopen(path, "r"); if (!f) return -1; n = fread(into, 1, n, f); fclose(f); return n; }
KEEP int raw_read(int fd, char *into, int n) { return read(fd, into, n); }
KEEP void stamp(char *s) { time_t t = time(0); memcpy(s, &t, sizeof t); }
typedef int (*binary)(int, int);
KEEP int apply(binary f, int a, int b) { return f(a, b); }
KEEP int apply_add(int a) { return apply(own_add, a, 3); }
KEEP int apply_store(int a, int b) { own_store(a, b); return b; }
KEEP int apply_later(int a) { return apply(apply_store, a, 3); }

int main(int argc, char **argv) {
  static char text[4096], more[4096];
  static int numbers[100];
  int k; float v;
  char *end;
  srand(argc);
  memcpy(text, argv[0], argc); memmove(text + 1, text, argc); memset(more, argc, 100);
  strcpy(more, text); strncpy(more, text, argc); strcat(text, more);
  k = memcmp(text, more, argc) + strcmp(text, more) + strncmp(text, more, argc) + (int)strlen(text);
  k += (strchr(text, argc) != 0) + (strrchr(text, argc) != 0) + (strstr(text, more) != 0) + (memchr(text, argc, 9) != 0);
  k += (int)strspn(text, more) + (int)strcspn(text, more) + atoi(text) + (int)strtol(text, &end, 10) + (int)strtoul(text, &end, 10);
  k += toupper(argc) + tolower(argc) + isalpha(argc) + abs(argc) + rand();
  v = strtod(text, &end) + atof(more) + sin(argc) + cos(argc) + exp(argc) + log(argc) + pow(argc, 1.5) + fmod(argc, 3.1);
  free(block(argc)); calloc(argc, 3); larger(text, argc);
  strtok(text, more);
  own_fill(numbers, 100, k); sort_pure(numbers, argc); sort_clock(numbers, argc); sort_counts(numbers, argc);
  k += own_add(argc, k) + own_fib(argc) + own_square(k) + own_sum(numbers, 9) + own_count() + own_look(k) + own_frame(k);
  k += (int)own_mix(v, k) + *find_pure(&k, numbers, 9) + *find_clock(&k, numbers, 9) + parse(text, &k, &v) + format(text, k, v);
  say(text); log_line(k); complain(copy_of(text)); k += (int)now() + (int)elapsed() + lucky() + roll() + slurp(text, more, k) + raw_read(k, more, 7);
  stamp(text); k += apply_add(k) + apply_later(k);
  puts(text); putchar(k); getenv(text); abs(k); if (k == 77) abort(); if (k == 78) exit(k);
  return k;
}
