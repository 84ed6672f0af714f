/** The pages that a trace refers to, as dense numbers: what policies work on. The references of several processes are to pages of their own. */
import { grown } from '../policy/lists.ts'
import { PageNumbers } from '../policy/index.ts'
import { MachineError } from './errors.ts'
import { kinds, type TraceFormat } from './trace.ts'
import { readTrace } from './trace-file.ts'

export interface PageTrace {
  readonly pages: Int32Array
  readonly numbers: PageNumbers
}

/** Reads a trace; a reference that crosses a page's border counts for the page that it starts in. MachineError 'trace'. */
export async function readPageTrace(
  path: string,
  pageSize: number,
  format?: TraceFormat,
): Promise<PageTrace> {
  const numbers = new PageNumbers()
  let pages = new Int32Array(1 << 16)
  let count = 0
  let space = 0
  await readTrace(
    path,
    (words, records) => {
      if (count + records > pages.length) pages = grown(pages, count + records)
      for (let i = 0; i < records; i++) {
        const low = words[i * 2] as number
        const high = words[i * 2 + 1] as number
        if (high >>> 28 === kinds.process) space = low * Math.ceil(2 ** 48 / pageSize)
        else pages[count++] = numbers.of(space + Math.floor(((high & 0xffff) * 2 ** 32 + low) / pageSize))
      }
    },
    format,
  )
  if (count === 0)
    throw new MachineError('trace', `${path === '-' ? 'standard input' : path}: there is no reference in it`)
  return { pages: pages.slice(0, count), numbers }
}
