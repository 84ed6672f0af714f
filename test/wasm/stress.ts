// npm run stress:wasm [-- MODULES [SEED]]: generated modules and as many mutants against V8, wabt and binaryen.
import { checkGenerated, checkMutant, generated } from './claims.ts'

const modules = Number(process.argv[2] ?? 5000)
const first = Number(process.argv[3] ?? Date.now() % 2 ** 30)
const counts = { taken: 0, refused: 0 }
console.log(`${modules} modules from seed ${first} on`)
for (let n = 0; n < modules; n++) {
  await checkGenerated(first + n, true)
  counts[await checkMutant(generated(first + n), first + n)]++
}
console.log(
  `${modules} modules came back and were taken by V8, wabt and binaryen; of their mutants ${counts.taken} were taken, ${counts.refused} refused, as by wabt`,
)
