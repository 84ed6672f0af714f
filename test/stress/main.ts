// npm run stress -- [--rounds N] [--seed S] [--seconds T] [--lanes L] [--no-interpreters] [--material NAME] [--kinds 5,7,9]
// Exit code 0: no mismatch. 1: there was one; seed, lane and round are printed, and what led to it.
import { parseArgs } from 'node:util'
import { cannotRun } from '../safety/lab.ts'
import { materials } from '../safety/materials.ts'
import { stress } from './run.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '1000' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    seconds: { type: 'string' },
    lanes: { type: 'string', default: '6' },
    material: { type: 'string' },
    kinds: { type: 'string' },
    'no-interpreters': { type: 'boolean', default: false },
  },
})
const reason = cannotRun()
if (reason !== undefined) {
  console.error(`stress: not possible here: ${reason}`)
  process.exit(3)
}
const chosen = materials.find(name => name === values.material)
if (values.material !== undefined && chosen === undefined) {
  console.error(`stress: there is no material '${values.material}'; there are ${materials.join(', ')}`)
  process.exit(2)
}
const seed = Number(values.seed)
const began = performance.now()
console.error(`stress: seed ${seed}`)
const result = await stress({
  rounds: Number(values.rounds),
  seed,
  lanes: Number(values.lanes),
  interpreters: !values['no-interpreters'],
  ...(chosen === undefined ? {} : { material: chosen }),
  ...(values.kinds === undefined ? {} : { kinds: values.kinds.split(',').map(Number) }),
  ...(values.seconds === undefined ? {} : { seconds: Number(values.seconds) }),
  say: line => console.error(`stress: ${line}, ${((performance.now() - began) / 1000).toFixed(0)} s`),
})
const { mismatches, ...counts } = result
const seconds = (performance.now() - began) / 1000
console.log(
  JSON.stringify(
    {
      seed,
      seconds: Math.round(seconds),
      perSecond: Number((result.rounds / seconds).toFixed(1)),
      ...counts,
      mismatches: mismatches.length,
    },
    null,
    2,
  ),
)
process.exit(mismatches.length === 0 ? 0 : 1)
