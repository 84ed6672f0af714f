// A pager process that is told what the explainer would find, and when to look: for the stress, which is about what
// comes after. Otherwise it does as src/pager/main.ts does.
//
//   stdin  {id, op, …}   stdout  {id, …}; the first line, id 0, says whether it has attached or adopted, or why not
import { existsSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Controller } from '../../src/pager/controller.ts'
import { PagerError } from '../../src/pager/errors.ts'
import type { Explained } from '../../src/pager/explainer.ts'
import { endOwnKeeper } from '../../src/pager/keeper.ts'
import { ProcessError } from '../../src/process/errors.ts'
import { hasUserfaultfd } from '../../src/process/target.ts'
import { exitNow } from '../../src/sys/ffi.ts'
import { removeFolder } from '../../src/sys/folder.ts'

export type Order = { op: 'make'; explained: Explained } | { op: 'drop' | 'detach' }
export type Report = { id: number; error?: string; code?: string; adopted?: boolean; dropped?: number }

const [directory = '', pidText = '', budget = ''] = process.argv.slice(2)
const pid = Number(pidText)
const options = { backings: [], cpu: 0.05, ...(budget === '' ? {} : { budget: Number(budget) }) }
const say = (report: Report): void => {
  writeSync(1, `${JSON.stringify(report)}\n`)
}
const failure = (error: unknown): { error: string; code: string } => ({
  error: (error as Error).stack ?? '',
  code: error instanceof PagerError || error instanceof ProcessError ? error.code : 'failed',
})

// As the pager does: Node would wait for the server's thread for ever.
process.on('uncaughtException', error => {
  console.error(error)
  exitNow(70)
})

let controller = new Controller(pid, directory, options)
let adopted = existsSync(join(directory, 'journal'))
try {
  if (adopted)
    try {
      controller.adopt()
    } catch (error) {
      if (!(error instanceof PagerError) || hasUserfaultfd(pid)) throw error
      adopted = false
      removeFolder(directory)
      controller = new Controller(pid, directory, options)
      controller.attach()
    }
  else controller.attach()
} catch (error) {
  say({ id: 0, ...failure(error) })
  if (!adopted) {
    removeFolder(directory)
    endOwnKeeper()
  }
  exitNow(3)
}
const c: Controller = controller
say({ id: 0, adopted })

async function follow(order: Order): Promise<Omit<Report, 'id'>> {
  if (order.op === 'make') return { dropped: (await c.make(order.explained)).pages }
  if (order.op === 'drop') return { dropped: c.dropClean(() => true).pages }
  await c.detach()
  return {}
}

createInterface({ input: process.stdin }).on('line', line => {
  const { id, ...order } = JSON.parse(line) as Order & { id: number }
  follow(order)
    .catch(failure)
    .then(report => say({ id, ...report }))
    .catch(() => exitNow(1))
})
setInterval(() => {
  try {
    c.beat()
  } catch (error) {
    if (!(error instanceof ProcessError)) throw error
  }
}, 100)
await c.over
setTimeout(() => {
  removeFolder(directory)
  endOwnKeeper()
  exitNow(0)
}, 5)
