/* What glibc has and wasi-libc doesn't. */
#include <stddef.h>

struct mallinfo2 {
  size_t uordblks;
};

static inline struct mallinfo2 mallinfo2(void) { return (struct mallinfo2){0}; }
