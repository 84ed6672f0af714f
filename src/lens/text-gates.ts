/**
 * Cheap looks: could this memory be text of an encoding? Could this backing? Memory is judged by 64 characters
 * spread over it, in well under a microsecond. What passes is searched for and compared, so a wrong yes costs time and a
 * wrong no loses a page.
 */
import type { Backing } from '../backing/backing.ts'
import { type Conversion, textKernels } from '../kernels/text.ts'

const SAMPLES = 64

/** Whether running text is likely to hold this character of the basic plane: no controls, no private use, no rare blocks. */
function plausible(point: number): boolean {
  if (point < 0xa0) return (point >= 32 && point < 127) || (point >= 9 && point <= 13) || point === 0x85
  return point < 0xa000 || (point >= 0xac00 && point < 0xd7b0) || (point >= 0xf900 && point < 0xfffe)
}

/** Odd, so that the samples fall on all lanes of wider elements. */
function stride(units: number): number {
  return Math.floor(units / SAMPLES) | 1
}

export function likelyUtf16(memory: Uint8Array): boolean {
  const units = memory.length >> 1
  if (units === 0) return false
  const step = stride(units)
  let seen = 0
  let odd = 0
  let bytes = 0 // units that are two printable ASCII bytes: narrow text taken for Chinese
  for (let i = 0; i < units; i += step) {
    const low = memory[2 * i] ?? 0
    const high = memory[2 * i + 1] ?? 0
    seen++
    if (high >= 0xd8 && high < 0xe0) {
      // Emoji and the planes that text uses: a high half below D880, or any low half.
      if (high < 0xdc && !(high === 0xd8 && low >= 0x34)) odd++
    } else if (!plausible((high << 8) | low)) odd++
    if (low >= 32 && low < 127 && high >= 32 && high < 127) bytes++
    if (odd > 6) return false
  }
  return odd * 10 <= seen && bytes * 5 <= seen * 4
}

export function likelyUtf32(memory: Uint8Array): boolean {
  const units = memory.length >> 2
  if (units === 0) return false
  const step = stride(units)
  let seen = 0
  let odd = 0
  for (let i = 0; i < units; i += step) {
    const high = ((memory[4 * i + 3] ?? 0) << 8) | (memory[4 * i + 2] ?? 0)
    if (high > 0x10) return false
    seen++
    if (high === 0 ? !plausible(((memory[4 * i + 1] ?? 0) << 8) | (memory[4 * i] ?? 0)) : high > 3) odd++
    if (odd > 6) return false
  }
  return odd * 10 <= seen
}

function hasHigh(memory: Uint8Array): boolean {
  for (let i = 0; i < memory.length; i++) if ((memory[i] ?? 0) >= 0x80) return true
  return false
}

/** Latin-1 text, with or without accents. */
export function likelyBytes(memory: Uint8Array): boolean {
  return fewControls(memory, true)
}

/** Bytes of text with accents: no controls (of which Latin-1 has 32 above 127 too), some byte above 127 (else it is ASCII, which needs no lens). */
export function likelyLatin1(memory: Uint8Array): boolean {
  return fewControls(memory, true) && hasHigh(memory)
}

export function likelyUtf8(memory: Uint8Array): boolean {
  return fewControls(memory, false)
}

function fewControls(memory: Uint8Array, latin1: boolean): boolean {
  const step = stride(memory.length)
  let odd = 0
  let seen = 0
  for (let i = 0; i < memory.length; i += step) {
    const byte = memory[i] ?? 0
    seen++
    if ((byte < 32 && (byte < 9 || byte > 13)) || byte === 127) odd++
    else if (latin1 ? byte >= 0x80 && byte < 0xa0 : byte > 0xf4) odd++
    if (odd > 2) return false
  }
  return memory.length > 0 && odd * 20 <= seen
}

const probe = new Uint8Array(4096)

/** Whether the lens makes sense for a backing, by 4 KiB at its start, middle and end. */
export function textSuits(name: Conversion, backing: Backing): boolean {
  const { size } = backing
  if (size === 0) return false
  for (const at of new Set([
    0,
    Math.max(0, Math.floor(size / 4096) >> 1) * 4096,
    Math.max(0, size - 4096) & ~1,
  ])) {
    const bytes = probe.subarray(0, backing.read(at, probe))
    if (!suitable(name, bytes)) return false
  }
  return true
}

function suitable(name: Conversion, bytes: Uint8Array): boolean {
  if (name.startsWith('utf16-')) return likelyUtf16(bytes)
  if (!likelyUtf8(bytes)) return false
  if (name === 'crlf-lf' || name === 'newlines-lf') return !bytes.includes(10) || bytes.includes(13)
  // Without the rest of a character at the start and a part of one at the end.
  let from = 0
  while (from < 3 && ((bytes[from] ?? 0) & 0xc0) === 0x80) from++
  const kernel = textKernels.take()
  try {
    kernel.input.set(bytes)
    if (bytes.length > from + 8) kernel.measure(name, from, bytes.length - 4, bytes.length)
    else return true
    return kernel.fast
  } finally {
    textKernels.give(kernel)
  }
}
