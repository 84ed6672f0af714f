// A static variable of a function that is made when it is first needed: whether it was is told by a byte right behind it.
struct Pair {
  int first, second;
  Pair() : first(1), second(2) {}
};

static const int *pair() {
  static Pair pair;
  return &pair.first;
}

// A thread's own variable lies behind those of all.
static int shared[16];
thread_local int *current;

int main() {
  current = &shared[pair()[0]];
  *current = pair()[1];
  return shared[1] - *current;
}
