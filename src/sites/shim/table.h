/*
 * The table that the recorder (record.c, in the program) writes and Lethe (../table.ts) reads: which blocks are live, and
 * by which stack each came about. One sparse file for each process, $LETHE_SITES/PID.sites, mapped shared, so reading it stops nobody.
 *
 * Parts, each at a fixed offset; what is behind a count of the header has never been used:
 *   header · heads of the chains of blocks · heads of the chains of stacks · ring of freed blocks · mapped ranges
 *   · blocks · stacks · frames · Python frames · text
 *
 * A block is found by its address: heads[hash(address) % HEADS] is 1 + the index of the first block of a chain. A free slot has
 * address 0. A stack is `native` return addresses, innermost first, and then `python` numbers of Python frames. Text is
 * strings that end with 0. Mapped ranges are sorted and disjoint.
 */
#include <stdint.h>

#define TABLE_MAGIC 0x31534554495348ull
#define HEADS (1u << 19)
#define STACK_HEADS (1u << 16)
#define FREED (1u << 12)
#define RANGES (1u << 16)
#define BLOCKS (1u << 24)
#define STACKS (1u << 20)
#define FRAMES (1u << 24)
#define PYTHON_FRAMES (1u << 18)
#define TEXT (1u << 24)

struct header {
  uint64_t magic;
  uint32_t pid;
  uint32_t full;   /* 1: a part had no more room, so not everything is recorded */
  uint64_t live;   /* bytes of live blocks and ranges; small ones by weight */
  uint64_t looked; /* `live` when the reader last looked; it writes this */
  uint32_t watcher; /* process that answers `asked`; 0: nobody, so never wait */
  uint32_t asked, answered;
  uint32_t blocks, stacks, frames, python_frames, text, ranges;
  uint32_t freed; /* ever; the ring has the last ones */
  uint32_t exact; /* blocks of so many bytes and more are all recorded */
  uint32_t every; /* of smaller ones one for so many bytes, on average */
  int64_t unseen; /* bytes of live blocks and ranges that came after the last look; the reader makes it 0 */
  uint32_t epoch; /* looks so far */
  uint32_t unused;
};
/* `epoch`: the low bits of the header's when it came, so 0 to 65,535 and again. */
struct block { uint64_t address; uint64_t bytes : 48, epoch : 16; uint32_t stack, next; };
struct stack { uint64_t hash; uint32_t first; uint16_t native, python; uint32_t next, unused; };
struct freed { uint64_t address, bytes; uint32_t stack, unused; };
struct range { uint64_t start, end; uint32_t stack, epoch; };
struct python_frame { uint64_t code; uint32_t check, at, line, name, file, next; };

#define AT_HEADS 4096ull
#define AT_STACK_HEADS (AT_HEADS + 4ull * HEADS)
#define AT_FREED (AT_STACK_HEADS + 4ull * STACK_HEADS)
#define AT_RANGES (AT_FREED + sizeof(struct freed) * FREED)
#define AT_BLOCKS (AT_RANGES + sizeof(struct range) * RANGES)
#define AT_STACKS (AT_BLOCKS + sizeof(struct block) * BLOCKS)
#define AT_FRAMES (AT_STACKS + sizeof(struct stack) * STACKS)
#define AT_PYTHON_FRAMES (AT_FRAMES + 8ull * FRAMES)
#define AT_TEXT (AT_PYTHON_FRAMES + sizeof(struct python_frame) * PYTHON_FRAMES)
#define TABLE_BYTES (AT_TEXT + TEXT)

_Static_assert(sizeof(struct header) == 96 && sizeof(struct block) == 24 && sizeof(struct stack) == 24, "as table.ts has it");
_Static_assert(sizeof(struct freed) == 24 && sizeof(struct range) == 24 && sizeof(struct python_frame) == 32, "as table.ts has it");
