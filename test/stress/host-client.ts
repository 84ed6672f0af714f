// The pager process of a C lane: host.ts, told what to do, killed and started again.
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type Lab, node, root } from '../safety/lab.ts'
import type { Order, Report } from './host.ts'

/** The pager was killed before it answered. */
export class Killed extends Error {}

type Waiting = Map<number, { resolve(r: Report): void; reject(e: Error): void }>

/** The pager of a C lane. */
export class Host {
  readonly #lab: Lab
  #process: ChildProcess | undefined

  get pid(): number {
    return this.#process?.pid ?? 0
  }
  #next = 1
  #waiting: Waiting = new Map()
  errors = ''

  constructor(lab: Lab) {
    this.#lab = lab
  }

  /** Starts one; resolves to its first word. */
  async start(pid: number, directory: string, budget?: number): Promise<Report> {
    const words = ['--max-semi-space-size=1', join(root, 'test/stress/host.ts'), directory, String(pid)]
    const child = spawn(node, [...words, ...(budget === undefined ? [] : [String(budget)])], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, NODE_COMPILE_CACHE: join(this.#lab.directory, 'compiled') },
    })
    const waiting: Waiting = new Map()
    this.#process = child
    this.#waiting = waiting
    child.stdin.on('error', () => {})
    child.stderr.on('data', (text: Buffer) => {
      this.errors = (this.errors + text.toString()).slice(-4000)
    })
    const first = new Promise<Report>((resolve, reject) => waiting.set(0, { resolve, reject }))
    createInterface({ input: child.stdout }).on('line', line => {
      const report = JSON.parse(line) as Report
      waiting.get(report.id)?.resolve(report)
      waiting.delete(report.id)
    })
    child.once('exit', code => {
      if (this.#process === child) this.#process = undefined
      // Its last words may still be in the pipe.
      setTimeout(() => {
        for (const { reject } of waiting.values()) reject(new Killed(`ended with ${code}`))
      }, 20)
    })
    return await first
  }

  get alive(): boolean {
    return this.#process !== undefined
  }

  async kill(): Promise<void> {
    const child = this.#process
    if (child === undefined) return
    const gone = new Promise(resolve => child.once('exit', resolve))
    child.kill('SIGKILL')
    await gone
  }

  async call(order: Order): Promise<Report> {
    const child = this.#process
    if (child === undefined) throw new Killed('not there')
    const id = this.#next++
    return await new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      child.stdin?.write(`${JSON.stringify({ ...order, id })}\n`)
    })
  }
}
