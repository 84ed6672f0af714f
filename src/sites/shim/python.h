/*
 * Python's own frames, read where they lie: nothing of Python's is called that could allocate, take a lock or count a reference, for
 * we are in the middle of an allocation. Only while this thread holds the interpreter lock. CPython 3.8 to 3.13, whose
 * structures are in Include/cpython and Include/internal; others show as native frames only.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <string.h>

struct python_layout {
  unsigned minor;
  uint16_t frame_of_thread, frame_of_cframe; /* from 3.11 to 3.12 there is a C frame between; 0xffff: none */
  uint16_t previous, code, at;               /* of a frame; `at` is what runs */
  uint16_t owner;                            /* 0xffff: none; a frame of owner 3 is of the interpreter's own */
  uint16_t first_line, file, name, bytecode; /* of a code object; bytecode 0xffff: `at` is an int, times `unit` */
  uint16_t unit, text;                       /* text: where the bytes of an ASCII string begin */
};
static const struct python_layout python_layouts[] = {
  {8, 24, 0xffff, 24, 32, 104, 0xffff, 40, 104, 112, 0xffff, 1, 48},
  {9, 24, 0xffff, 24, 32, 104, 0xffff, 40, 104, 112, 0xffff, 1, 48},
  {10, 24, 0xffff, 24, 32, 96, 0xffff, 40, 104, 112, 0xffff, 2, 48},
  {11, 56, 8, 48, 32, 56, 0xffff, 72, 112, 128, 184, 1, 48},
  {12, 56, 0, 8, 0, 56, 70, 68, 112, 128, 192, 1, 40},
  {13, 72, 0xffff, 8, 0, 56, 70, 68, 112, 128, 200, 1, 40},
};

static const struct python_layout *python;
static void *(*python_thread)(void), *(*python_own_thread)(void);
static int (*python_line)(void *code, int at);

/* Looks whether this program is Python. */
static void find_python(void) {
  const char *(*version)(void) = (const char *(*)(void))dlsym(RTLD_DEFAULT, "Py_GetVersion");
  if (!version) return;
  const char *text = version();
  if (text[0] != '3' || text[1] != '.' || strstr(text, "free-threading")) return;
  unsigned minor = 0;
  for (const char *digit = text + 2; *digit >= '0' && *digit <= '9'; digit++) minor = 10 * minor + (unsigned)(*digit - '0');
  python_own_thread = (void *(*)(void))dlsym(RTLD_DEFAULT, "PyGILState_GetThisThreadState");
  python_thread = (void *(*)(void))dlsym(RTLD_DEFAULT, minor < 13 ? "_PyThreadState_UncheckedGet" : "PyThreadState_GetUnchecked");
  python_line = (int (*)(void *, int))dlsym(RTLD_DEFAULT, "PyCode_Addr2Line");
  interpreter_loop = (uint64_t)(uintptr_t)dlsym(RTLD_DEFAULT, "_PyEval_EvalFrameDefault");
  if (!python_own_thread || !python_thread || !python_line) return;
  for (unsigned i = 0; i < sizeof python_layouts / sizeof *python_layouts; i++)
    if (python_layouts[i].minor == minor) python = &python_layouts[i];
}

#define FIELD(type, object, offset) (*(type *)((char *)(object) + (offset)))

/* The innermost frame, if this thread runs Python code now. */
static void *python_frame(void) {
  if (!python) return NULL;
  void *thread = python_own_thread();
  if (!thread || thread != python_thread()) return NULL;
  void *frame = FIELD(void *, thread, python->frame_of_thread);
  if (frame && python->frame_of_cframe != 0xffff) frame = FIELD(void *, frame, python->frame_of_cframe);
  return frame;
}

/* A Python string as UTF-8; its length. */
static unsigned python_text(void *string, char *into, unsigned most) {
  uint64_t length = FIELD(uint64_t, string, 16);
  uint32_t state = FIELD(uint32_t, string, 32);
  unsigned kind = state >> 2 & 7, compact = state >> 5 & 1, ascii = state >> 6 & 1, n = 0;
  if (!compact) return 0;
  const uint8_t *bytes = (const uint8_t *)string + python->text + (ascii ? 0 : python->text == 48 ? 24 : 16);
  for (uint64_t i = 0; i < length && n + 5 < most; i++) {
    uint32_t ch = kind == 1 ? bytes[i] : kind == 2 ? ((const uint16_t *)bytes)[i] : ((const uint32_t *)bytes)[i];
    if (ch < 0x80) into[n++] = (char)ch;
    else if (ch < 0x800) into[n++] = (char)(0xc0 | ch >> 6), into[n++] = (char)(0x80 | (ch & 0x3f));
    else if (ch < 0x10000) into[n++] = (char)(0xe0 | ch >> 12), into[n++] = (char)(0x80 | (ch >> 6 & 0x3f)), into[n++] = (char)(0x80 | (ch & 0x3f));
    else into[n++] = (char)(0xf0 | ch >> 18), into[n++] = (char)(0x80 | (ch >> 12 & 0x3f)), into[n++] = (char)(0x80 | (ch >> 6 & 0x3f)), into[n++] = (char)(0x80 | (ch & 0x3f));
  }
  into[n] = 0;
  return n;
}

/* The number of a frame's place in the table; code objects may die, so what is needed of them is copied at once. */
static uint32_t name_python_frame(void *code, uint32_t at, uint32_t check);

/* Python's stack, innermost first, as numbers of Python frames. */
static unsigned python_stack(void *frame, uint64_t *out, unsigned most) {
  unsigned n = 0;
  for (; frame && n < most; frame = FIELD(void *, frame, python->previous)) {
    if (python->owner != 0xffff && FIELD(uint8_t, frame, python->owner) == 3) continue;
    void *code = FIELD(void *, frame, python->code);
    if (!code) continue;
    uint32_t at;
    if (python->bytecode == 0xffff) at = (uint32_t)(FIELD(int32_t, frame, python->at) * python->unit);
    else at = (uint32_t)(FIELD(uint64_t, frame, python->at) - ((uint64_t)(uintptr_t)code + python->bytecode));
    uint32_t check = FIELD(uint32_t, code, python->first_line) ^ (uint32_t)(FIELD(uint64_t, code, python->name) >> 3) ^
                     (uint32_t)(FIELD(uint64_t, code, python->file) >> 1);
    out[n++] = name_python_frame(code, at, check);
  }
  return n;
}
