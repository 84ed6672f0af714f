/*
 * Return addresses of the calling stack, from .eh_frame, so without frame pointers. For each return address the rule that
 * undoes its frame is worked out once and kept: CFA = rsp + n or rbp + n, the return address below it, rbp as it was or
 * saved in a known place. A frame then costs two reads. What has no .eh_frame (code of V8, made at run time or built in) is taken to
 * have a frame pointer.
 * Reads never leave the mapping that the stack is in. Source: DWARF 5, 6.4; System V ABI x86-64, 3.7; LSB, .eh_frame_hdr.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum cfa_base { FROM_SP, FROM_BP, THROUGH_BP /* CFA = *(rbp + n): a realigned stack */, STOP };
enum bp_rule { BP_SAME, BP_AT_CFA, BP_AT_BP };
struct rule { int32_t offset; int16_t bp; uint8_t base, bp_rule; };

struct cursor { const uint8_t *at, *end; };
static uint64_t fixed(struct cursor *c, unsigned bytes) {
  uint64_t value = 0;
  if ((size_t)(c->end - c->at) < bytes) c->at = c->end;
  else memcpy(&value, c->at, bytes), c->at += bytes;
  return value;
}
static uint64_t uleb(struct cursor *c) {
  uint64_t value = 0;
  for (unsigned shift = 0; c->at < c->end; shift += 7) {
    uint8_t byte = *c->at++;
    if (shift < 64) value |= (uint64_t)(byte & 0x7f) << shift;
    if (!(byte & 0x80)) break;
  }
  return value;
}
static int64_t sleb(struct cursor *c) {
  int64_t value = 0;
  unsigned shift = 0;
  uint8_t byte = 0;
  while (c->at < c->end) {
    byte = *c->at++;
    if (shift < 64) value |= (int64_t)((uint64_t)(byte & 0x7f) << shift);
    shift += 7;
    if (!(byte & 0x80)) break;
  }
  if (shift < 64 && (byte & 0x40)) value |= -(int64_t)((uint64_t)1 << shift);
  return value;
}
static uint64_t encoded(struct cursor *c, uint8_t encoding, uint64_t data) {
  uint64_t here = (uint64_t)(uintptr_t)c->at, value;
  switch (encoding & 0x0f) {
    case 0x00: case 0x04: case 0x0c: value = fixed(c, 8); break;
    case 0x01: value = uleb(c); break;
    case 0x02: value = fixed(c, 2); break;
    case 0x03: value = fixed(c, 4); break;
    case 0x09: value = (uint64_t)sleb(c); break;
    case 0x0a: value = (uint64_t)(int64_t)(int16_t)fixed(c, 2); break;
    case 0x0b: value = (uint64_t)(int64_t)(int32_t)fixed(c, 4); break;
    default: c->at = c->end; return 0;
  }
  if ((encoding & 0x70) == 0x10) value += here;
  else if ((encoding & 0x70) == 0x30) value += data;
  return value;
}

struct frame_code { uint64_t code_align; int64_t data_align; uint8_t encoding; int augmented, signal; struct cursor instructions; };

static int read_cie(const uint8_t *at, struct frame_code *code) {
  struct cursor c = {at, at + 4};
  uint64_t length = fixed(&c, 4);
  if (length == 0 || length == 0xffffffff) return 0;
  c.end = c.at + length;
  if (fixed(&c, 4) != 0) return 0;
  uint8_t version = (uint8_t)fixed(&c, 1);
  const char *augmentation = (const char *)c.at;
  while (c.at < c.end && *c.at) c.at++;
  c.at++;
  if (version >= 4) c.at += 2;
  code->code_align = uleb(&c);
  code->data_align = sleb(&c);
  if (version == 1) c.at++; else uleb(&c);
  code->encoding = 0;
  code->augmented = augmentation[0] == 'z';
  code->signal = 0;
  if (code->augmented) {
    uint64_t bytes = uleb(&c);
    const uint8_t *behind = c.at + bytes;
    for (const char *a = augmentation + 1; *a; a++) {
      if (*a == 'R') code->encoding = (uint8_t)fixed(&c, 1);
      else if (*a == 'L') c.at++;
      else if (*a == 'P') { uint8_t e = (uint8_t)fixed(&c, 1); encoded(&c, e, 0); }
      else if (*a == 'S') code->signal = 1;
    }
    c.at = behind;
  }
  code->instructions = (struct cursor){c.at, c.end};
  return c.at <= c.end;
}

struct row { struct rule rule; uint64_t cfa_register; int64_t cfa_offset; int drap, odd, ended; };

/* A CFA of the form *(rbp + n), and rbp saved at rbp + n, are what compilers make of a realigned stack; no others are known. */
static int bp_expression(struct cursor *c, int64_t *offset, int *deref) {
  uint64_t bytes = uleb(c);
  struct cursor e = {c->at, c->at + bytes};
  c->at += bytes;
  if (e.end > c->end || fixed(&e, 1) != 0x76) return 0; /* DW_OP_breg6 */
  *offset = sleb(&e);
  *deref = e.at < e.end && *e.at == 0x06;
  if (*deref) e.at++;
  return e.at == e.end;
}

static void step_to(struct frame_code *code, struct cursor c, uint64_t start, uint64_t pc, struct row *row, const struct row *initial) {
  struct row saved[8];
  unsigned depth = 0;
  uint64_t at = start;
  while (c.at < c.end && at <= pc) {
    uint8_t op = *c.at++, low = op & 0x3f;
    uint64_t reg;
    int64_t offset;
    int deref;
    switch (op & 0xc0) {
      case 0x40: at += low * code->code_align; continue;
      case 0x80:
        offset = (int64_t)uleb(&c) * code->data_align;
        if (low == 6) row->rule.bp_rule = BP_AT_CFA, row->rule.bp = (int16_t)offset;
        if (low == 16 && offset != -8) row->odd = 1;
        continue;
      case 0xc0:
        if (low == 6 && initial) row->rule.bp_rule = initial->rule.bp_rule, row->rule.bp = initial->rule.bp;
        continue;
    }
    switch (op) {
      case 0x00: break;
      case 0x01: at = encoded(&c, code->encoding, 0); break;
      case 0x02: at += fixed(&c, 1) * code->code_align; break;
      case 0x03: at += fixed(&c, 2) * code->code_align; break;
      case 0x04: at += fixed(&c, 4) * code->code_align; break;
      case 0x05: case 0x11: case 0x2f:
        reg = uleb(&c);
        offset = op == 0x11 ? sleb(&c) : (int64_t)uleb(&c);
        offset *= op == 0x2f ? -code->data_align : code->data_align;
        if (reg == 6) row->rule.bp_rule = BP_AT_CFA, row->rule.bp = (int16_t)offset;
        if (reg == 16 && offset != -8) row->odd = 1;
        break;
      case 0x06: case 0x08:
        if (uleb(&c) == 6) row->rule.bp_rule = BP_SAME;
        break;
      case 0x07:
        reg = uleb(&c);
        if (reg == 16) row->ended = 1;
        if (reg == 6) row->rule.bp_rule = BP_SAME;
        break;
      case 0x09: reg = uleb(&c); uleb(&c); if (reg == 6 || reg == 16) row->odd = 1; break;
      case 0x0a: if (depth < 8) saved[depth++] = *row; else row->odd = 1; break;
      case 0x0b: if (depth > 0) *row = saved[--depth]; else row->odd = 1; break;
      case 0x0c: row->cfa_register = uleb(&c); row->cfa_offset = (int64_t)uleb(&c); row->drap = 0; break;
      case 0x0d: row->cfa_register = uleb(&c); row->drap = 0; break;
      case 0x0e: row->cfa_offset = (int64_t)uleb(&c); break;
      case 0x0f:
        row->drap = bp_expression(&c, &row->cfa_offset, &deref) && deref;
        if (!row->drap) row->odd = 1;
        break;
      case 0x10:
        reg = uleb(&c);
        if (reg == 6 || reg == 16) {
          if (reg == 6 && bp_expression(&c, &offset, &deref) && !deref) row->rule.bp_rule = BP_AT_BP, row->rule.bp = (int16_t)offset;
          else row->odd = 1;
        } else c.at += uleb(&c);
        break;
      case 0x12: row->cfa_register = uleb(&c); row->cfa_offset = sleb(&c) * code->data_align; row->drap = 0; break;
      case 0x13: row->cfa_offset = sleb(&c) * code->data_align; break;
      case 0x14: uleb(&c); uleb(&c); break;
      case 0x15: uleb(&c); sleb(&c); break;
      case 0x16: reg = uleb(&c); if (reg == 6 || reg == 16) row->odd = 1; c.at += uleb(&c); break;
      case 0x2e: uleb(&c); break;
      default: row->odd = 1; return;
    }
  }
}

struct search { uint64_t pc; const uint8_t *fde; uint64_t function; };

/* The binary search table of the module that the address is in. */
static int find_fde(struct dl_phdr_info *info, size_t size, void *into) {
  struct search *search = into;
  (void)size;
  const ElfW(Phdr) *header = NULL;
  int inside = 0;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *p = &info->dlpi_phdr[i];
    if (p->p_type == PT_GNU_EH_FRAME) header = p;
    if (p->p_type == PT_LOAD && search->pc - (info->dlpi_addr + p->p_vaddr) < p->p_memsz) inside = 1;
  }
  if (!inside) return 0;
  if (!header) return 1;
  const uint8_t *base = (const uint8_t *)(info->dlpi_addr + header->p_vaddr);
  struct cursor c = {base + 4, base + header->p_memsz};
  if (base[0] != 1 || base[3] != 0x3b) return 1; /* a table of 32-bit offsets from its own start, sorted */
  encoded(&c, base[1], (uint64_t)(uintptr_t)base);
  uint64_t count = encoded(&c, base[2], (uint64_t)(uintptr_t)base);
  const int32_t *table = (const int32_t *)c.at;
  if (count == 0 || count > (uint64_t)(c.end - c.at) / 8) return 1;
  int64_t wanted = (int64_t)(search->pc - (uint64_t)(uintptr_t)base);
  uint64_t low = 0, high = count;
  while (high - low > 1) {
    uint64_t middle = (low + high) / 2;
    if (table[2 * middle] <= wanted) low = middle; else high = middle;
  }
  if (table[2 * low] > wanted) return 1;
  search->function = (uint64_t)(uintptr_t)base + (uint64_t)(int64_t)table[2 * low];
  search->fde = base + table[2 * low + 1];
  return 1;
}

/* Where Python's interpreter loop begins; a stack of Python's is followed that far. */
static uint64_t interpreter_loop;
#define AT_INTERPRETER 0x80

static struct rule work_out(uint64_t pc) {
  const struct rule stop = {0, 0, STOP, BP_SAME}, frame_pointer = {16, -16, FROM_BP, BP_AT_CFA};
  struct search search = {pc, NULL, 0};
  dl_iterate_phdr(find_fde, &search);
  if (!search.fde) return frame_pointer;
  struct cursor c = {search.fde, search.fde + 4};
  uint64_t length = fixed(&c, 4);
  if (length == 0 || length == 0xffffffff) return stop;
  c.end = c.at + length;
  const uint8_t *cie_field = c.at;
  struct frame_code code;
  if (!read_cie(cie_field - fixed(&c, 4), &code) || code.signal) return stop;
  uint64_t start = encoded(&c, code.encoding, 0), bytes = encoded(&c, code.encoding & 0x0f, 0);
  if (pc - start >= bytes) return frame_pointer; /* behind the last function that has one */
  if (code.augmented) { uint64_t skip = uleb(&c); c.at += skip; }
  struct row row = {{0, 0, FROM_SP, BP_SAME}, 7, 8, 0, 0, 0};
  step_to(&code, code.instructions, start, pc, &row, NULL);
  struct row initial = row;
  step_to(&code, c, start, pc, &row, &initial);
  if (row.odd || row.ended || row.cfa_offset != (int32_t)row.cfa_offset) return stop;
  if (!row.drap && row.cfa_register != 6 && row.cfa_register != 7) return stop;
  row.rule.offset = (int32_t)row.cfa_offset;
  row.rule.base = row.drap ? THROUGH_BP : row.cfa_register == 6 ? FROM_BP : FROM_SP;
  if (interpreter_loop && search.function == interpreter_loop) row.rule.base |= AT_INTERPRETER;
  return row.rule;
}

/* Rules by address. A slot holds rule and address ^ rule, so that one which two threads write at once fits neither address. */
#define RULES (1u << 15)
static struct { uint64_t check, rule; } rules[RULES];

static struct rule rule_of(uint64_t pc) {
  uint64_t slot = (pc * 0x9e3779b97f4a7c15u) >> (64 - 15), packed = __atomic_load_n(&rules[slot].rule, __ATOMIC_RELAXED);
  struct rule rule;
  if ((__atomic_load_n(&rules[slot].check, __ATOMIC_RELAXED) ^ packed) == pc) {
    memcpy(&rule, &packed, 8);
    return rule;
  }
  rule = work_out(pc);
  memcpy(&packed, &rule, 8);
  __atomic_store_n(&rules[slot].check, pc ^ packed, __ATOMIC_RELAXED);
  __atomic_store_n(&rules[slot].rule, packed, __ATOMIC_RELAXED);
  return rule;
}

/* The mapping that an address is in, from /proc/self/maps, without an allocation. */
static int mapping_of(uint64_t address, uint64_t *low, uint64_t *high) {
  int file = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  char text[2048];
  long got;
  uint64_t value = 0, start = 0;
  int part = 0, found = 0; /* 0: first address, 1: second one, 2: the rest of the line */
  while (!found && (got = syscall(SYS_read, file, text, sizeof text)) > 0)
    for (long i = 0; i < got && !found; i++) {
      char ch = text[i];
      if (ch == '\n') part = 0, value = 0;
      else if (part == 2) continue;
      else if (ch == '-' && part == 0) start = value, value = 0, part = 1;
      else if (ch == ' ' && part == 1) {
        part = 2;
        if (address >= start && address < value) *low = start, *high = value, found = 1;
      } else value = value << 4 | (uint64_t)(ch <= '9' ? ch - '0' : ch - 'a' + 10);
    }
  syscall(SYS_close, file);
  return found;
}

struct bounds { uint64_t low, high; };

/*
 * Return addresses from a frame on, innermost first; `frame` is what __builtin_frame_address(0) gives in the function whose caller
 * is the first one. `to_interpreter`: ends where Python's interpreter loop does.
 */
static unsigned unwind(const uint64_t *frame, struct bounds *bounds, int to_interpreter, uint64_t *out, unsigned most) {
  uint64_t bp = frame[0], pc = frame[1], sp = (uint64_t)(uintptr_t)(frame + 2);
  if (sp < bounds->low || sp >= bounds->high)
    if (!mapping_of(sp, &bounds->low, &bounds->high)) return 0;
  unsigned n = 0;
  while (pc > 4096 && n < most) {
    struct rule rule = rule_of(pc - 1);
    if (to_interpreter && (rule.base & AT_INTERPRETER)) break;
    out[n++] = pc;
    uint64_t cfa;
    switch (rule.base & ~AT_INTERPRETER) {
      case FROM_SP: cfa = sp + (uint64_t)(int64_t)rule.offset; break;
      case FROM_BP: cfa = bp + (uint64_t)(int64_t)rule.offset; break;
      case THROUGH_BP: {
        uint64_t at = bp + (uint64_t)(int64_t)rule.offset;
        if (at < sp || at + 8 > bounds->high || (at & 7)) return n;
        cfa = *(const uint64_t *)(uintptr_t)at;
        break;
      }
      default: return n;
    }
    if (cfa < sp + 8 || cfa > bounds->high || (cfa & 7)) return n;
    pc = *(const uint64_t *)(uintptr_t)(cfa - 8);
    if (rule.bp_rule != BP_SAME) {
      uint64_t at = (rule.bp_rule == BP_AT_CFA ? cfa : bp) + (uint64_t)(int64_t)rule.bp;
      if (at < sp || at + 8 > bounds->high || (at & 7)) return n;
      bp = *(const uint64_t *)(uintptr_t)at;
    }
    sp = cfa;
  }
  return n;
}
