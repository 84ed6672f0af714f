/* Not checking a string's length: strcpy into eight bytes. See 05-string-limit.md. */
#include <stdio.h>
#include <string.h>

struct account {
  char name[8];
  int balance;
};

int main(int argc, char **argv) {
  struct account a = {"", 100};
  const char *given = argc > 1 ? argv[1] : "AliceAAA\xff\xff\x7f"; /* 11 characters and the 0 that ends them */
  char *volatile to = a.name; /* keeps compilers from seeing the size, as a function boundary would */
  strcpy(to, given);          /* must be limited: snprintf(a.name, sizeof a.name, "%s", given) */
  printf("name %.8s, balance %d\n", a.name, a.balance);
  return a.balance != 100;
}
