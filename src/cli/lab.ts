// lethe lab: serves the page of src/lab, built to dist/lab, and files that it is to show, to this machine only.
import { randomBytes, timingSafeEqual } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { basename, extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command, Option } from 'commander'
import { examples } from './arguments.ts'
import { CommandError, exitCode, UsageError } from './errors.ts'
import { print, printJson, say } from './output.ts'

interface Flags {
  readonly port: number
  readonly json?: true
}

const folder = fileURLToPath(new URL('../lab', import.meta.url))
const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
}

export function labCommand(): Command {
  return new Command('lab')
    .description(
      'look at the machine, replacement, heaps, collection and programs that have run in a browser',
    )
    .argument('[file...]', 'what lethe run --json FILE or lethe check --json FILE has written')
    .addOption(
      new Option('--port <number>', '0 takes a free one').default(0).argParser(text => {
        const port = /^\d+$/.test(text) ? Number(text) : Number.NaN
        if (!(port <= 65_535)) throw new UsageError(`--port ${text}: give a number from 0 to 65535`)
        return port
      }),
    )
    .addOption(new Option('--json', 'print one JSON document with the address'))
    .addHelpText(
      'after',
      examples([
        ['lethe lab', 'the lecture to look at and to play with'],
        [
          'lethe run --budget 16M --json run.json prog.wasm; lethe lab run.json',
          'what was resident when, and why',
        ],
      ]),
    )
    .action(async (files: string[], flags: Flags) => lab(files, flags))
}

async function lab(files: readonly string[], { port, json }: Flags): Promise<void> {
  if (!existsSync(join(folder, 'index.html')))
    throw new CommandError(exitCode.impossible, 'The page is not built; run npm run build')
  const records = await Promise.all(files.map(read))
  const token = randomBytes(16).toString('hex')
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost')
    const [, given = '', ...rest] = pathname.split('/')
    // The token is part of the path, so that the page's own files carry it by themselves.
    if (!local(request.headers.host) || !same(given, token))
      return refuse(response, 403, 'Open the address that lethe lab printed.')
    if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(response, 405, 'Only GET.')
    const [folderName, number] = rest
    if (folderName !== 'records') return void send(response, rest.join('/'))
    const wanted = records[Number(number)]
    if (number !== undefined && wanted === undefined) return refuse(response, 404, 'There is no such file.')
    deliver(response, 'application/json', wanted?.bytes ?? JSON.stringify(records.map(({ name }) => name)))
  })
  await listen(server, port)
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/${token}/${records.length > 0 ? '#program' : ''}`
  if (json === true) printJson({ type: 'lab', address })
  else {
    print(address)
    say('open this address in a browser; Ctrl-C ends it')
  }
}

interface Shown {
  readonly name: string
  readonly bytes: Buffer
}

async function read(path: string): Promise<Shown> {
  let bytes: Buffer
  try {
    bytes = await readFile(path)
  } catch (error) {
    throw new UsageError(`${path} can't be read (${(error as NodeJS.ErrnoException).code})`)
  }
  const text = bytes.toString()
  if (!isObject(text) && !isObject(text.slice(0, text.indexOf('\n'))))
    throw new UsageError(
      `${path} is no JSON of ours; give what lethe run --json FILE or lethe check --json FILE has written`,
    )
  return { name: basename(path), bytes }
}

// One document, or one on each line; the page says what it does not know.
function isObject(text: string): boolean {
  try {
    return typeof JSON.parse(text) === 'object'
  } catch {
    return false
  }
}

async function listen(server: Server, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        new CommandError(
          exitCode.failed,
          error.code === 'EADDRINUSE'
            ? `Port ${port} is in use; leave --port out to take a free one`
            : `Port ${port} can't be opened (${error.code})`,
        ),
      ),
    )
    server.listen(port, '127.0.0.1', resolve)
  })
}

// A page of another origin whose name was made to lead here sends its own name.
const local = (host: string | undefined): boolean => /^(127\.0\.0\.1|localhost)(:\d+)?$/.test(host ?? '')

function same(given: string, token: string): boolean {
  return given.length === token.length && timingSafeEqual(Buffer.from(given), Buffer.from(token))
}

function refuse(response: ServerResponse, status: number, sentence: string): void {
  response.writeHead(status, { 'content-type': 'text/plain' }).end(`${sentence}\n`)
}

async function send(response: ServerResponse, name: string): Promise<void> {
  let path: string
  try {
    path = normalize(join(folder, decodeURIComponent(name === '' ? 'index.html' : name)))
  } catch {
    return refuse(response, 400, 'This is no address.')
  }
  const type = types[extname(path)]
  if (!path.startsWith(folder) || type === undefined) return refuse(response, 404, 'There is no such file.')
  const bytes = await readFile(path).catch(() => undefined)
  if (bytes === undefined) return refuse(response, 404, 'There is no such file.')
  deliver(response, type, bytes)
}

function deliver(response: ServerResponse, type: string, bytes: Buffer | string): void {
  response
    .writeHead(200, {
      'content-type': type,
      'content-length': Buffer.byteLength(bytes),
      'cache-control': 'no-store',
      'content-security-policy':
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; connect-src 'self'",
      'referrer-policy': 'no-referrer',
    })
    .end(bytes)
}
