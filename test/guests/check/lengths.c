/* Arrays of a length that is known only at run time, and the variables of functions that have them. */
#include <stdio.h>
#include <string.h>

__attribute__((noinline)) static int opaque(int x) {
  volatile int y = x;
  return y;
}

/* A leaf: it doesn't tell the stack pointer of its room. */
__attribute__((noinline)) static int matrix(int n) {
  int m[n][n], sum = 0;
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) m[i][j] = i * j;
  for (int i = 0; i < n; i++) sum += m[i][i];
  return sum;
}

__attribute__((noinline)) static int leaf(int n, int more) {
  int t[4], v[n];
  for (int i = 0; i < 4 + more; i++)
    t[i] = i;
  v[0] = t[0];
  return v[0] + t[1];
}

__attribute__((noinline)) static int beside(int n, int more) {
  char text[8], room[n];
  memset(room, 1, n);
  for (int i = 0; i < 8 + more; i++)
    text[i] = 'x';
  return text[3] + room[n - 1];
}

__attribute__((noinline)) static int loop(int n, int more) {
  int sum = 0;
  for (int i = 0; i < 3; i++) {
    int v[opaque(n + i)];
    v[0] = i;
    if (i == 0) continue;
    v[i + more] = 1;
    sum += v[0] + v[i];
  }
  return sum;
}

__attribute__((noinline)) static int again(int n) {
  int v[n];
  v[0] = n;
  if (n > 1) v[0] += again(n - 1);
  return v[0];
}

int main(int count, char **words) {
  const char *what = count > 1 ? words[1] : "";
  int sum = again(opaque(9)) + matrix(opaque(7));
  sum += leaf(opaque(3), opaque(!strcmp(what, "leaf")));
  sum += beside(opaque(9), opaque(!strcmp(what, "beside")));
  sum += loop(opaque(5), opaque(!strcmp(what, "loop") * 8));
  printf("%d\n", sum);
  return 0;
}
