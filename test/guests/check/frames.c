/* Errors with variables of frames and of files. */
#include <alloca.h>
#include <stdio.h>
#include <string.h>

int before[4], numbers[4], behind[4];
static int *volatile gone;

struct record {
  int number;
  char before[4];
  char name[8];
  union {
    char letters[4];
    int value;
  } kind;
  char rest[4];
};
struct record records[2];

/* What is a string is one in its member; bytes may be copied over all of it, and a last member may go on. */
static int members(const char *what, const char *text) {
  struct record two[2];
  memset(two, 0, sizeof two);
  if (!strcmp(what, "member")) strcpy(two[1].name, "12345678");
  if (!strcmp(what, "appended")) strcpy(records[1].name, "1234567"), strcat(records[1].name, "89");
  if (!strcmp(what, "whole")) {
    memcpy(two[0].name, "123456789abcdef", 16);
    strncpy(two[0].name, text, sizeof two[0].name);
    strcpy(two[0].before, "12345678");
    strcpy(two[0].kind.letters, "1234567");
    strcpy((char *)&two[1], "all of one record");
  }
  return two[0].number + two[1].number;
}

static void fill(int *to, int count) {
  for (int i = 0; i < count; i++) to[i] = i;
}

static void back(int *from) { from[-1] = 0; }

/* Without optimisation the compiler folds these into one address. */
static int constant(int index) {
  int five[5] = {0};
  five[5] = 1;
  return five[index];
}

static int below(int index) {
  int five[5] = {0};
  int *middle = five - 2;
  fill(five, 5);
  return middle[index] + five[1];
}

/* The variable that lies lowest: what is in front of it is no room that is taken. */
static int lowest(void) {
  int *front, numbers[8];
  fill(numbers, 8);
  front = numbers - 2;
  return *front;
}

/* Functions without a variable of their own. */
static char few[10];
static int *view;
static void look(void) { view = (int *)few; }
static void reach(void) { view[2] = 1; }

static void leave(void) {
  int local = 1;
  gone = &local;
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  int first[4] = {0}, second[4] = {0}, third[4] = {0};
  if (!strcmp(what, "array")) fill(second, 5);
  if (!strcmp(what, "below")) fill(third, 1), back(third);
  if (!strcmp(what, "constant")) constant(argc);
  if (!strcmp(what, "first")) below(argc - 2);
  if (!strcmp(what, "lowest")) first[0] = lowest();
  if (!strcmp(what, "few")) look(), reach();
  if (!strcmp(what, "global")) fill(numbers, 5);
  if (!strcmp(what, "alloca")) {
    int *a = alloca((unsigned)argc * 8), *b = alloca((unsigned)argc * 8);
    fill(b, 8);
    fill(a, 2);
  }
  if (!strcmp(what, "room")) {
    int *a = alloca(16), *b = alloca(32); /* the compiler knows how much */
    fill(b, 8), fill(a, 5);
  }
  if (!strcmp(what, "returned")) {
    leave();
    *gone = 2;
  }
  if (!strcmp(what, "clean")) {
    fill(first, 4), fill(second, 4), fill(third, 4), fill(numbers, 4), fill(before, 4), fill(behind, 4);
    int *end = second + 4; /* may be made, not used */
    while (end > second) *--end = 0;
    int *a = alloca(16), *b = alloca(32);
    fill(a, 4), fill(b, 8);
  }
  members(what, argc > 1 ? argv[0] : "");
  printf("%d\n", first[0] + second[0] + third[0] + numbers[0] + before[0] + behind[0]);
  return 0;
}
