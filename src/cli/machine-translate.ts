// lethe machine translate: the lecture's problem sheets, filled in; with --quiz new ones.
import { existsSync } from 'node:fs'
import { basename } from 'node:path'
import { Command, Option } from 'commander'
import type { Access, AccessKind } from '../machine/access.ts'
import type { MachineConfig } from '../machine/config.ts'
import { hex } from '../machine/errors.ts'
import { Machine } from '../machine/machine.ts'
import { type Quiz, quiz } from '../machine/quiz.ts'
import { loadState } from '../machine/state.ts'
import { bitRows, type Sheet, translate } from '../machine/translate.ts'
import { examples, options } from './arguments.ts'
import { UsageError } from './errors.ts'
import {
  addressesOf,
  chosenMachine,
  type MachineFlags,
  machineOptions,
  parseAddress,
  readWhole,
} from './machine-options.ts'
import { paint, print, printJson } from './output.ts'

interface TranslateFlags extends MachineFlags {
  readonly disk?: string
  readonly quiz?: number
  readonly problems: number
  readonly answers?: boolean
  readonly write?: boolean
  readonly fetch?: boolean
  readonly json?: boolean
}

function whole(text: string): number {
  const n = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(n) || n > 2 ** 32 - 1) throw new UsageError(`'${text}' is not a whole number`)
  return n
}

export function translateCommand(): Command {
  const command = new Command('translate')
    .description('translate virtual addresses, and fill in every blank of the lecture’s problem sheet')
    .argument('[address...]', 'addresses such as 0x3a9, or files with one a line (-: standard input)')
  return machineOptions(command)
    .addOption(new Option('--state <file>', 'page table, TLB, caches and memory as JSON'))
    .addOption(
      new Option(
        '--disk <file>',
        'run the addresses one after the other instead, on a machine whose pages come from this file',
      ),
    )
    .addOption(new Option('--quiz <seed>', 'new problems for this machine, from a seed').argParser(whole))
    .addOption(new Option('--problems <n>', 'how many problems').argParser(whole).default(4))
    .addOption(new Option('--no-answers', 'the problems only'))
    .addOption(new Option('--write', 'the accesses are writes'))
    .addOption(new Option('--fetch', 'the accesses fetch instructions'))
    .addOption(options.json())
    .addHelpText(
      'after',
      examples([
        ['lethe machine translate 0x03a9 0x0040', 'the lecture’s problems'],
        ['lethe machine translate --quiz 7 --preset sv39', 'new ones, for another machine'],
        ['lethe machine translate --config ostep.json 0x2ffb', 'with tables from a file'],
        [
          'lethe machine translate --preset osc --disk BACKING_STORE.bin addresses.txt',
          'demand paging from a file',
        ],
      ]),
    )
    .action(run)
}

function run(words: string[], flags: TranslateFlags): void {
  const { config, state, given } = chosenMachine(flags)
  const kind: AccessKind = flags.write ? 'write' : flags.fetch ? 'fetch' : 'read'
  if (flags.quiz !== undefined) {
    if (words.length > 0) throw new UsageError('--quiz makes its own addresses: give none')
    return printQuiz(config, quiz(config, flags.quiz, flags.problems), flags)
  }
  const addresses = words.flatMap(word =>
    word === '-' ||
    (!/^(0x)?[0-9a-f]+$/i.test(word) && existsSync(word)) ||
    (/\D/.test(word[0] ?? '') && existsSync(word))
      ? addressesOf(word, new TextDecoder().decode(readWhole(word)))
      : [parseAddress(word)],
  )
  if (addresses.length === 0)
    throw new UsageError('Give addresses to translate, such as 0x3a9, or --quiz SEED')
  if (flags.disk !== undefined) return demand(given, flags.disk, addresses, kind, flags.json ?? false)
  const machine = loadState(config, state)
  const sheets = addresses.map(address => translate(machine, address, kind))
  if (flags.json) for (const sheet of sheets) printJson(sheet)
  else sheets.forEach((sheet, i) => print(`${i > 0 ? '\n' : ''}${sheetText(config, sheet)}`))
}

// --- a sheet as text ---

const yes = (is: boolean): string => (is ? 'Y' : 'N')

function digits(bits: number): number {
  return Math.max(1, Math.ceil(bits / 4))
}

/** Every blank, in the order of the lecture's sheet. */
function sheetText(config: MachineConfig, sheet: Sheet): string {
  const lines: string[] = []
  const vpoBits = Math.log2(config.pageSize)
  const vpnBits = config.virtualBits - vpoBits
  const ppnBits = Math.max(0, config.physicalBits - vpoBits)
  const dash = '-'
  const shown = (n: number | undefined, bits: number): string =>
    n === undefined ? dash : hex(n, digits(bits))
  lines.push(
    `${paint('bold', `Virtual address ${hex(sheet.address, digits(config.virtualBits))}`)}${sheet.kind === 'read' ? '' : ` (${sheet.kind})`}`,
  )
  if (config.translation) {
    lines.push(
      indent(
        bitRows(sheet.bits, [
          ['VPN', vpnBits],
          ['VPO', vpoBits],
        ]),
      ),
    )
    const tlb = sheet.kind === 'fetch' && config.itlb !== null ? config.itlb : config.tlb
    const sets = tlb === null ? 0 : Math.log2(tlb.entries / tlb.ways)
    lines.push(
      table([
        ['VPN', shown(sheet.vpn, vpnBits)],
        ['VPO', shown(sheet.vpo, vpoBits)],
        ['TLBI', sheet.tlbi === undefined ? dash : shown(sheet.tlbi, sets)],
        ['TLBT', sheet.tlbt === undefined ? dash : shown(sheet.tlbt, vpnBits - sets)],
        ['TLB hit?', sheet.tlbHit === undefined ? dash : yes(sheet.tlbHit)],
        ['Page fault?', yes(sheet.pageFault) + (sheet.refused === undefined ? '' : ` (${sheet.refused})`)],
        ['PPN', shown(sheet.ppn, ppnBits)],
      ]),
    )
    if (config.pageTable.levels.length > 1)
      for (const step of sheet.walk)
        lines.push(
          `  Level ${step.level}: index ${hex(step.index)}${step.address === undefined ? '' : `, entry at ${hex(step.address)}`}, ${
            step.entry.valid ? `valid, frame ${hex(step.entry.frame)}` : 'not valid'
          }`,
        )
  }
  if (sheet.physical === undefined) {
    lines.push(`  Physical address: ${dash}   (the kernel has to act first)`)
    return lines.join('\n')
  }
  lines.push(paint('bold', `Physical address ${hex(sheet.physical, digits(config.physicalBits))}`))
  const level = config.caches[0]
  const cache = level?.unified ?? (sheet.kind === 'fetch' ? level?.instruction : level?.data)
  const coBits = cache === undefined ? 0 : Math.log2(cache.line)
  const ciBits = cache === undefined ? 0 : Math.log2(cache.size / cache.line / cache.ways)
  const bits = sheet.physicalBits ?? ''
  lines.push(
    indent(
      bitRows(bits, [
        ['PPN', ppnBits],
        ['PPO', bits.length - ppnBits],
      ]),
    ),
  )
  if (cache !== undefined)
    lines.push(
      indent(
        bitRows(bits, [
          ['CT', bits.length - ciBits - coBits],
          ['CI', ciBits],
          ['CO', coBits],
        ]),
      ),
    )
  lines.push(
    table([
      ['PPN', shown(sheet.ppn, ppnBits)],
      ['PPO', shown(sheet.ppo, vpoBits)],
      ...(cache === undefined
        ? []
        : ([
            ['CO', shown(sheet.co, coBits)],
            ['CI', shown(sheet.ci, ciBits)],
            ['CT', shown(sheet.ct, config.physicalBits - ciBits - coBits)],
            ['Cache hit?', yes(sheet.cacheHit ?? false)],
          ] as [string, string][])),
      ['Byte', sheet.byte === undefined ? dash : hex(sheet.byte, 2)],
    ]),
  )
  return lines.join('\n')
}

const indent = (text: string): string => text.replace(/^/gm, '  ')

const table = (cells: readonly (readonly [string, string])[]): string =>
  `  ${cells.map(([name, value]) => `${name} ${value}`).join('   ')}`

// --- a quiz ---

function printQuiz(config: MachineConfig, made: Quiz, flags: TranslateFlags): void {
  if (flags.json) {
    printJson({
      type: 'quiz',
      seed: made.seed,
      state: made.state,
      problems: made.answers.map(({ address }) => address),
      ...(flags.answers === false ? {} : { answers: made.answers }),
    })
    return
  }
  const { virtualBits, physicalBits, pageSize } = config
  print(
    paint('bold', `Problems ${made.seed}`) +
      `: addresses of ${virtualBits} bits, physical ${physicalBits} bits, pages of ${pageSize} bytes`,
  )
  print('\nPage table (all other pages of this part are not valid)')
  columns(
    (made.state.pageTable ?? []).map(row => {
      const { vpn, ppn } = row as { vpn: number; ppn: number }
      return `VPN ${hex(vpn, 2)} → PPN ${hex(ppn, 2)}`
    }),
  )
  if (config.tlb !== null) {
    print(`\nTLB: ${config.tlb.entries} entries, ${config.tlb.ways} ways`)
    columns(
      (made.state.tlb ?? []).map(
        ({ set, tag, ppn }) =>
          `set ${hex(Number(set))} tag ${hex(Number(tag), 2)} → PPN ${hex(Number(ppn), 2)}`,
      ),
    )
  }
  for (const [name, rows] of Object.entries(made.state.caches ?? {})) {
    const level = config.caches[0]
    const cache = level?.unified ?? level?.data
    print(`\n${name}: ${cache?.size} bytes, lines of ${cache?.line}, ${cache?.ways} ways`)
    for (const { set, tag, bytes } of rows)
      print(
        `  set ${hex(Number(set))} tag ${hex(Number(tag), 2)}: ${String(bytes).replace(/(..)(?=.)/g, '$1 ')}`,
      )
  }
  print('')
  for (const sheet of made.answers)
    print(flags.answers === false ? `Virtual address ${hex(sheet.address)}` : `${sheetText(config, sheet)}\n`)
}

function columns(cells: readonly string[]): void {
  const width = Math.max(...cells.map(cell => cell.length), 1) + 3
  const per = Math.max(1, Math.floor(96 / width))
  for (let i = 0; i < cells.length; i += per)
    print(
      `  ${cells
        .slice(i, i + per)
        .map(cell => cell.padEnd(width))
        .join('')
        .trimEnd()}`,
    )
}

// --- demand paging from a file ---

function demand(
  given: object,
  disk: string,
  addresses: readonly number[],
  kind: AccessKind,
  asJson: boolean,
): void {
  const machine = new Machine(given)
  const process = machine.open('translate', machine.file(basename(disk), readWhole(disk)))
  machine.signalsEnd = false
  for (const address of addresses) {
    const [access] = machine.access(process.pid, { kind, address }) as [Access]
    if (asJson) printJson(access)
    else if (access.physical === undefined) print(`Virtual address: ${address} ${access.verdict}`)
    else
      print(
        `Virtual address: ${address} Physical address: ${access.physical} Value: ${((access.value ?? 0) << 24) >> 24}`,
      )
  }
  const { accesses, pageFaults, tlbHits, evictions, pagesWritten } = machine.counters
  const rate = (n: number): string => (n / Math.max(1, accesses)).toFixed(3)
  if (asJson) return printJson({ type: 'counters', ...machine.counters })
  print(`Number of Translated Addresses = ${accesses}`)
  print(`Page Faults = ${pageFaults}`)
  print(`Page Fault Rate = ${rate(pageFaults)}`)
  print(`TLB Hits = ${tlbHits}`)
  print(`TLB Hit Rate = ${rate(tlbHits)}`)
  if (evictions > 0) print(`Evictions = ${evictions}, Pages Written = ${pagesWritten}`)
}
