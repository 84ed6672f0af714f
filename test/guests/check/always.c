/* Functions that are put into their callers in code that is not optimised: what they answer lies in the frame, without a name. */
#include <stdio.h>

#define INLINE static inline __attribute__((always_inline))

INLINE int add(int *sum, int more) {
  if (more < 0) return 0;
  *sum += more;
  return 1;
}

INLINE int twice(int *sum, int more) {
  if (!add(sum, more)) return 0;
  (void)add(sum, more);
  return 1;
}

int main(int argc, char **argv) {
  int numbers[4] = {1, 2, 3, argc}, sum = 0;
  for (int i = 0; i < 4; i++) twice(&sum, numbers[i]);
  printf("%d\n", sum);
  return 0;
}
