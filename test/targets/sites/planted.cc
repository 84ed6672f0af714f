// The same of C++, with what its library does: planted-cc FILE FILE FILE FILE.
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace planted {

__attribute__((noinline)) std::vector<char> site_vector(const char *path) {
  std::ifstream in(path, std::ios::binary);
  return std::vector<char>(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
}

__attribute__((noinline)) std::string site_string(const char *path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  std::string text(static_cast<size_t>(in.tellg()), '\0');
  in.seekg(0);
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  return text;
}

struct Chunk {
  char bytes[32768];
};

template <typename T> struct Store {
  std::vector<std::unique_ptr<T>> all;
  __attribute__((noinline)) void site_template(const char *path) {
    std::ifstream in(path, std::ios::binary);
    for (;;) {
      auto chunk = std::make_unique<T>();
      if (!in.read(chunk->bytes, sizeof chunk->bytes)) break;
      all.push_back(std::move(chunk));
    }
  }
};

__attribute__((noinline)) char *site_thread(const char *path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  auto bytes = static_cast<size_t>(in.tellg());
  char *p = new char[bytes];
  in.seekg(0);
  in.read(p, static_cast<std::streamsize>(bytes));
  return p;
}

}  // namespace planted

int main(int count, char **words) {
  if (count < 5) return 2;
  auto a = planted::site_vector(words[1]);
  auto b = planted::site_string(words[2]);
  planted::Store<planted::Chunk> c;
  c.site_template(words[3]);
  char *d = nullptr;
  std::thread([&] { d = planted::site_thread(words[4]); }).join();
  std::puts("ready");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return a[0] + b[0] + c.all[0]->bytes[0] + d[0] == 1;
}
