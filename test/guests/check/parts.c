// Constant indices that leave an array for a part of another variable, and code that takes variables to pieces on purpose.
#include <stdio.h>
#include <string.h>

struct padded {
  char text[10];
  int number;
};
union either {
  int number;
  char text[10];
};
struct __attribute__((packed)) packed {
  char one;
  int four;
};
struct bits {
  unsigned a : 3, b : 9;
  char c;
};

static void constant(void) {
  volatile int behind = 0;
  char text[10];
  int after = 1;
  text[10] = 'x';
  printf("%d %d\n", behind, after);
}

static void padding(void) {
  struct padded one;
  one.text[10] = 'x';
}

static void unions(void) {
  union either all[5];
  all[4].text[10] = 'x';
}

static void pieces(void) {
  char text[10];
  int number;
  ((char *)&number)[0] = 1;
  ((char *)&number)[1] = 2;
  ((char *)&number)[2] = 3;
  ((char *)&number)[3] = 4;
  text[9] = number;
  int first = 1;
  printf("%d %d %d\n", number, *(char *)&first, text[9]);
}

static void copies(void) {
  struct padded one = {0}, other;
  struct packed small = {1, 2}, copy;
  struct bits bits = {1, 2, 3};
  union either either = {0};
  other = one;
  copy = small;
  bits.b = 7;
  struct bits more = bits;
  union either twin = either;
  printf("%d %d %d %d\n", other.number, copy.four, more.b, twin.number);
}

struct odd {
  char text[11];
};

static void over(void) {
  char text[10];
  char from[11] = "ten bytes!";
  memcpy(text, from, sizeof from);
  printf("%.10s\n", text);
}

static void under(void) {
  char from[12] = "eleven byte";
  char text[11];
  memcpy(text, &from[0] + 2, sizeof text);
  printf("%.9s\n", text);
}

static void whole(void) {
  char text[11];
  struct odd one = {"ten bytes!"}, other = one;
  memcpy(text, other.text, sizeof text);
  memset(&one, 0, sizeof one);
  printf("%s %d\n", text, one.text[10]);
}

int main(int argc, char **argv) {
  if (strcmp(argv[1], "constant") == 0) constant();
  if (strcmp(argv[1], "padding") == 0) padding();
  if (strcmp(argv[1], "unions") == 0) unions();
  if (strcmp(argv[1], "pieces") == 0) pieces();
  if (strcmp(argv[1], "copies") == 0) copies();
  if (strcmp(argv[1], "over") == 0) over();
  if (strcmp(argv[1], "under") == 0) under();
  if (strcmp(argv[1], "whole") == 0) whole();
  return 0;
}
