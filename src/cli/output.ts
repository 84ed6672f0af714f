// Data goes to standard output, talk to standard error; colour and progress only on a terminal.
import type { styleText } from 'node:util'

export type Style = Parameters<typeof styleText>[0]

/** A line of data. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** One document, or one line of a stream. */
export function printJson(value: object, indent = 0): void {
  print(JSON.stringify(value, null, indent === 0 ? undefined : indent))
}

/** A sentence for people, on one line; what it quotes (names of files, words of them) can't steer a terminal. */
export function say(sentence: string): void {
  const line = sentence
    .replaceAll(/\s*[\r\n]\s*/g, ' ')
    .replaceAll(/\p{Cc}/gu, c => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`)
  process.stderr.write(`lethe: ${line}\n`)
}

/** Styles text that is meant for standard output; styleText itself looks at NO_COLOR and whether it is a terminal. */
export function paint(style: Style, text: string): string {
  // Not imported: that would load all that node:util has, at every start.
  return process.getBuiltinModule('node:util').styleText(style, text, { stream: process.stdout })
}

/** Width of the terminal, or 100; one that does not know its size says 0. */
export const columns = (): number => process.stdout.columns || 100

/**
 * Whoever reads our output may go away (`lethe status | head`): then we end quietly, as others do. Output that can't be written for another
 * reason, such as a full disk, is a failure. What is said to nobody any more is lost, and changes nothing.
 */
export function endWithReader(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0)
    say(`Standard output can't be written (${error.code})`)
    process.exit(1)
  })
  process.stderr.on('error', () => {})
}
