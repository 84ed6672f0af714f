// Reads what vitest reported as JSON.
//
//   node verdict.mjs again REPORT          the files to run once more, a line each; nothing when a failure is final
//   node verdict.mjs count REPORT [SECOND] `N passed, N failed`; exit 1 when anything failed at last
//
// A file whose tests failed beside others on two busy CPUs is run once more, alone. A failure that speaks of wrong
// bytes, a mismatch or a crash is final: such a thing is rare, and never the machine's fault; so is whatever was
// expected and not found in the tests of safety, and so are failures in more than three files.
import { readFileSync } from 'node:fs'

const final = /wrong bytes|mismatch|differ|checksum|SIGSEGV|SIGBUS|SIGILL|SIGABRT/i
const read = path => JSON.parse(readFileSync(path, 'utf8'))
const failed = report => report.testResults.filter(file => file.status !== 'passed')
const why = file =>
  [file.message, ...file.assertionResults.flatMap(test => test.failureMessages ?? [])].join('\n')
const isFinal = file =>
  final.test(why(file)) ||
  (/\/test\/(safety|stress)\//.test(file.name) && why(file).includes('AssertionError'))

const [what, first, second] = process.argv.slice(2)
const report = read(first)
if (what === 'again') {
  const files = failed(report)
  if (files.length <= 3 && !files.some(isFinal))
    for (const file of files) console.log(file.name)
} else {
  let passed = report.numPassedTests
  let fails = report.numFailedTests
  let good = report.success
  if (second !== undefined) {
    const again = read(second)
    for (const file of failed(report)) {
      passed -= file.assertionResults.filter(test => test.status === 'passed').length
      fails -= file.assertionResults.filter(test => test.status === 'failed').length
    }
    passed += again.numPassedTests
    fails += again.numFailedTests
    good = again.success
  }
  console.log(`${passed} passed, ${fails} failed`)
  // A file that could not even be loaded has no tests that could fail.
  process.exitCode = good ? 0 : 1
}
