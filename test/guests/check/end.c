// Reads or writes so many bytes, so many before a null pointer, or frees what is there: at the end of all addresses.
#include <stdlib.h>

int main(int argc, char **argv) {
  char *volatile none = NULL;
  char *at = none - atoi(argv[2]);
  int width = atoi(argv[3]);
  volatile long long seen = 1;
  if (argv[1][0] == 'f') {
    free(at);
  } else if (argv[1][0] == 'r') {
    if (width == 1) seen = *at;
    if (width == 2) seen = *(short *)at;
    if (width == 4) seen = *(int *)at;
    if (width == 8) seen = *(long long *)at;
  } else {
    if (width == 1) *at = seen;
    if (width == 2) *(short *)at = seen;
    if (width == 4) *(int *)at = seen;
    if (width == 8) *(long long *)at = seen;
  }
  return argc - 4;
}
