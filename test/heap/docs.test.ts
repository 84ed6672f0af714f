/** docs/heap.md prints what its commands print. LETHE_UPDATE_DOCS=1 writes what they print into it. */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')
const path = join(root, 'docs/heap.md')
const update = process.env['LETHE_UPDATE_DOCS'] !== undefined
const PATH = [join(root, 'bin'), join(root, 'node_modules/.bin'), process.env['PATH']].join(delimiter)

function run(command: string): string {
  const { stdout, stderr } = spawnSync('bash', ['-c', command], {
    cwd: root,
    env: { ...process.env, PATH },
    encoding: 'utf8',
  })
  // Speeds differ from run to run: the last column of a table of lethe malloc.
  const text = (stdout + stderr).trimEnd()
  return text.includes('Mops/s') ? text.replace(/ +\d+\.\d$/gm, '  …') : text
}

const blocks = [...readFileSync(path, 'utf8').matchAll(/```console\n\$ (.*)\n([^]*?)```/g)]

test('there are commands', () => expect(blocks.length).toBeGreaterThan(8))

test.each(blocks.map(([, command, output]) => [command as string, output as string]))(
  '%s',
  { timeout: 30_000 },
  (command, output) => {
    const printed = run(command)
    if (update) {
      const text = readFileSync(path, 'utf8')
      const before = `\`\`\`console\n$ ${command}\n`
      writeFileSync(
        path,
        text.replace(`${before}${output}\`\`\``, () => `${before}${printed}\n\`\`\``),
      )
      return
    }
    expect(printed).toBe(output.trimEnd())
  },
)
