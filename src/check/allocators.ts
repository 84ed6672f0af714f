// The functions that take and give back memory, by the names that compilers leave in a module: C's, dlmalloc's own (wasi-libc calls them
// from C's), and C++'s operators, whose names come demangled or not.
import type { HeapKind } from './heap.ts'

/**
 * take: (size) or, with `alignmentFirst`, (alignment, size). `zeroed`: (count, size). place: (where to write the address, alignment, size).
 */
export interface AllocatorFunction {
  readonly role: 'take' | 'zeroed' | 'aligned' | 'place' | 'resize' | 'resizeArray' | 'give' | 'usable'
  readonly kind: HeapKind
  /** How many parameters it has. */
  readonly params: number
  /** Of C++'s: the second parameter is an alignment. */
  readonly alignmentLast?: boolean
}

const of = (
  role: AllocatorFunction['role'],
  kind: HeapKind,
  params: number,
  alignmentLast = false,
): AllocatorFunction => ({ role, kind, params, alignmentLast })

const c: Record<string, AllocatorFunction> = {
  malloc: of('take', 'malloc', 1),
  calloc: of('zeroed', 'malloc', 2),
  realloc: of('resize', 'malloc', 2),
  reallocarray: of('resizeArray', 'malloc', 3),
  free: of('give', 'malloc', 1),
  cfree: of('give', 'malloc', 1),
  aligned_alloc: of('aligned', 'malloc', 2),
  memalign: of('aligned', 'malloc', 2),
  posix_memalign: of('place', 'malloc', 3),
  malloc_usable_size: of('usable', 'malloc', 1),
}

const cpp: Record<string, AllocatorFunction> = {}
for (const [suffix, mangled, kind] of [
  ['', 'w', 'new'],
  ['[]', 'a', 'new[]'],
] as const) {
  const N = `_Zn${mangled}m`
  const D = `_Zd${mangled === 'w' ? 'l' : 'a'}Pv`
  cpp[`operator new${suffix}(unsigned long)`] = cpp[N] = of('take', kind, 1)
  cpp[`operator new${suffix}(unsigned long, std::nothrow_t const&)`] = cpp[`${N}RKSt9nothrow_t`] = of(
    'take',
    kind,
    2,
  )
  cpp[`operator new${suffix}(unsigned long, std::align_val_t)`] = cpp[`${N}St11align_val_t`] = of(
    'take',
    kind,
    2,
    true,
  )
  cpp[`operator delete${suffix}(void*)`] = cpp[D] = of('give', kind, 1)
  cpp[`operator delete${suffix}(void*, unsigned long)`] = cpp[`${D}m`] = of('give', kind, 2)
  cpp[`operator delete${suffix}(void*, std::nothrow_t const&)`] = cpp[`${D}RKSt9nothrow_t`] = of(
    'give',
    kind,
    2,
  )
  cpp[`operator delete${suffix}(void*, std::align_val_t)`] = cpp[`${D}St11align_val_t`] = of('give', kind, 2)
  cpp[`operator delete${suffix}(void*, unsigned long, std::align_val_t)`] = cpp[`${D}mSt11align_val_t`] = of(
    'give',
    kind,
    3,
  )
}

export const allocators: Readonly<Record<string, AllocatorFunction | undefined>> = {
  ...c,
  ...Object.fromEntries(Object.entries(c).map(([name, one]) => [`dl${name}`, one])),
  dlmemalign: of('aligned', 'malloc', 2),
  internal_memalign: of('aligned', 'malloc', 2),
  ...cpp,
}
