// Lanes of Python and Node programs, with a pager process of its own each, as users have them.
import type { ChildProcess } from 'node:child_process'
import { truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { randomBytes } from '../explain-helpers.ts'
import { node, Pager, root, run as runProgram, type Voice } from '../safety/lab.ts'
import { randomOf, sleep, type Stress } from './shared.ts'

/** A Python or a Node program with a pager process of its own, as users have them. */
export async function interpreter(s: Stress, name: 'python' | 'node', seed: number): Promise<void> {
  const random = randomOf(seed)
  const file = s.lab.path(`data-${name}`)
  writeFileSync(file, randomBytes(6 << 20, seed))
  truncateSync(file, 6 << 20)
  const program = join(root, 'test/targets', name === 'python' ? 'grow.py' : 'grow.mjs')
  let voice: Voice | undefined
  let process: ChildProcess | undefined
  let pager: Pager | undefined
  let life = 0
  let grown = 0
  for (let round = 1; !s.over; round++) {
    const history: string[] = []
    try {
      if (voice === undefined || life-- <= 0) {
        process?.kill('SIGKILL')
        await pager?.ended()
        pager = undefined
        const started = runProgram(s.lab, name === 'python' ? 'python3' : node, [program, file])
        ;({ voice, process } = started)
        if ((await voice.answer('ready')) !== 'ready') throw new Error('the interpreter is not ready')
        life = 12
        grown = 0
      }
      if (pager === undefined) {
        pager = await Pager.start(s.lab, voice.pid())
        s.result.attaches++
        history.push('attached')
      }
      void pager.ask(random(2) === 0 ? 'pass' : 'settled').catch(() => {})
      await sleep(random(400))
      for (let i = 0; i < 3; i++) {
        const command = ['check', 'fork', grown++ < 10 ? `grow ${random(200)}` : 'check'][random(3)] as string
        history.push(command)
        voice.tell(command)
        if (random(4) === 0) {
          await pager.kill()
          s.result.kills++
          await sleep(random(30))
          pager = await pager.again(s.lab)
          s.result.adoptions++
          history.push('killed, adopted')
        }
        const answer = await voice.answer(command)
        if (answer !== 'same') throw new Error(`${name} says: ${answer}`)
        s.result.operations++
      }
      if (random(4) === 0) {
        await pager.detach()
        pager = undefined
        s.result.detaches++
        history.push('detached')
        if ((await voice.ask('check')) !== 'same') throw new Error(`${name} differs after a detach`)
      }
      s.done(name)
    } catch (error) {
      s.differs({
        lane: name,
        round,
        what: `${(error as Error).message}\n${pager?.errors.slice(-1500)}`,
        history,
      })
      process?.kill('SIGKILL')
      voice = undefined
      pager?.process.kill('SIGKILL')
      pager = undefined
    }
  }
  process?.kill('SIGKILL')
  pager?.process.kill('SIGKILL')
}
