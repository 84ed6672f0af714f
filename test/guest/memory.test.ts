import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { allocatorNames } from '../../src/heap/allocator.ts'
import { MachineRun } from '../../src/guest/machine.ts'
import { run } from '../../src/guest/instance.ts'
import { load } from '../../src/guest/load.ts'
import { findMalloc } from '../../src/guest/malloc-functions.ts'
import { GuestFiles } from '../../src/guest/malloc-explain.ts'
import { MallocWatch } from '../../src/guest/malloc-sites.ts'
import { together } from '../../src/guest/together.ts'
import { machineConfig } from '../../src/machine/configure.ts'
import { guest, lethe, whyNoGuests } from './guests.ts'
import { removeFolder } from '../../src/sys/folder.ts'

vi.setConfig({ testTimeout: 60_000 })

const folder = mkdtempSync(join(tmpdir(), 'lethe-budget-'))
afterAll(() => removeFolder(folder))

const data = join(folder, 'data')
const megabyte = 2 ** 20
/** Bytes that neither repeat nor compress. */
function noise(bytes: number): Buffer {
  const out = Buffer.alloc(bytes)
  let state = 1
  for (let i = 0; i < bytes; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    out[i] = state >>> 24
  }
  return out
}
writeFileSync(data, noise(12 * megabyte))

const pages = (...more: string[]): string[] => [
  '--dir',
  folder,
  guest('pages'),
  '--',
  data,
  '12',
  '6',
  ...more,
]

interface Counts {
  readonly peak: number
  readonly droppedFile: number
  readonly packedBytes: number
  readonly fromFile: number
  readonly released: number
}

function counted(args: readonly string[]): { stdout: string; counts: Counts } {
  const log = join(folder, `log-${Math.random()}`)
  const { stdout, stderr, status } = lethe(['--json', log, ...args])
  expect(stderr).toBe('')
  expect(status).toBe(0)
  return { stdout, counts: JSON.parse(readFileSync(log, 'utf8')) as Counts }
}

describe.skipIf(whyNoGuests !== undefined)(`a guest's memory (${whyNoGuests ?? 'compiled here'})`, () => {
  const plain = whyNoGuests === undefined ? lethe(pages()).stdout : ''

  test('within a budget has the same contents, and never more of it resident', () => {
    for (const budget of [1, 3, 8]) {
      const { stdout, counts } = counted(['--budget', `${budget}M`, ...pages()])
      expect(stdout).toBe(plain)
      expect(counts.peak).toBeLessThanOrEqual((budget * megabyte) / 4096)
      expect(counts.peak).toBeGreaterThan((budget * megabyte) / 4096 / 2)
    }
  })

  test('that a file read brought costs nothing on the side', () => {
    const { counts } = counted(['--budget', '2M', ...pages()])
    expect(counts.droppedFile * 4096).toBeGreaterThan(8 * megabyte)
    expect(counts.fromFile * 4096).toBeGreaterThan(8 * megabyte)
    // The numbers and the list, and the pages that were written.
    expect(counts.packedBytes).toBeLessThan(9 * megabyte)
  })

  test('survives that the file is changed by somebody else, who waits until it is safe', async () => {
    const file = join(folder, 'changed')
    writeFileSync(file, readFileSync(data))
    const child = spawn(
      fileURLToPath(new URL('../../bin/lethe', import.meta.url)),
      ['run', '--budget', '1M', '--dir', folder, guest('pages'), '--', file, '12', '6'],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    let out = ''
    child.stdout.on('data', (part: Buffer) => {
      if (out === '') writeFileSync(file, 'all is gone')
      out += part.toString()
    })
    await new Promise(resolve => child.on('close', resolve))
    expect(out).toBe(plain)
  })

  test('that the guest frees is given back', () => {
    const { counts } = counted(['--budget', '4M', ...pages('hold')])
    expect(counts.released * 4096).toBeGreaterThan(17 * megabyte)
  })

  test.each([
    ['--json', join(folder, 'own')],
    ['--malloc', 'buddy'],
    ['--malloc', 'best'],
  ])(
    'that the guest frees in small blocks leaves memory while it waits, and comes back right (%s %s)',
    async (...options) => {
      const args = [guest('small'), '--', '100000', '2000']
      const { stdout } = lethe(args, 'x')
      const child = spawn(
        fileURLToPath(new URL('../../bin/lethe', import.meta.url)),
        ['run', '-v', '--budget', '64M', ...options, ...args],
        { stdio: ['pipe', 'pipe', 'pipe'] },
      )
      const said: string[] = ['', '']
      child.stdout.on('data', (part: Buffer) => (said[0] += part.toString()))
      child.stderr.on('data', (part: Buffer) => (said[1] += part.toString()))
      await vi.waitFor(() => expect(said[0]).toBe('freed\n'), { timeout: 30_000 })
      child.stdin.end('x')
      await new Promise(resolve => child.on('close', resolve))
      expect(said[0]).toBe(stdout)
      const [, trimmed = '0'] = /([\d.]+) MiB without a living block/.exec(said[1] ?? '') ?? []
      // 100,000 blocks of 64 bytes with what is around them: 6 MiB and more.
      expect(Number(trimmed)).toBeGreaterThan(4)
    },
  )

  test('as measured from outside is within the budget', async () => {
    const child = spawn(
      fileURLToPath(new URL('../../bin/lethe', import.meta.url)),
      ['run', '--budget', '2M', '--dir', folder, guest('pages'), '--', data, '12', '6'],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    let most = 0
    const timer = setInterval(() => {
      // The kernel counts page by page while pages go and come: who is interrupted in it counts some twice. Not twice running.
      const pid = lastChild(child.pid as number)
      most = Math.max(most, Math.min(servedResident(pid), servedResident(pid), servedResident(pid)))
    }, 5)
    await new Promise(resolve => child.on('close', resolve))
    clearInterval(timer)
    expect(most).toBeGreaterThan(megabyte)
    expect(most).toBeLessThanOrEqual(2 * megabyte + 32 * 4096)
  })

  for (const name of allocatorNames)
    test(`with ${name} as its malloc has the same contents`, () => {
      const { stdout, stderr, status } = lethe(['--malloc', name, guest('heap')])
      expect(stderr).toBe('')
      expect(stdout).toBe(lethe([guest('heap')]).stdout)
      expect(status).toBe(0)
    })

  test('watched says which places took how much, by their stacks, and changes nothing', () => {
    const { module } = load(guest('pages'))
    const files = new GuestFiles()
    const watch = new MallocWatch(module, findMalloc(module), files.explain)
    const out: Buffer[] = []
    const stdout = (part: Uint8Array): void => void out.push(Buffer.from(part))
    run(load(guest('pages')), {
      ...together({ observer: files.observer }, watch.options),
      args: [data, '12', '6', 'hold'],
      dirs: [{ host: folder, guest: folder }],
      stdin: () => 0,
      stdout,
    })
    expect(Buffer.concat(out).toString()).toBe(`${plain}freed\n`)
    const sites = watch.sites()
    const [bytes, numbers, list] = sites
    expect(bytes).toMatchObject({ blocks: 1, bytes: 12 * megabyte, freed: 1 })
    expect(numbers).toMatchObject({ blocks: 1, bytes: 6 * megabyte, freed: 1 })
    expect(list).toMatchObject({ blocks: 24_576, bytes: 24_576 * 48, freed: 24_576 })
    for (const site of [bytes, numbers, list]) expect(site?.stack.map(frame => frame.name)).toContain('main')
    expect(new Set(sites.slice(0, 3).map(site => site.stack[0]?.offset)).size).toBe(3)
    expect(watch.strange).toBe(0)
    // The file is read by the host, in pieces of the C library's, and gone over three times and once more; numbers are written and gone over.
    expect(bytes?.writers[0]?.name).toBe('fd_read')
    expect(bytes?.written).toBeGreaterThanOrEqual(12 * megabyte)
    expect(bytes?.written).toBeLessThan(12 * megabyte + 10_000)
    expect(bytes?.readers.map(one => one.name)).toEqual(['main'])
    expect(numbers?.writers.map(one => one.name)).toEqual(['main'])
    expect(numbers?.written).toBe(6 * megabyte + 3 * Math.ceil((6 * megabyte) / 4 / 7001) * 4)
    // Texts are written by functions below snprintf, and measured by strlen, which counts for main.
    expect(list?.writers.map(one => one.name)).toContain('main')
    expect(list?.writers.length).toBeGreaterThan(1)
    expect(list?.readers.map(one => one.name)).toEqual(['main'])
    // One page in 48 was changed in each of three rounds.
    expect(bytes?.looked).toBe(12 * megabyte)
    expect((bytes?.explained ?? 0) / 12 / megabyte).toBeGreaterThan(0.9)
    expect((bytes?.explained ?? 0) / 12 / megabyte).toBeLessThan(0.96)
    expect(numbers?.explained).toBe(0)
  })

  test('is told of by the functions that touch it, without those of the allocator', () => {
    const { stdout, stderr } = lethe(['--malloc', 'observe', guest('heap'), '--', '3000'])
    expect(stdout).toBe(lethe([guest('heap'), '--', '3000']).stdout)
    expect(stderr).toMatch(/ written .* by (main|fill|calloc).*; read .* by/)
    expect(stderr).not.toMatch(/by .*(dlmalloc|dlfree|dispose_chunk)/)
  })

  test('whose malloc is told by a wrong index is refused', () => {
    expect(lethe(['--malloc', 'best', '--malloc-functions', 'malloc=0', guest('heap')]).stderr).toContain(
      'has not the parameters and results of malloc',
    )
  })

  test('on the machine is seen with every access, and has the same contents', () => {
    const out: Buffer[] = []
    const machine = new MachineRun(machineConfig({ preset: 'x86-64', frames: 256 }))
    run(load(guest('heap')), {
      ...machine.options,
      args: ['3000'],
      stdout: part => void out.push(Buffer.from(part)),
    })
    const { counters } = machine.end()
    expect(Buffer.concat(out).toString()).toBe(lethe([guest('heap'), '3000']).stdout)
    // Each byte of each block is written and read at least once.
    const taken = Number(/^(\d+) bytes/.exec(Buffer.concat(out).toString())?.[1])
    expect(counters.writes * 16).toBeGreaterThan(taken)
    expect(counters.accesses).toBe(counters.reads + counters.writes)
    expect(counters.majorFaults).toBeGreaterThan(0)
  })
})

/** The process that a shell script of ours waits for in the end. */
function lastChild(pid: number): number {
  try {
    const child = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ')[0])
    return child > 0 ? lastChild(child) : pid
  } catch {
    return pid
  }
}

/** Bytes that are there of memory that a userfaultfd serves: the guest's. */
function servedResident(pid: number): number {
  try {
    const parts = readFileSync(`/proc/${pid}/smaps`, 'latin1').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
    const served = parts.filter(part => /^VmFlags:.* um\b/m.test(part))
    return served.reduce((sum, part) => sum + 1024 * Number(/^Rss:\s+(\d+)/m.exec(part)?.[1] ?? 0), 0)
  } catch {
    return 0
  }
}
