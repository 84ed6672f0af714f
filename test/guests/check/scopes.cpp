// Ways out of scopes that have something to clean up: at -O0 a function keeps which one it takes in its frame, where nobody reads it if all go the same.
#include <stdlib.h>

struct Name {
  char *text;
  Name(char first) : text((char *)malloc(4)) { text[0] = first, text[1] = 0; }
  ~Name() { free(text); }
  bool is(char first) const { return text[0] == first; }
};

static void drop(int *number) { *number = 0; }

__attribute__((noinline)) int found(int which) {
  if (which == 9) return -1;
  Name name('a' + which);
  if (name.is('b')) return 1;
  return 0;
}

__attribute__((noinline)) int many(int which) {
  Name one('a');
  for (int i = 0; i < 3; i++) {
    Name other('a' + i);
    if (other.is('a' + which)) continue;
    if (i == 2) break;
    if (which == 7) return 2;
  }
  return 3;
}

__attribute__((noinline)) int array(int count) {
  if (count > 1) {
    int all[count];
    all[count - 1] = 4;
    if (all[count - 1] == count) return 4;
    return 5;
  }
  return 6;
}

__attribute__((noinline)) int dropped(int which) {
  int number __attribute__((cleanup(drop))) = which;
  if (which == 1) return 7;
  number++;
  return number;
}

// Constants where nothing is: past an array, in a function with something to clean up, too.
__attribute__((noinline)) int over(int which) {
  int four[4] = {1, 2, 3, which};
  Name name('a');
  four[5] = 100;
  return four[0] + name.is('a');
}

int main(int argc, char **argv) {
  int sum = argc > 1 ? over(argc) : 0;
  for (int i = 0; i < 10; i++) sum += found(i) + many(i) + array(i) + dropped(i);
  return sum == 0;
}
