/** The record of an access in words, one sentence for each thing that happened. */
import type { Access } from './access.ts'
import { hex } from './errors.ts'

/** As a sentence: the kernel's steps are parts of one. */
function whole(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1)
  return first.endsWith('.') ? first : `${first}.`
}

export function tell(access: Access): string[] {
  const { tlb, walk, fault, caches } = access
  const out: string[] = []
  if (tlb !== undefined)
    out.push(
      tlb.hit
        ? `TLB set ${tlb.set} has page ${hex(access.vpn)}.`
        : `TLB set ${tlb.set} does not have page ${hex(access.vpn)}.`,
    )
  for (const step of walk)
    out.push(
      `Table of level ${step.level}, entry ${hex(step.index)}, from ${step.from}: ${step.entry.valid ? `frame ${hex(step.entry.frame)}` : 'not valid'}.`,
    )
  for (const step of fault?.steps ?? []) out.push(whole(step))
  for (const look of caches)
    if (look.aside !== true)
      out.push(`${look.name} set ${look.set}: ${look.hit ? 'hit' : 'miss, the line is brought'}.`)
  out.push(`${access.cycles.toLocaleString('en')} cycles.`)
  return out
}
