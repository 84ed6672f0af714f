// Loads numbers from a file and then waits for lines on its standard input: each is the place at which the rest of the line is read over the array's memory
// as it is, and the whole array is summed. What it waits for is read by the host straight into memory that may have been dropped.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct point { int key; float value; };
static struct point *points;
static int count, room;

int main(int argc, char **argv) {
  FILE *f = fopen(argv[1], "r");
  int key;
  float value;
  while (fscanf(f, "%d=%f\n", &key, &value) == 2) {
    if (count == room) points = realloc(points, (room = room ? room * 2 : 1024) * sizeof *points);
    points[count++] = (struct point){key, value};
  }
  fclose(f);
  printf("loaded %d\n", count);
  fflush(stdout);
  for (int k = 0;; k++) {
    ssize_t got = read(0, &points[(k * 40009) % (count - 1000)], 4000);
    if (got <= 0) return 0;
    unsigned sum = 0;
    for (int i = 0; i < count; i++) sum = sum * 31 + (unsigned)points[i].key;
    printf("%d %u\n", (int)got, sum);
    fflush(stdout);
  }
}
