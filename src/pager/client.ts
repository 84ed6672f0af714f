// The other side of a pager's control socket. One connection per question: the answer is one line.
import { connect } from 'node:net'
import { join } from 'node:path'
import { PagerError } from './errors.ts'
import { startTime } from '../process/target.ts'
import type { PagerStatus, Question } from './main.ts'
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

/**
 * Asks the pager whose directory this is. Resolves to undefined when no pager listens there; rejects with PagerError when
 * it answers with an error, or not within `ms`.
 */
export function ask(directory: string, question: Question, ms: number): Promise<Answer | undefined> {
  const path = socketPath(directory)
  // A dead pager's sockets stay open in its keeper: nobody will ever answer there.
  const { pager } = readRecord(directory) ?? { pager: undefined }
  const isDead = (): boolean => pager !== undefined && startTime(pager) === undefined
  if (isDead()) return Promise.resolve(undefined)
  return new Promise((resolve, reject) => {
    let text = ''
    const socket = connect(path)
    const timer = setTimeout(() => {
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
      if (isDead()) end(() => resolve(undefined))
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
    socket.on('error', () => end(() => resolve(undefined)))
    socket.on('close', () => end(() => resolve(undefined)))
  })
}
