// The checker's public names.
export { check, type CheckOptions, type CheckResult, type LeakCheck, type LeakSum } from './check.ts'
export { HostedCheck, type HostedOptions, heapRoom, joined, whyUnchecked } from './hosted.ts'
export type { CheckFinding, CheckFrame, ErrorKind, Note } from './errors.ts'
export type { LeakKind } from './leaks.ts'
export { CheckError } from './pass.ts'
export { findingText, jsonReport, kinds, sarifReport, summaryText } from './report.ts'
export { parseSuppressions, SuppressionError } from './suppressions.ts'
