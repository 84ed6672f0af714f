// The other side of a pager's control socket. One connection per question: the answer is one line.
import { connect } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import { join } from 'node:path'
import { PagerError } from './errors.ts'
import { startTime } from '../process/target.ts'
import type { PagerStatus, Question } from './main.ts'
import { type Nap, readNap, sleeps, statusOf } from './nap.ts'
import { readRecord } from './state-dir.ts'

/** A pager that has been started by `lethe run` and waits until there is something worth attaching to. */
export interface Waiting {
  readonly type: 'waiting'
  readonly pid: number
  readonly pager: number
}
/** What a pager says to a question. */
export type Answer =
  | PagerStatus
  | Waiting
  | { type: 'detached'; pid: number }
  | { type: 'files'; added: number }

/** The longest path that a unix socket can have. */
const longestSocket = 107

/** Throws PagerError `target` when the directory is too deep for a socket. */
export function socketPath(directory: string): string {
  const path = join(directory, 'control.sock')
  if (Buffer.byteLength(path) > longestSocket)
    throw new PagerError(
      'target',
      `${path} is ${Buffer.byteLength(path)} bytes long and a socket's path can have ${longestSocket}; give a shorter --state`,
    )
  return path
}

/** How long it may take until a pager serves whose sleeper is no more, milliseconds. */
const waking = 3000

/** What a pager left that sleeps. Waits for one that is waking up. */
async function napOf(directory: string): Promise<Nap | undefined> {
  const end = performance.now() + waking
  for (;;) {
    const nap = readNap(directory)
    if (nap === undefined || sleeps(directory, nap)) return nap
    if (performance.now() > end) return undefined
    await setTimeout(20)
  }
}

/** Wakes a pager that sleeps. Resolves to what is left of `ms` when it is awake, or has died meanwhile. */
async function wake(directory: string, ms: number): Promise<number> {
  const end = performance.now() + ms
  // Nobody will ever answer here: that somebody has come is enough.
  const socket = connect(socketPath(directory)).on('error', () => {})
  while ((await napOf(directory)) !== undefined && performance.now() < end) await setTimeout(20)
  socket.destroy()
  return Math.max(1, end - performance.now())
}

/**
 * Asks the pager whose directory this is. Resolves to undefined when no pager listens there; rejects with PagerError when
 * it answers with an error, or not within `ms`.
 */
export async function ask(directory: string, question: Question, ms: number): Promise<Answer | undefined> {
  const path = socketPath(directory)
  const nap = await napOf(directory)
  if (nap !== undefined) {
    if (question.ask === 'status' || question.ask === 'settled') return statusOf(nap)
    return ask(directory, question, await wake(directory, ms))
  }
  // A dead pager's sockets stay open in its keeper: nobody will ever answer there.
  const { pager } = readRecord(directory) ?? { pager: undefined }
  const isDead = (): boolean => pager !== undefined && startTime(pager) === undefined
  // Perhaps it went to sleep just now.
  const isAsleep = (): boolean => {
    const left = readNap(directory)
    return left !== undefined && sleeps(directory, left)
  }
  if (isDead()) return isAsleep() ? ask(directory, question, ms) : undefined
  return new Promise((resolve, reject) => {
    let text = ''
    const gone = (): void => end(() => resolve(isAsleep() ? ask(directory, question, ms) : undefined))
    const socket = connect(path)
    const timer = globalThis.setTimeout(() => {
      clearInterval(watch)
      socket.destroy()
      reject(
        new PagerError(
          'target',
          `The pager in ${directory} has not answered '${question.ask}' in ${ms / 1000} s`,
        ),
      )
    }, ms)
    const watch = setInterval(() => {
      if (isDead()) gone()
    }, 250)
    const end = (settle: () => void): void => {
      clearTimeout(timer)
      clearInterval(watch)
      socket.destroy()
      settle()
    }
    socket.on('connect', () => socket.write(`${JSON.stringify(question)}\n`))
    socket.on('data', data => {
      text += data.toString()
      const line = text.indexOf('\n')
      if (line < 0) return
      const answer = JSON.parse(text.slice(0, line)) as Answer | { type: 'error'; message: string }
      end(() => {
        if (answer.type === 'error') reject(new PagerError('target', answer.message))
        else resolve(answer)
      })
    })
    // Nobody listens, or it ended before it answered.
    socket.on('error', gone)
    socket.on('close', gone)
  })
}
