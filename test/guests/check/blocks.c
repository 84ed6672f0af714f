/* Variables of inner blocks, and pointers to them that stay. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int *volatile kept;

__attribute__((noinline)) static void keep(int *p) { kept = p; }
static void done(int *p) {
  *p += 1;
  keep(p);
  *kept += 1;
}

static int nested(int n) {
  int sum = 0;
  for (int i = 0; i < n; i++) {
    int a[3] = {i, i + 1, i + 2};
    keep(a);
    for (int k = 0; k < 3; k++) {
      int t = kept[k];
      keep(&t);
      sum += *kept;
      keep(a);
    }
  }
  return sum;
}

/* What is called at the end of the block gets the variable. */
static int cleaned(int n) {
  int sum = 0;
  for (int i = 0; i < n; i++) {
    __attribute__((cleanup(done))) int x = i;
    keep(&x);
    sum += *kept;
  }
  return sum;
}

static int switched(int n) {
  int sum = 0;
  for (int i = 0; i < n; i++) switch (i % 4) {
      int shared;
      case 0:
        shared = i;
        keep(&shared);
        sum += *kept;
        break;
      case 1: {
        int own = 2;
        keep(&own);
        if (i > 6) goto end;
        sum += *kept;
      }
      case 2:
        shared = 7;
        keep(&shared);
        sum += *kept;
      default:
        sum++;
    }
end:
  return sum;
}

static int jumped(int n) {
  int i = 0, sum = 0;
again: {
  int x;
  if (i++ == 0) goto in;
  x = 1;
  keep(&x);
  sum += *kept;
  goto next;
in:
  x = 5;
  keep(&x);
  sum += *kept;
}
next:
  if (i < n) goto again;
  return sum;
}

static int over(int n) {
  {
    int inner = n;
    keep(&inner);
  }
  return *kept;
}

static int first(int n) {
  int *p = NULL;
  for (int i = 0; i < n; i++) {
    int a[2] = {i, i};
    if (p == NULL) p = a;
  }
  return p[0];
}

/* A compiler keeps pieces of vectors where no variable is, also in frames that are rounded down. */
typedef unsigned char bytes __attribute__((vector_size(32)));
typedef unsigned long long words __attribute__((vector_size(32)));
__attribute__((noinline)) static words pieces(words x) {
  words y = (words)(bytes){((bytes)(words){65535, x[0]})[1]};
  return (words){y[0], 255};
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  printf("%d %d %d %d\n", nested(4), cleaned(5), switched(11), jumped(4));
  printf("%d\n", (int)pieces((words){1, 2})[1]);
  if (!strcmp(what, "over")) return over(3) == 0;
  if (!strcmp(what, "first")) return first(3) == 7;
  return 0;
}
