/** docs/machine.md prints what its commands print. LETHE_UPDATE_DOCS=1 writes what they print into it. */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')
const path = join(root, 'docs/machine.md')
const update = process.env['LETHE_UPDATE_DOCS'] !== undefined
const PATH = [join(root, 'bin'), join(root, 'node_modules/.bin'), process.env['PATH']].join(delimiter)

const blocks = [...readFileSync(path, 'utf8').matchAll(/```console\n\$ (.*)\n([^]*?)```/g)]

test('every topic of the lecture has a command', () => {
  const text = readFileSync(path, 'utf8')
  for (const section of text.split(/^## /m).slice(1, -1)) expect(section).toContain('```console')
  expect(blocks.length).toBeGreaterThan(16)
})

test.each(blocks.map(([, command, output]) => [command as string, output as string]))(
  '%s',
  { timeout: 60_000 },
  (command, output) => {
    const { stdout, stderr } = spawnSync('bash', ['-c', command], {
      cwd: root,
      env: { ...process.env, PATH },
      encoding: 'utf8',
    })
    const printed = (stdout + stderr).trimEnd()
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
