// The protocol of the checker: what is kept about each byte and each value of the guest, where, and who looks at it.
//
//   prog.wasm ── pass.ts ──> a module that carries the checks ── runtime.ts ──> errors (errors.ts) ──> report
//                                  │ fast paths inside               │
//                                  └── shadow memory, control memory ┘ slow paths, malloc, strings, leaks: here in JavaScript
//
// The instance gets three more memories of its own. The *shadow memory* (4 GiB of address space, of which only what is touched
// costs anything) holds one word for each aligned word of the guest, at the same address:
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
// The *bits memory* is the table beside: for each byte of a mixed word, at the same address, its undefined bits.
//
// Kept V is never reported; V that decides a branch, an address or a call of the host is. Passing through calls: a global for each
// parameter and result. The *control memory*: an exchange between slow paths and the pass, the call stack (a call site per frame,
// written by the caller), the object table.

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
/** Call sites of the frames, 4 bytes each, up to the tag table. */
export const CALLS = 256
/** Which variable a tag of the frames' is: 4 bytes at FRAME_VARIABLES + T / 2. */
export const FRAME_VARIABLES = 0x40_0000
/** Tags of variables in frames: [FRAME_TAGS, HEAP_TAGS). Below are those of globals. */
export const FRAME_TAGS = 0x10_0000
export const HEAP_TAGS = 0x90_0000
/** The object table: {start, length} of tag T at TABLE + T. */
export const TABLE = 0x100_0000
/** Tags end here at the latest: a T from here on is an origin. */
export const TAG_LIMIT = 0x40000000

export const CONTROL_PAGES: number = (TABLE + HEAP_TAGS + 0x80_0000) >>> 16
