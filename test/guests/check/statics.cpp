// A static variable of a function that is made when it is first needed: whether it was is told by a byte right behind it.
struct Pair {
  int first, second;
  Pair() : first(1), second(2) {}
};

static const int *pair() {
  static Pair pair;
  return &pair.first;
}

int main() { return pair()[0] - pair()[1] + 1; }
