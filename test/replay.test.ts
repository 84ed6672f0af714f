// Replay as a lens, on programs that are compiled here and know nothing of it.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { analyse } from '../src/replay/analysis.ts'
import type { Explanation } from '../src/replay/explain.ts'
import { refusal } from '../src/replay/fitness.ts'
import { levels, Purity } from '../src/replay/purity.ts'
import { load } from '../src/guest/load.ts'
import { decode } from '../src/wasm/decode.ts'
import { readNames } from '../src/wasm/names.ts'
import { labels } from './guests/labels.ts'
import { write } from './replay/loaders.ts'
import { removeFolder } from '../src/sys/folder.ts'

const bin = resolve(import.meta.dirname, '../bin/lethe')
const hasClang = (() => {
  const made = spawnSync('clang', ['--target=wasm32-wasi', '-x', 'c', '-', '-o', '/dev/null'], {
    input: '#include <stdio.h>\nint main(void) { puts("x"); }',
  })
  return made.status === 0
})()

let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'lethe-replay-test-'))
  process.env['XDG_CACHE_HOME'] = folder
})
afterAll(() => removeFolder(folder))

// Compiled and linked in two steps, so that no optimizer takes the names away.
function compile(source: string, name: string): string {
  const object = join(folder, `${name}.o`)
  const out = join(folder, `${name}.wasm`)
  execFileSync('clang', ['--target=wasm32-wasi', '-O1', '-w', '-c', '-o', object, source])
  execFileSync('clang', ['--target=wasm32-wasi', '-w', '-o', out, object, '-lm'])
  return out
}

function run(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): { out: string; status: number | null; err: string } {
  const { stdout, stderr, status } = spawnSync(bin, ['run', ...args], {
    encoding: 'utf8',
    env: { ...process.env, XDG_CACHE_HOME: folder, ...env },
  })
  return { out: stdout, err: stderr, status }
}

function points(lines: number, seed: number): string {
  let text = ''
  for (let i = 0, x = seed; i < lines; i++) {
    x = (x * 1103515245 + 12345) % 2147483648
    text += `${x % 1000003}=${((x >> 8) % 99991) / 100}\n`
  }
  return text
}

const rss = (pid: number): number =>
  Number(/RssAnon:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0)

// What a guest answers that is asked one thing after the other; `idle` is waited for before the first.
async function served(
  args: readonly string[],
  asked: readonly Buffer[],
  idle: (pid: number) => Promise<void>,
): Promise<{ lines: string[]; status: number | null }> {
  const child = spawn(bin, args, {
    env: { ...process.env, XDG_CACHE_HOME: folder },
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  const ended = new Promise<number | null>(done => child.on('close', done))
  const answers = createInterface(child.stdout)[Symbol.asyncIterator]()
  const next = async (): Promise<string> => (await answers.next()).value as string
  const lines = [await next()]
  await idle(child.pid as number)
  for (const question of asked) {
    child.stdin.write(question)
    lines.push(await next())
  }
  child.stdin.end()
  return { lines, status: await ended }
}

test('a program that can not be started ends at once', () => {
  // (memory (export "memory") 1) (func (export "_start"))
  const bytes =
    '0061736d01000000010401600000030201000503010001071302066d656d6f72790200065f737461727400000a040102000b'
  const guest = join(folder, 'empty.wasm')
  writeFileSync(guest, Buffer.from(bytes, 'hex'))
  const { status, stderr } = spawnSync(bin, ['run', '--explain', '--invoke', 'nope', guest], {
    encoding: 'utf8',
    env: { ...process.env, XDG_CACHE_HOME: folder },
    timeout: 20_000,
  })
  expect({ status, stderr }).toEqual({ status: 1, stderr: `lethe: ${guest} exports no function "nope"\n` })
})

describe.skipIf(!hasClang)('replay (needs clang with a WASI libc)', { timeout: 120_000 }, () => {
  test('the judge of purity agrees with a person', () => {
    const module = decode(load(compile('test/guests/purity.c', 'purity')).bytes)
    const purity = new Purity(module)
    const indices = new Map([...readNames(module).functions].map(([index, name]) => [name, index]))
    const wrong: string[] = []
    for (const [name, label] of Object.entries(labels)) {
      const index = indices.get(name)
      if (index === undefined) continue
      const { level } = purity.of(index)
      expect(levels).toContain(level)
      if (level !== label) wrong.push(`${name}: ${label}, judged ${level}`)
    }
    expect(Object.keys(labels).filter(name => indices.has(name)).length).toBeGreaterThanOrEqual(60)
    expect(wrong).toEqual([])
  })

  test('a program is the same under replay, and its array is virtual', () => {
    const seed = Math.floor(Math.random() * 1e6)
    console.log(`seed ${seed}`)
    const guest = compile('examples/sscanf/points.c', 'points')
    const file = join(folder, 'points.txt')
    const json = join(folder, 'explain.json')
    writeFileSync(file, points(60_000, seed))
    for (const queries of [['100'], ['400000', 'local']]) {
      const plain = run(['--dir', folder, guest, '--', file, ...queries])
      rmSync(json, { force: true })
      const replayed = run(['--explain', '--json', json, '--dir', folder, guest, '--', file, ...queries])
      expect(replayed.err).toContain('loaded 60000 points')
      expect({ out: replayed.out, status: replayed.status }).toEqual({ out: plain.out, status: 0 })
      const { memory, epochs, runs } = JSON.parse(readFileSync(json, 'utf8')) as Explanation
      expect(epochs?.mismatches).toBe(0)
      const replaced = (memory?.virtual ?? 0) + (memory?.clean ?? 0)
      expect(replaced).toBeGreaterThan((memory?.written ?? 0) * 0.6)
      expect(memory?.kept.all ?? 1e9).toBeLessThan(replaced * 0.5)
      expect(runs?.some(r => r.state === 'virtual' && r.why.includes("the program's own code"))).toBe(true)
    }
  })

  test('a program that waits for input gives its memory back meanwhile', async () => {
    const guest = compile('test/guests/served.c', 'served')
    const file = join(folder, 'served.txt')
    writeFileSync(file, points(1_500_000, 11))
    const args = ['--dir', folder, guest, '--', file]
    const asked = Array.from({ length: 5 }, (_, i) => Buffer.alloc(4000, i + 1))
    const plain = await served(['run', ...args], asked, () => Promise.resolve())
    const held: number[] = []
    const json = join(folder, 'served.json')
    const replayed = await served(['run', '--explain', '--json', json, ...args], asked, async pid => {
      const before = rss(pid)
      const until = Date.now() + 60_000
      while (Date.now() < until && rss(pid) > 0.6 * before) await new Promise(done => setTimeout(done, 100))
      held.push(rss(pid) / before)
    })
    expect(replayed).toEqual(plain)
    expect(held[0]).toBeLessThanOrEqual(0.6)
    const { epochs, recorder } = JSON.parse(readFileSync(json, 'utf8')) as Explanation
    expect(epochs?.mismatches).toBe(0)
    expect(epochs?.rebuiltPages).toBeGreaterThan(0)
    expect(recorder?.dropped).toBeGreaterThan(0)
  })

  test('the file that a program was made of can be rewritten under it', async () => {
    const guest = compile('examples/sscanf/points.c', 'rewritten')
    const file = join(folder, 'rewritten.txt')
    writeFileSync(file, points(60_000, 7))
    const args = ['--dir', folder, guest, '--', file, '300000', 'local']
    const plain = run(args)
    const child = spawn(bin, ['run', '--explain', ...args], {
      env: { ...process.env, XDG_CACHE_HOME: folder },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const said = { out: '', err: '' }
    child.stdout.on('data', (data: Buffer) => (said.out += String(data)))
    child.stderr.on('data', (data: Buffer) => {
      if (!said.err.includes('loaded') && String(data).includes('loaded'))
        writeFileSync(file, 'x'.repeat(100_000))
      said.err += String(data)
    })
    const status = await new Promise(done => child.on('close', done))
    expect({ status, out: said.out }).toEqual({ status: 0, out: plain.out })
    expect(said.err).toContain('wrong ones: 0')
  })

  test('an array that grows while it is virtual is moved, not copied', () => {
    const source = join(folder, 'grow.c')
    writeFileSync(
      source,
      `#include <stdio.h>
      #include <stdlib.h>
      #include <time.h>
      static long long now(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
      }
      int main(int argc, char **argv) {
        unsigned *a = 0, room = 0, n = 0, sum = 0, x = 1;
        while (n < 3000000) {
          if (n == room) {
            for (long long end = now() + atoi(argv[1]); room > 500000 && now() < end;)
              for (int i = 0; i < 10000; i++) x = (x * 1103515245 + 12345) | 1;
            x = room;
            a = realloc(a, (room = room ? room * 2 : 1024) * sizeof *a);
          }
          for (int i = 0; i < 80; i++) x = x * 1103515245 + 12345;
          a[n++] = x;
        }
        for (unsigned i = 0; i < n; i++) sum = sum * 31 + a[i];
        printf("%u\\n", sum);
      }`,
    )
    const guest = compile(source, 'grow')
    const json = join(folder, 'grow.json')
    const plain = run([guest, '--', '0'])
    let moved = 0
    // What is not virtual yet when the array grows is copied: how long that takes depends on the machine and on who else uses it.
    for (let patience = 100; moved === 0 && patience < 10_000; patience *= 4) {
      const replayed = run(['--explain', '--json', json, guest, '--', String(patience)])
      expect({ out: replayed.out, status: replayed.status }).toEqual({ out: plain.out, status: 0 })
      const { epochs } = JSON.parse(readFileSync(json, 'utf8')) as Explanation
      expect(epochs?.mismatches).toBe(0)
      moved = epochs?.movedPages ?? 0
    }
    expect(moved).toBeGreaterThan(0)
  })

  test('memory that an array has left is used again, and holds what the program puts there', () => {
    const source = join(folder, 'left.c')
    writeFileSync(
      source,
      `#include <stdio.h>
      #include <stdlib.h>
      #include <string.h>
      struct pair { unsigned key; char *name; };
      int main(int argc, char **argv) {
        struct pair *pairs = 0, *next;
        unsigned room = 0, n = 0, sum = 0, x = 1;
        char name[32];
        for (; n < 400000; n++) {
          x = x * 1103515245 + 12345;
          if (n == room && argc == 2) {
            next = malloc((room ? room * 2 : 1024) * sizeof *next);
            if (pairs) __builtin_memcpy(next, pairs, room * sizeof *next);
            // What was copied is there still until it is given back.
            for (unsigned i = 0; i < room; i += 97) sum = sum * 31 + pairs[i].key;
            free(pairs);
            pairs = next;
            room = room ? room * 2 : 1024;
          } else if (n == room) pairs = realloc(pairs, (room = room ? room * 2 : 1024) * sizeof *pairs);
          sprintf(name, "name %u", x >> 7);
          if (argc > 2) {
            // A byte that nobody has written in this block: what was there before.
            char *block = malloc(64);
            sum = sum * 31 + block[40];
          }
          pairs[n] = (struct pair){x, strdup(name)};
          if (n % 50000 == 49999) {
            unsigned *empty = calloc(20000, sizeof *empty);
            for (int i = 0; i < 20000; i++) sum += empty[i];
            if (n % 100000 == 49999) free(empty);
          }
        }
        for (unsigned i = 0; i < n; i++) sum = sum * 31 + pairs[i].key + strlen(pairs[i].name) + pairs[i].name[6];
        printf("%u\\n", sum);
      }`,
    )
    const json = join(folder, 'left.json')
    for (const flags of [[], ['-mbulk-memory']]) {
      const object = join(folder, 'left.o')
      const guest = join(folder, `left${flags.length}.wasm`)
      execFileSync('clang', ['--target=wasm32-wasi', '-O1', ...flags, '-w', '-c', '-o', object, source])
      execFileSync('clang', ['--target=wasm32-wasi', '-w', '-o', guest, object])
      for (const [args, budget] of [
        [[], ['--budget', '64M']],
        [['memcpy'], ['--budget', '64M']],
        [['realloc', 'unset'], []],
      ] as const) {
        const plain = run([guest, '--', ...args])
        const replayed = run(['--explain', ...budget, '--json', json, guest, '--', ...args])
        expect({ out: replayed.out, status: replayed.status }).toEqual({ out: plain.out, status: 0 })
        const { epochs } = JSON.parse(readFileSync(json, 'utf8')) as Explanation
        expect(epochs?.mismatches).toBe(0)
        if (budget.length > 0) expect(epochs?.freedPages).toBeGreaterThan(400)
        else expect(epochs?.freedPages).toBe(0)
      }
    }
  })

  test('what lies behind the memory that a guest has asked for is out of bounds', () => {
    const source = join(folder, 'behind.c')
    writeFileSync(
      source,
      `#include <stdio.h>
      #include <stdlib.h>
      #include <unistd.h>
      int main(int argc, char **argv) {
        char *end = 0;
        for (int i = 0; i < 40; i++) {
          __builtin_wasm_memory_grow(0, 3);
          end = (char *)(__builtin_wasm_memory_size(0) << 16);
          for (int k = 1; k < 196608; k += 4096) end[-k] = i;
        }
        printf("%d\\n", (int)write(1, end - 4, 8));
        fflush(stdout);
        if (atoi(argv[1]) == 0) end[atoi(argv[2])] = 1;
        else __builtin_memset(end - 8, 1, 8 + atoi(argv[2]));
        puts("nothing happened");
      }`,
    )
    const object = join(folder, 'behind.o')
    const guest = join(folder, 'behind.wasm')
    execFileSync('clang', ['--target=wasm32-wasi', '-O1', '-mbulk-memory', '-w', '-c', '-o', object, source])
    execFileSync('clang', ['--target=wasm32-wasi', '-w', '-o', guest, object])
    for (const args of [
      ['0', '0'],
      ['0', '70000'],
      ['1', '1'],
    ]) {
      const plain = run([guest, '--', ...args])
      const replayed = run(['--explain', guest, '--', ...args])
      expect({ out: replayed.out, status: replayed.status }).toEqual({ out: plain.out, status: plain.status })
      expect(replayed.out).not.toContain('nothing happened')
      expect(replayed.err).toContain('out of bounds')
    }
    expect(run(['--explain', guest, '--', '1', '0']).out).toContain('nothing happened')
  })

  test('a program that comes back for everything gets all of it, and the right bytes', () => {
    const data = join(folder, 'words.txt')
    write('dictionary', data, 5, 0.3)
    const guest = compile('test/guests/replay/dictionary.c', 'dictionary')
    const args = ['--dir', folder, guest, '--', data, '200000', '3']
    const plain = run(args)
    const replayed = run(['--explain', ...args])
    expect({ out: replayed.out, status: replayed.status }).toEqual({ out: plain.out, status: 0 })
    expect(replayed.err).toContain('wrong ones: 0')
  })

  test('the analysis is kept by the hash of the module', () => {
    const guest = load(compile('test/guests/purity.c', 'kept'))
    const first = analyse(guest)
    const second = analyse(guest)
    expect([first.cached, second.cached]).toEqual([false, true])
    expect(second.analysis.points).toEqual(first.analysis.points)
    expect(second.analysis.functions.map(f => f.verdict.level)).toEqual(
      first.analysis.functions.map(f => f.verdict.level),
    )
  })

  test('machine code is kept for the next run, and a damaged file of it is not used', () => {
    const data = join(folder, 'pairs.txt')
    write('kv', data, 5, 0.1)
    const guest = compile('test/guests/replay/kv.c', 'kv')
    const args = ['--dir', folder, guest, '--', data, '1000', '3']
    const plain = run(args)
    const cache = join(folder, 'code')
    const replayed = (): ReturnType<typeof run> => run(['--explain', ...args], { XDG_CACHE_HOME: cache })
    const codeFiles = (): string[] =>
      readdirSync(join(cache, 'lethe/wasm'))
        .filter(name => name.endsWith('.code'))
        .map(name => join(cache, 'lethe/wasm', name))
    const first = replayed()
    const [file] = codeFiles() as [string]
    const second = replayed()
    const damaged = readFileSync(file)
    damaged.fill(0xcc, damaged.length >> 1)
    writeFileSync(file, damaged)
    const third = replayed()
    for (const { out, status } of [first, second, third])
      expect({ out, status }).toEqual({ out: plain.out, status: 0 })
    expect(codeFiles()).toEqual([file])
  })

  test('what a program makes of the clock stays physical, and the import is named', () => {
    const source = join(folder, 'clock.c')
    writeFileSync(
      source,
      `#include <stdio.h>
      #include <stdlib.h>
      #include <time.h>
      int main(void) {
        int *a = malloc(16 << 20), n = 0, wrong = 0;
        for (int i = 0; i < 4 << 20; i++) { if (i % 64 == 0) n = (int)(clock() / 100000); a[i] = n ^ i; if ((a[i] ^ i) != n) wrong++; }
        for (int i = 1; i < 4 << 20; i++) if ((a[i] ^ i) < (a[i - 1] ^ (i - 1))) wrong++;
        printf("%d\\n", wrong);
      }`,
    )
    const out = join(folder, 'clock.wasm')
    execFileSync('clang', [
      '--target=wasm32-wasi',
      '-O2',
      '-D_WASI_EMULATED_PROCESS_CLOCKS',
      '-w',
      '-o',
      out,
      source,
      '-lwasi-emulated-process-clocks',
    ])
    const { out: printed, err, status } = run(['--explain', out])
    expect({ printed, status }).toEqual({ printed: '0\n', status: 0 })
    expect(err).toContain('not repeatable: clock_time_get')
  })
})

test('threads, tables that change and 64-bit memories are refused by name', () => {
  const header = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]
  const shared = Uint8Array.from([...header, 5, 4, 1, 3, 1, 2])
  expect(refusal(decode(shared))?.code).toBe('threads')
  const wide = Uint8Array.from([...header, 5, 3, 1, 4, 1])
  expect(refusal(decode(wide))?.code).toBe('memory64')
  expect(refusal(decode(Uint8Array.from(header)))?.message).toContain('0 memories')
})
