// Reads what vitest reported as JSON.
//
//   node verdict.mjs again REPORT          the files to run once more, a line each; nothing when a failure is final
//   node verdict.mjs count REPORT [SECOND] `N passed, N failed`; exit 1 when anything failed at last
//
//   node verdict.mjs lost REPORT           the files whose process ended before their tests had, a line each
//
// A file whose tests failed beside others on two busy CPUs is run once more, alone. A failure that speaks of wrong
// bytes, a mismatch or a crash is final: such a thing is rare, and never the machine's fault; so is whatever was
// expected and not found in the tests of safety, and so are failures in more than three files, and a second process
// that ended by itself.
import { readFileSync } from 'node:fs'

const final = /wrong bytes|mismatch|differ|checksum|SIGSEGV|SIGBUS|SIGILL|SIGABRT/i
const read = path => JSON.parse(readFileSync(path, 'utf8'))
// vitest says `passed` of a file whose process ended, and leaves its tests `pending`; one that was not to run is `skipped`.
const isLost = file => file.assertionResults.some(test => test.status === 'pending')
const failed = report => report.testResults.filter(file => file.status !== 'passed' || isLost(file))
const why = file =>
  [file.message, ...file.assertionResults.flatMap(test => test.failureMessages ?? [])].join('\n')
const isFinal = file =>
  final.test(why(file)) ||
  (/\/test\/(safety|stress)\//.test(file.name) && why(file).includes('AssertionError'))

const [what, first, second] = process.argv.slice(2)
const report = read(first)
if (what === 'again') {
  const files = failed(report)
  if (files.length <= 3 && !files.some(isFinal) && files.filter(isLost).length <= 1)
    for (const file of files) console.log(file.name)
} else if (what === 'lost') {
  for (const file of report.testResults.filter(isLost)) console.log(file.name)
} else {
  let passed = report.numPassedTests
  let fails = report.numFailedTests
  let good = report.success && !report.testResults.some(isLost)
  if (second !== undefined) {
    const again = read(second)
    for (const file of failed(report)) {
      passed -= file.assertionResults.filter(test => test.status === 'passed').length
      fails -= file.assertionResults.filter(test => test.status === 'failed').length
    }
    passed += again.numPassedTests
    fails += again.numFailedTests
    good = again.success && !again.testResults.some(isLost)
  }
  console.log(`${passed} passed, ${fails} failed`)
  // A file that could not even be loaded has no tests that could fail.
  process.exitCode = good ? 0 : 1
}
