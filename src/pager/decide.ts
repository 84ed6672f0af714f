/**
 * What a page fault means: one function for every pager, from the page's state and the kind of fault, nothing else.
 *
 * A page of the pager of real processes (space.ts) and of the simulated machine (src/machine/kernel.ts) goes through the same states:
 *
 *   absent ──touch──> present ──verify──> verifying ──> clean <──touch── virtual
 *                        ↑                                │ │               ↑
 *                        └───────────── write ────────────┘ └── dropping ───┘
 */

/** What a page is to us. One byte each. */
export const state = {
  /** not ours */
  none: 0,
  /** was absent when we came, or has been removed by the program: a fault brings zeros */
  absent: 1,
  /** was present when we came, or has been written: ours to leave alone */
  present: 2,
  /** write-protected, being compared */
  verifying: 3,
  /** present, write-protected, equal to its explanation */
  clean: 4,
  /** being dropped: faults wait */
  dropping: 5,
  /** dropped: a fault brings what its explanation says */
  virtual: 6,
  /** its backing was destroyed while nobody held it: a fault is SIGBUS */
  lost: 7,
} as const

/** What a fault calls for. */
export type Decision =
  | 'refill'
  | 'zero'
  | 'unprotect'
  | 'wait'
  /** somebody else has served it, or the state does not fit: look at the page table */
  | 'check'
  | 'poison'

/** The fault decision. `protectedWrite`: the page is there, and the fault is a write to a write-protected page. */
export function decide(pageState: number, protectedWrite: boolean): Decision {
  switch (pageState) {
    case state.dropping:
      return 'wait'
    case state.virtual:
      return protectedWrite ? 'check' : 'refill'
    case state.lost:
      return 'poison'
    case state.clean:
    case state.verifying:
    case state.present:
      return protectedWrite ? 'unprotect' : 'check'
    default:
      return protectedWrite ? 'unprotect' : 'zero'
  }
}
