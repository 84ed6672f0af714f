// The man page, made from the commander definitions; man/lethe.1 is this, committed (`npm run man`).
import { Command, type Option } from 'commander'

export function manCommand(lethe: () => Command): Command {
  return new Command('man').description('print the manual page (lethe man | man -l -)').action(() => {
    process.stdout.write(manPage(lethe()))
  })
}

/** Text for roff: backslashes, hyphens that are to be typed, and lines that would be requests. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll(/^([.'])/gm, '\\&$1')
}

/** The examples of a command, as its help shows them. */
function afterHelp(command: Command): string {
  let text = ''
  const width = 80
  command.configureOutput({ writeOut: more => void (text += more), getOutHelpWidth: () => width })
  command.outputHelp()
  const helpEnd = command.helpInformation().length
  return text.slice(helpEnd).trim()
}

function optionLines(options: readonly Option[]): string[] {
  return options.flatMap(({ flags, description, defaultValueDescription }) => {
    const standard = defaultValueDescription === undefined ? '' : ` (default: ${defaultValueDescription})`
    return ['.TP', `.B ${roff(flags)}`, roff(`${description}${standard}`)]
  })
}

/** A command's section, then those of its own commands. `of`: the names of what it belongs to, with a space after each. */
function commandLines(command: Command, of = ''): string[] {
  const usage = command.createHelp().commandUsage(command)
  const options = command
    .createHelp()
    .visibleOptions(command)
    .filter(option => option.long !== '--help')
  const lines = [
    `.SS ${of}${command.name()}`,
    '.nf',
    ...usage.split('\n').map(line => `.B ${roff(line.trim())}`),
    '.fi',
    '.PP',
    `${roff(capital(command.description()))}.`,
  ]
  lines.push(...optionLines(options))
  const after = afterHelp(command)
  if (after !== '') lines.push('.PP', '.nf', roff(after), '.fi')
  for (const own of command.commands) lines.push(...commandLines(own, `${of}${command.name()} `))
  return lines
}

const capital = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}`

/** The whole page, in man(7). */
function manPage(lethe: Command): string {
  const lines = [
    `.\\" Made by \`npm run man\` from the definitions in src/cli; do not edit.`,
    `.TH LETHE 1 "" "lethe ${lethe.version() ?? ''}" "User Commands"`,
    '.SH NAME',
    'lethe \\- give back the memory that running programs spend on copies of files',
    '.SH SYNOPSIS',
    '.B lethe',
    '.I command',
    '[options]',
    '.SH DESCRIPTION',
    roff(
      'A running program keeps in its memory copies of bytes that are on disk. lethe finds such memory, proves byte for byte that it can be made again, gives the pages back to the system, and serves a page fault by making the bytes again. The program is not changed and does not notice.',
    ),
    '.SH COMMANDS',
    ...lethe.commands.flatMap(command => commandLines(command)),
    '.SH SIZES',
    roff('64M, 64MiB and 64m are 64 * 2^20 bytes; K, G and T likewise; a number alone is bytes.'),
    '.SH EXIT STATUS',
    ...[
      ['0', 'done'],
      ['1', 'failed'],
      ['2', 'wrong usage'],
      ['3', 'not possible here; lethe doctor says why'],
      ['126, 127', 'the command can not be executed, or is not there'],
      ['128+n', 'ended by signal n'],
    ].flatMap(([code = '', what = '']) => ['.TP', `.B ${code}`, roff(what)]),
    '.PP',
    roff('run ends as its command ends, and check as its program.'),
    '.SH ENVIRONMENT',
    '.TP',
    '.B LETHE_STATE',
    'where journals and control sockets are',
    '.TP',
    '.B LETHE_SPILL',
    roff("where run keeps what a budget sends out of a program's memory (unlinked files; else TMPDIR)"),
    '.TP',
    '.B XDG_CACHE_HOME',
    roff('where indexes and what was unpacked are kept, in a folder lethe (else ~/.cache)'),
    '.TP',
    '.B NO_COLOR',
    'no colour',
    '.TP',
    '.B NODE_DEBUG=lethe',
    'print the stack of an error',
    '.SH FILES',
    '.TP',
    '.I /run/lethe/PID/',
    roff(
      'journal and control socket of an attached process; $XDG_RUNTIME_DIR/lethe for users other than root',
    ),
    '.TP',
    '.I /run/lethe/PID.log',
    'what its pager had to say',
    '.TP',
    '.I ~/.cache/lethe/',
    roff('indexes of files, and what could only be unpacked from the start: at most 0.5 and 8 GiB'),
  ]
  return `${lines.join('\n')}\n`
}
