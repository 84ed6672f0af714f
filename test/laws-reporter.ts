/** Prints which laws each lens was tested for, and on how many generated cases: `npm run laws`. */
import type { Reporter, TestCase, TestModule } from 'vitest/node'
import type { LawMeta } from './lens-contract.ts'

const columns = [
  ['split', 'any split of get equals the whole get'],
  ['zeros', 'beyond its size get gives zeros'],
  ['head', 'head gives the first bytes'],
  ['put, get', 'get after put gives what was put'],
  ['get, put', 'put of what get gave changes nothing'],
  ['invert', 'get of what invert answers gives the memory'],
  ['narrow', 'get where the narrow bytes lie gives the memory that was narrowed'],
  ['name', 'its name makes the same lens again'],
] as const

const shortened = (name: string): string => (name.length > 46 ? `${name.slice(0, 45)}…` : name)

export default class LawsReporter implements Reporter {
  readonly #lenses = new Map<string, Map<string, { asked: number; answered: number }>>()
  readonly #failed: string[] = []

  onTestCaseResult(test: TestCase): void {
    if (test.result().state === 'failed') this.#failed.push(test.fullName)
    const law: LawMeta | undefined = test.meta().law
    if (law === undefined) return
    const laws = this.#lenses.get(law.lens) ?? new Map<string, { asked: number; answered: number }>()
    this.#lenses.set(law.lens, laws)
    const { asked, answered } = laws.get(law.law) ?? { asked: 0, answered: 0 }
    laws.set(law.law, { asked: asked + law.asked, answered: answered + law.answered })
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    const broken = modules.filter(one => one.errors().length > 0).map(one => one.moduleId)
    const rows = [...this.#lenses].toSorted(([a], [b]) => (a < b ? -1 : 1))
    const line = (name: string, cells: readonly string[]): string =>
      [name.padEnd(46), ...cells.map(cell => cell.padStart(8))].join(' ')
    const print = (text: string): boolean => process.stdout.write(`${text}\n`)
    print(
      line(
        'lens',
        columns.map(([short]) => short),
      ),
    )
    for (const [name, laws] of rows)
      print(
        line(
          shortened(name),
          columns.map(([, law]) => String(laws.get(law)?.answered ?? '')),
        ),
      )
    const counts = rows.flatMap(([, laws]) => [...laws.values()].map(({ asked }) => asked))
    print('\nGenerated cases in which the lens answered: invert and narrow may say that they do not know.')
    print(`${rows.length} lenses, ${counts.length} laws, each asked of ${Math.min(...counts)} cases or more`)
    for (const name of [...broken, ...this.#failed]) print(`failed: ${name}`)
  }
}
