/* errno is a variable of a library without debug information, right behind one that has some. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) {
  char *copy = malloc(10);
  errno = 0;
  double x = strtod(argc > 5 ? argv[5] : "1e999", NULL);
  printf("%d\n", errno == ERANGE && x > 1);
  free(copy);
  return 0;
}
