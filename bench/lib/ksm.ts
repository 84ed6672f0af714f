// Kernel same-page merging on one process: bench/merge.c starts it with merging asked for.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { atEnd } from './cleanup.ts'
import { Skip } from './cc.ts'
import { sleep } from './stats.ts'

const folder = '/sys/kernel/mm/ksm'
const read = (name: string): string => readFileSync(`${folder}/${name}`, 'latin1').trim()
const write = (name: string, value: string): void => writeFileSync(`${folder}/${name}`, value)

/** Makes the kernel's scanner run at full speed. The returned function puts everything back. Throws Skip. */
export function startKsm(): () => void {
  if (!existsSync(folder)) throw new Skip('KSM: the kernel has none')
  const before = ['sleep_millisecs', 'pages_to_scan', 'run'].map(name => [name, read(name)] as const)
  const stop = atEnd(() => {
    write('run', '2') // takes everything apart again
    for (const [name, value] of before) write(name, value)
  })
  try {
    write('pages_to_scan', '20000')
    write('sleep_millisecs', '10')
    write('run', '1')
  } catch (error) {
    stop()
    throw new Skip(`KSM: ${(error as Error).message}`)
  }
  return stop
}

/** Waits for `scans` full scans; false when they took longer than `ms`. */
export async function scanned(scans: number, ms: number): Promise<boolean> {
  const goal = Number(read('full_scans')) + scans
  const end = performance.now() + ms
  while (Number(read('full_scans')) < goal) {
    if (performance.now() > end) return false
    await sleep(200)
  }
  return true
}

/** Bytes that merging saves on the whole machine, the records that it takes subtracted: can be negative. */
export const profit = (): number => Number(read('general_profit'))
