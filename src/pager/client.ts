// The other side of a pager's control socket. One connection per question: the answer is one line.
import { connect } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import { join } from 'node:path'
import { PagerError } from './errors.ts'
import { startTime } from '../process/target.ts'
import type { PagerStatus, Question } from './main.ts'
import { keeps } from './keeper.ts'
import { readNap, statusOf } from './nap.ts'
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

/** Between two looks at a pager that falls asleep or wakes up, milliseconds. */
const pause = 20
/** How often it is asked anew that lives and does not listen: it may be about to. */
const patience = 50

/**
 * Asks the pager whose directory this is, and wakes it if it sleeps and can't be answered for. Resolves to undefined when no pager
 * listens there; rejects with PagerError when it answers with an error, or not within `ms`.
 */
export async function ask(directory: string, question: Question, ms: number): Promise<Answer | undefined> {
  const path = socketPath(directory)
  const end = performance.now() + ms
  let unheard = 0
  for (; performance.now() < end; await setTimeout(pause)) {
    const nap = readNap(directory)
    if (nap !== undefined) {
      const asleep = keeps(nap.sleeper)
      if (asleep && (question.ask === 'status' || question.ask === 'settled')) return statusOf(nap)
      if (asleep) knock(path)
      // It is waking up, if anybody is there who starts it, or has just started a successor.
      else if (!isThere(nap.status.supervisor) && !isThere(readRecord(directory)?.pager ?? 0))
        return undefined
      continue
    }
    const { pager } = readRecord(directory) ?? { pager: undefined }
    // A dead pager's sockets stay open in its keeper: nobody will ever answer there.
    const lost = (): boolean =>
      readNap(directory) !== undefined || (pager !== undefined && startTime(pager) === undefined)
    const answer = lost() ? undefined : await once(path, question, end - performance.now(), lost)
    if (answer?.type === 'error') throw new PagerError('target', answer.message)
    if (answer !== undefined) return answer
    // Did it fall asleep, or was it woken, meanwhile? Then it can be asked again.
    const now = readRecord(directory)?.pager
    if (readNap(directory) !== undefined || now !== pager) continue
    if (pager === undefined || startTime(pager) === undefined || ++unheard > patience) return undefined
  }
  const text = `The pager in ${directory} has not answered '${question.ask}' in ${ms / 1000} s`
  throw new PagerError('target', text)
}

/** Wakes a sleeper. Nobody answers: that somebody comes is enough. */
function knock(path: string): void {
  const socket = connect(path, () => socket.destroy()).on('error', () => {})
}

const isThere = (pid: number): boolean => pid > 1 && startTime(pid) !== undefined

/** Asks once: undefined if nobody listens, or the connection ends without an answer, or `lost` says that none will come. */
function once(
  path: string,
  question: Question,
  ms: number,
  lost: () => boolean,
): Promise<Answer | { type: 'error'; message: string } | undefined> {
  return new Promise(resolve => {
    let text = ''
    const socket = connect(path)
    const end = (answer?: Answer | { type: 'error'; message: string }): void => {
      clearTimeout(timer)
      clearInterval(watch)
      socket.destroy()
      resolve(answer)
    }
    const timer = globalThis.setTimeout(end, ms)
    const watch = setInterval(() => {
      if (lost()) end()
    }, 250)
    socket.on('connect', () => socket.write(`${JSON.stringify(question)}\n`))
    socket.on('data', data => {
      text += data.toString()
      const line = text.indexOf('\n')
      if (line >= 0) end(JSON.parse(text.slice(0, line)) as Answer)
    })
    socket.on('error', () => end())
    socket.on('close', () => end())
  })
}
