/* An array at the lower end of a frame, and another; the local for the frame's address is used for something else later. */
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
__attribute__((noinline)) int table(const unsigned short *lens, unsigned codes, unsigned short *work, unsigned *bits) {
  unsigned short count[16], offs[16];
  unsigned len, sym, min, max; int left;
  for (len = 0; len <= 15; len++) count[len] = 0;
  for (sym = 0; sym < codes; sym++) count[lens[sym]]++;
  unsigned root = *bits;
  for (max = 15; max >= 1; max--) if (count[max] != 0) break;
  if (root > max) root = max;
  if (max == 0) return 0;
  for (min = 1; min < max; min++) if (count[min] != 0) break;
  if (root < min) root = min;
  left = 1;
  for (len = 1; len <= 15; len++) { left <<= 1; left -= count[len]; if (left < 0) return -1; }
  offs[1] = 0;
  for (len = 1; len < 15; len++) offs[len + 1] = offs[len] + count[len];
  for (sym = 0; sym < codes; sym++) if (lens[sym] != 0) work[offs[lens[sym]]++] = sym;
  *bits = root;
  return left + count[max];
}
int main(int argc, char **argv) {
  unsigned short lens[64], work[64]; unsigned bits = 9;
  for (int i = 0; i < 64; i++) lens[i] = 6 + (i & 1) * argc / 2;
  memset(work, 0, sizeof work);
  int r = table(lens, 64, work, &bits);
  printf("%d %u %d\n", r, bits, work[9]);
  return 0;
}
