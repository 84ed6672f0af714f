/* Global arrays of bytes and of structs, which lie side by side and whose addresses compilers put into the accesses. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char a[10], b[10], c[10];
static struct { int k; short n[3]; char tail; } t[4];
struct far { char rest[2000]; int x; };

int main(int argc, char **argv) {
  int i = argc > 1 ? atoi(argv[1]) : 3;
  struct far *far = calloc(1, sizeof *far), local = {"", 1};
  struct far *to = argc > 2 ? far : &local;
  b[i] = 1;
  a[0] = c[9];
  t[i & 3].n[1] = 3;
  t[i % 4].tail = a[(i & 3) - (i & 3 ? 1 : 0)];
  to->x += t[argc > 2 ? atoi(argv[2]) : 0].k;
  if (argc > 3) {
    char text[20] = "hello";
    strcat(text, text + atoi(argv[3]));
  }
  printf("%d %d\n", b[i], to->x);
  free(far);
}
