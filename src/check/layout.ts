// The protocol of the checker: what is kept about each byte and each value of the guest, where, and who looks at it.
//
//   prog.wasm ── pass.ts ──> a module that carries the checks ── runtime.ts ──> errors (errors.ts) ──> report
//                                  │ fast paths inside               │
//                                  └── shadow memory, control memory ┘ slow paths, malloc, strings, leaks: here in JavaScript
//
// The instance gets three more memories of its own. The *shadow memory* (4 GiB of address space, of which only what is touched
// costs anything) holds one word for each aligned word of the guest, SHADOW_APART bytes further on (from the end it goes on at 0):
//
//   0                         no byte of the word may be touched (never allocated, redzone, freed, below the stack pointer)
//   4 .. 0x3fffffff           all four bytes addressable and defined; the bits from 3 on are the *tag* of the pointer kept
//                             there (0: no pointer that we know of); bit 2 is always set
//   0x40000000 | origin << 3  all four bytes addressable and undefined since `origin`
//   0x80000000 | a << 27 | o  anything else: bit i of `a` says that byte i is addressable; its undefined bits are in a table
//                             beside; `o` is the origin, as above
//
// Every value of the guest has up to two shadow values, in locals, globals and on the operand stack (as locals of the function):
//   V   as wide as the value: its undefined bits
//   T   0: nothing known. A tag (multiple of 8 below 0x40000000): a pointer into that object; the object table in the control memory
//       says where it begins and how long it is: 8 bytes at TABLE + T. ANY (4): a pointer that was mixed from several. From
//       ORIGIN on: where the undefined bits come from
// A tag makes an access an error that stays inside of memory that may be touched, but leaves the object its pointer was made from:
// a neighbour on the stack, a block that has the place of a freed one. What isn't sure gets no tag.
//
// The *bits memory* is the table beside: for each byte of a mixed word, BITS_APART bytes further on, its undefined bits.
//
// The heap is the checker's, and so is its code (take.ts): blocks between redzones in memory that the guest's is grown by. What is known
// of a block lies where no guest comes: in the bits memory at its front redzone, four words that end where the block begins:
//
//   tag | slack | kind   kind: 0 malloc, 1 new, 2 new[]. Slack (4): aligned to more than 16 bytes
//   taken, freed         numbers of call stacks; freed: plus 1, 0: it lives
//   size
// and before them, if there is slack, the length and the start of the run of bytes that it has taken. A block that was freed keeps all that
// while it is in quarantine; then its run of bytes goes to the bin of its length, linked at its first byte.
//
// Kept V is never reported; V that decides a branch, an address or a call of the host is. Passing through calls: a global for each
// parameter and result. The *control memory*: an exchange between slow paths and the pass, the call stack (a call site per frame,
// written by the caller), the object table.

/**
 * How much further on than the guest's bytes their shadow and their bits are. Memories begin at pages: at the same address all three would
 * have the same place in a page, and by that a processor takes a load from one for a load of what was just written to another.
 */
export const SHADOW_APART = 0x440
export const BITS_APART = 0x880

/** A word that nobody may touch. */
export const UNADDRESSABLE = 0
/** Defined, and no pointer. */
export const DEFINED = 4
/** The first shadow word that is not simply defined. */
export const UNDEFINED = 0x40000000
export const MIXED = 0x80000000
/** Of a mixed word: where the four bits of addressable bytes are. */
export const MIXED_ADDRESSABLE = 27
/** Of an undefined or mixed word: the origin's number, from bit 3 on. */
export const ORIGIN_MASK = 0x07fffff8

/** T of a pointer that was made from several: not checked. */
export const ANY = 4

/** The control memory, in bytes. Exchange: V (16 bytes), then T, then where the call stack ends (of a function that is checked as a whole). */
export const EXCHANGE_V = 0
export const EXCHANGE_T = 16
export const EXCHANGE_CALLS = 20
/** Call sites of the frames, 4 bytes each. Before them are zeros, for who looks below the first. */
export const CALLS = 256
/** Which variable a tag of the frames' is: 4 bytes at FRAME_VARIABLES + T / 2. */
export const FRAME_VARIABLES = 0x40_0000
/** Tags of variables in frames: [FRAME_TAGS, HEAP_TAGS). Below are those of globals. */
export const FRAME_TAGS = 0x10_0000
export const HEAP_TAGS = 0x90_0000
/**
 * Bytes of the object table behind the tags of running functions that are passed through before one is used again: so a pointer to a
 * variable of a function that has returned is known for what it is, and not as one of the next function's.
 */
export const RETIRED_TAGS = 0x800
type HeapWord =
  | 'top'
  | 'end'
  | 'kept'
  | 'limit'
  | 'first'
  | 'last'
  | 'ring'
  | 'seen'
  | 'freeTag'
  | 'nextTag'
  | 'allocations'
  | 'frees'
  | 'bytes'
  | 'ranges'
/** The state of the heap: words by these places. The memory that was grown last is free in [top, end). */
export const HEAP = 0x90_0000
export const HEAP_STATE: Readonly<Record<HeapWord, number>> = {
  top: HEAP,
  end: HEAP + 4,
  /** Bytes in quarantine, and how many may be. */
  kept: HEAP + 8,
  limit: HEAP + 12,
  /** Blocks that have left the quarantine, and that have come to it; `ring`: the bits of these that say where at KEPT the block is. */
  first: HEAP + 16,
  last: HEAP + 20,
  ring: HEAP + 24,
  /** The tag that was given back last (in its entry: the one before, plus 1), and the first that was never used. */
  freeTag: HEAP + 28,
  nextTag: HEAP + 32,
  allocations: HEAP + 36,
  /** 64 bits. */
  bytes: HEAP + 40,
  frees: HEAP + 48,
  ranges: HEAP + 52,
  /** What is read only to be near. */
  seen: HEAP + 56,
}
/** Runs of free bytes by their length: the first of each. */
export const BINS = 0x90_1000
/** Memory that the heap has grown: [start, end) each. */
export const HEAP_RANGES = 0x90_8000
/** Numbers of stacks, plus 1, by a hash of their sites of so many bits. */
export const RECENT = 0x92_0000
export const RECENT_BITS = 20
/** The object table: {start, length} of tag T at TABLE + T. That of 0 holds all of memory. Any T may be looked up: others find something. */
export const TABLE = 0x100_0000
/** Tags end here at the latest: a T from here on is an origin. */
export const TAG_LIMIT = 0x40000000
/** Call stacks, 64 bytes each: sites, the innermost last; how many; the size of the blocks that it took, plus 1 (all ones: they differ). */
export const STACKS = 0x4100_0000
export const STACK_DEPTH = 12
export const STACK_COUNT: number = 4 * STACK_DEPTH
export const STACK_SIZE: number = STACK_COUNT + 4
/** Origins have no more numbers. */
export const MOST_STACKS = 0xff_0000
/** The blocks in quarantine, in a ring: their starts. */
export const KEPT = 0x8100_0000
/** No run is shorter, so no more blocks are in quarantine. */
export const MOST_KEPT: number = 2 ** 27

export const CONTROL_PAGES = 0xa100

/** Where the added imports come from, and what the exports are called. */
export const CHECK_MODULE = 'lethe:check'
export const EXPORTS = {
  shadow: 'lethe:shadow',
  control: 'lethe:control',
  bits: 'lethe:bits',
  memory: 'lethe:memory',
  calls: 'lethe:calls',
  tags: 'lethe:tags',
  liveTags: 'lethe:live-tags',
  exiting: 'lethe:exiting',
  exitCode: 'lethe:exit-code',
  take: 'lethe:take',
  give: 'lethe:give',
  blockAt: 'lethe:block-at',
  start: 'lethe:start',
  global: 'lethe:global:',
} as const
