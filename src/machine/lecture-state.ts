/**
 * The tables of the lecture's small memory system (Bryant and O'Hallaron, Computer Systems: A Programmer's Perspective, section
 * 9.6.4): the preset's state unless a state file says otherwise. Rows are [vpn, ppn], [set, way, tag, ppn] and [set, tag, bytes]; what is not
 * listed is not valid. The book shows the first 16 pages of the table only.
 */
import type { MachineState } from './state.ts'

const pages: readonly (readonly [number, number])[] = [
  [0x00, 0x28],
  [0x02, 0x33],
  [0x03, 0x02],
  [0x05, 0x16],
  [0x08, 0x13],
  [0x09, 0x17],
  [0x0a, 0x09],
  [0x0d, 0x2d],
  [0x0e, 0x11],
  [0x0f, 0x0d],
]

const translations: readonly (readonly [number, number, number, number])[] = [
  [0, 1, 0x09, 0x0d],
  [0, 3, 0x07, 0x02],
  [1, 0, 0x03, 0x2d],
  [3, 1, 0x03, 0x0d],
  [3, 2, 0x0a, 0x34],
]

const lines: readonly (readonly [number, number, string])[] = [
  [0x0, 0x19, '99112311'],
  [0x2, 0x1b, '00020408'],
  [0x4, 0x32, '436d8f09'],
  [0x5, 0x0d, '3672f01d'],
  [0x7, 0x16, '11c2df03'],
  [0x8, 0x24, '3a005189'],
  [0xa, 0x2d, '9315da3b'],
  [0xd, 0x16, '04963415'],
  [0xe, 0x13, '83771bd3'],
]

export const lectureState: MachineState = {
  pageTable: pages.map(([vpn, ppn]) => ({ vpn, ppn })),
  tlb: translations.map(([set, way, tag, ppn]) => ({ set, way, tag, ppn })),
  caches: { L1: lines.map(([set, tag, bytes]) => ({ set, tag, bytes })) },
}
