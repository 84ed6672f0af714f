/** Sites for people: a line or two each, those with most explained bytes first. */
import { basename } from 'node:path'
import { styleText } from 'node:util'
import type { AuditSites } from '../audit/audit.ts'
import { formatBytes } from '../audit/words.ts'
import type { Site, SitesReport } from './sites.ts'
import type { Frame } from './symbols.ts'

const MOST_SITES = 12
const MOST_ON_PAGE = 200
/** A site that explains less than this share is not worth a line. */
const LEAST = 0.005
const MOST_CALLERS = 3

/** What only hands memory on: its caller is who wants it. */
const HANDS_ON =
  /^(x|g_|my_|safe_|checked_|_+libc_|je_|mi_|tc_|av_)?(m|c|re|z|em|ec|ere)?alloc(ate|array|0|f|_n|n)?$|^operator new|^std::|^__gnu_cxx::|^(x|g_)?(strn?dup|memdup\d?|memalign)$|^posix_memalign$|^aligned_alloc$|^_start$|^__libc_start/

/** Whether a file or program belongs to the system or to a package, not to the program that is looked at. */
function isForeign(frame: Frame, program: string): boolean {
  if (frame.language === 'python')
    return /\/lib\/python3[^/]*\/|\/(site|dist)-packages\/|^<frozen |^<__array/.test(frame.file ?? '')
  if (frame.language === 'javascript') return /^node:|\/node_modules\//.test(frame.file ?? '')
  return frame.module !== program && /^\/(usr\/)?lib|^\/usr\/local\/lib|^\[/.test(frame.module)
}

/** A frame's name, with the package that it is of where it is not the program's own: `numpy.load`. */
export function frameName(frame: Frame): string {
  const file = frame.file ?? ''
  if (frame.language === 'javascript') {
    const own = /^node:(?:internal\/)?(\w+)/.exec(file)?.[1]
    return own === undefined ? frame.function : `${own}.${frame.function}`
  }
  if (frame.language !== 'python') return frame.function
  const inside = /\/(?:site|dist)-packages\/(.*)/.exec(file) ?? /\/lib\/python3[^/]*\/(.*)/.exec(file)
  const name = inside?.[1]?.split('/')[0]?.replace(/\.py$/, '')
  return name === undefined ? frame.function : `${name}.${frame.function}`
}

const place = ({ file, line }: Frame): string =>
  file === undefined ? '' : ` (${basename(file)}${line === undefined ? '' : `:${line}`})`

/** `np.load ← load_model (app.py:12) ← main (app.py:40)`: what was called, and by whom. */
export function describe(site: Site): string {
  const { frames } = site
  if (frames.length === 0) return 'a place that is not known (no stack)'
  const managed = frames.some(({ language }) => language !== 'native')
  const program = managed ? '' : (frames.findLast(({ language }) => language === 'native')?.module ?? '')
  // The outermost frames of a C program are the C library's; the program is who has main.
  const main = frames.find(({ function: name }) => name === 'main')?.module ?? program
  const own = (frame: Frame): boolean =>
    !isForeign(frame, main) && !(managed && frame.language === 'native') && !HANDS_ON.test(frame.function)
  const at = frames.findIndex(own)
  if (at < 0) {
    const [first] = frames.filter(({ function: name }) => !HANDS_ON.test(name))
    return first === undefined ? frameName(frames[0] as Frame) : `${frameName(first)}${place(first)}`
  }
  const called = frames
    .slice(0, at)
    .findLast(
      ({ function: name, language, module }) =>
        !HANDS_ON.test(name) && (language !== 'native' || !/\/(lib)?python3[^/]*$/.test(module)),
    )
  // Of a library without symbols its name says more than an offset.
  const callee =
    called === undefined
      ? []
      : [
          /\+0x[0-9a-f]+$/.test(called.function)
            ? basename(called.module).replace(/\..*/, '')
            : frameName(called),
        ]
  const callers = frames.slice(at).filter((frame, i) => i === 0 || own(frame))
  const shown = callers.slice(0, MOST_CALLERS).map(frame => `${frameName(frame)}${place(frame)}`)
  return [...callee, ...shown].join(' ← ')
}

/** What the page of an audit shows of sites. */
export function forAudit({ sites, complete }: SitesReport): AuditSites {
  const list = sites
    .filter(({ explained }) => explained > 0)
    .slice(0, MOST_ON_PAGE)
    .map(({ frames, ...site }) => ({
      ...site,
      name: describe({ frames, ...site }),
      stack: frames.map(frame => `${frameName(frame)}${place(frame)}`),
    }))
  return { list, complete }
}

/** What could be done about bytes that a lens makes. */
function advice(site: Site): string {
  if (site.freed > site.explained / 2) return 'it is freed, but malloc keeps it: malloc_trim(3) gives it back'
  const lens = site.sources[0]?.lens ?? 'verbatim'
  if (lens === 'verbatim') return 'map it instead'
  if (/gunzip|inflate|unzstd|unxz|bunzip|unlz4|png|zip/.test(lens))
    return 'unpack it to a file once and map that'
  if (/^utf8|^newlines|^latin/.test(lens)) return "keep the file's bytes, decode what is used"
  if (lens.startsWith('numbers')) return 'convert it once to a binary file and map that'
  return 'map it and convert what is used'
}

export function formatSites(report: SitesReport, options: { colour?: boolean } = {}): string {
  const bold = (text: string): string =>
    options.colour ? styleText('bold', text, { validateStream: false }) : text
  const { anonymous, explained, attributed } = report.totals
  const share = (part: number, whole: number): string =>
    `${whole === 0 ? '-' : ((100 * part) / whole).toFixed(1)} %`
  const lines = [
    bold(`${report.pid}  ${report.command}`),
    `${formatBytes(anonymous)} of private anonymous memory, ${formatBytes(explained)} (${share(explained, anonymous)}) of it bytes of files${report.looks > 1 ? `, at the fullest of ${report.looks} looks` : ''};`,
    report.looks > 1 ? 'who asked for it, each as it was when it held most:' : 'who asked for it:',
    '',
  ]
  const worth = report.sites.filter(site => site.explained >= LEAST * explained && site.explained > 0)
  for (const site of worth.slice(0, MOST_SITES)) {
    const [source] = site.sources
    const others = site.sources.length - 1
    const lens = source === undefined || source.lens === 'verbatim' ? '' : ` as ${source.lens}`
    lines.push(
      `${formatBytes(site.explained).padStart(9)} ${share(site.explained, explained).padStart(7)}  at ${describe(site)}`,
      `${' '.repeat(19)}is ${basename(source?.path ?? '')}${lens}${others > 0 ? `, and ${others} more` : ''}; ${advice(site)}`,
    )
  }
  const rest = report.sites
    .filter(site => !worth.slice(0, MOST_SITES).includes(site))
    .reduce((sum, site) => sum + site.explained, 0)
  if (rest > LEAST * explained)
    lines.push(`${formatBytes(rest).padStart(9)} ${share(rest, explained).padStart(7)}  at other places`)
  if (explained - attributed > LEAST * explained)
    lines.push(
      `${formatBytes(explained - attributed).padStart(9)} ${share(explained - attributed, explained).padStart(7)}  nobody knows from where: from before the recorder, or by an allocator of the program's own`,
    )
  if (report.sites.length === 0 && explained > 0)
    lines.push(
      'Nothing was recorded: the program is statically linked or setuid, or brings its own malloc in its executable.',
    )
  else if (!report.complete) lines.push('The recorder had no more room: some places are missing.')
  return `${lines.join('\n')}\n`
}
