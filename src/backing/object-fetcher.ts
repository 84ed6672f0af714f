// The fetcher thread of an ObjectBacking: requests of blocks become requests of ranges. See object.ts.
import { write } from 'node:fs'
import { promisify } from 'node:util'
import { setTimeout as sleep } from 'node:timers/promises'
import { workerData } from 'node:worker_threads'
import { AwsClient } from 'aws4fetch'
import type { BackingErrorCode } from './backing.ts'
import type { FetcherData, FetchReply, FetchRequest, ObjectAddress } from './object.ts'

const writeAsync = promisify(write)

class FetchError extends Error {
  readonly code: BackingErrorCode
  /** Whether it may be other the next time. */
  readonly passing: boolean
  constructor(code: BackingErrorCode, message: string, passing = false) {
    super(message)
    this.code = code
    this.passing = passing
  }
}

/** The object's address for HTTP. s3://bucket/key: of Amazon, or with the path under an endpoint. */
function httpAddress({ url, endpoint, region = defaultRegion() }: ObjectAddress): string {
  const s3 = /^s3:\/\/([^/]+)\/(.+)$/.exec(url)
  if (s3 === null) return url
  const [, bucket = '', key = ''] = s3
  const path = key.split('/').map(encodeURIComponent).join('/')
  return endpoint === undefined
    ? `https://${bucket}.s3.${region}.amazonaws.com/${path}`
    : `${endpoint.replace(/\/$/, '')}/${bucket}/${path}`
}

const defaultRegion = (): string => process.env.AWS_REGION ?? 'us-east-1'

function signer({ url, credentials, region = defaultRegion() }: ObjectAddress): AwsClient | undefined {
  const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN } = process.env
  const given =
    credentials ??
    (url.startsWith('s3:') && AWS_ACCESS_KEY_ID !== undefined && AWS_SECRET_ACCESS_KEY !== undefined
      ? {
          accessKeyId: AWS_ACCESS_KEY_ID,
          secretAccessKey: AWS_SECRET_ACCESS_KEY,
          ...(AWS_SESSION_TOKEN === undefined ? {} : { sessionToken: AWS_SESSION_TOKEN }),
        }
      : undefined)
  return given && new AwsClient({ ...given, service: 's3', region, retries: 0 })
}

class Fetcher {
  readonly #data: FetcherData
  readonly #url: string
  readonly #signer: AwsClient | undefined
  readonly #ended = new AbortController()
  #tag: string | undefined

  constructor(data: FetcherData) {
    this.#data = data
    this.#url = httpAddress(data.address)
    this.#signer = signer(data.address)
    this.#tag = data.tag
    data.port.on('message', (message: FetchRequest | 'close') => {
      if (message === 'close') {
        this.#ended.abort()
        data.port.close()
      } else void this.#serve(message)
    })
  }

  async #serve({ block, slot }: FetchRequest): Promise<void> {
    const reply = await this.#tried(block, slot).catch(
      (error: unknown): FetchReply => ({
        block,
        bytes: 0,
        error: {
          code: error instanceof FetchError ? error.code : 'io',
          message: error instanceof Error ? error.message : String(error),
        },
      }),
    )
    if (this.#ended.signal.aborted) return
    const { port, bell } = this.#data
    port.postMessage(reply)
    const count = new Int32Array(bell)
    Atomics.add(count, 0, 1)
    Atomics.notify(count, 0)
  }

  async #tried(block: number, slot: number): Promise<FetchReply> {
    const { retries = 4 } = this.#data.address
    for (let tries = 0; ; tries++) {
      try {
        return block < 0 ? await this.#stat(block) : await this.#range(block, slot)
      } catch (error) {
        if (this.#ended.signal.aborted || (error instanceof FetchError && !error.passing)) throw error
        if (tries >= retries) {
          const why = error instanceof FetchError ? error.message : `${this.#url}: ${reason(error)}`
          throw new FetchError('network', `${why}; tried ${tries + 1} times`)
        }
        await sleep(50 * 2 ** tries, undefined, { signal: this.#ended.signal })
      }
    }
  }

  async #get(from: number, to: number): Promise<Response> {
    const { timeout = 30_000, headers: given = {} } = this.#data.address
    const headers: Record<string, string> = {
      ...given,
      range: `bytes=${from}-${to}`,
      'accept-encoding': 'identity',
    }
    // A weak tag never matches; then the answer's is compared.
    if (this.#tag?.startsWith('"') === true) headers['if-match'] = this.#tag
    const signal = AbortSignal.any([this.#ended.signal, AbortSignal.timeout(timeout)])
    const request = await this.#signer?.sign(this.#url, { headers })
    const response = await (request === undefined
      ? fetch(this.#url, { headers, signal })
      : fetch(request, { signal }))
    if (response.status === 206 || response.status === 416) return response
    await response.body?.cancel()
    throw this.#refused(response)
  }

  #refused({ status }: Response): FetchError {
    const said = `${this.#url} answers ${status}`
    if (status === 412) return this.#changed()
    if (status === 200)
      return new FetchError(
        'unsupported',
        `${said} to a request for a range; a server that does ranges is needed`,
      )
    if (status === 404 || status === 410) return new FetchError('not-found', `${said}; check the address`)
    if (status === 401 || status === 403)
      return new FetchError('denied', `${said}; give credentials that may read it`)
    return new FetchError('network', said, status >= 500 || status === 429 || status === 408)
  }

  #changed(): FetchError {
    return new FetchError('changed', `${this.#url} was replaced; close the region and map it again`)
  }

  /** What tells this state of the object from others. */
  #tagOf(response: Response): string {
    const tag = response.headers.get('etag') ?? response.headers.get('last-modified')
    if (tag === null)
      throw new FetchError(
        'unsupported',
        `${this.#url} has neither ETag nor Last-Modified, so it can't be told when it changes`,
      )
    return tag
  }

  async #stat(block: number): Promise<FetchReply> {
    const response = await this.#get(0, 0)
    await response.body?.cancel()
    const total = /^bytes (?:\d+-\d+|\*)\/(\d+)$/.exec(response.headers.get('content-range') ?? '')?.[1]
    if (total === undefined)
      throw new FetchError('unsupported', `${this.#url} does not say its size in Content-Range`)
    this.#tag = this.#tagOf(response)
    return { block, bytes: 0, stat: { size: Number(total), tag: this.#tag } }
  }

  async #range(block: number, slot: number): Promise<FetchReply> {
    const from = block * this.#data.block
    const response = await this.#get(from, from + this.#data.block - 1)
    if (this.#tagOf(response) !== this.#tag) {
      await response.body?.cancel()
      throw this.#changed()
    }
    const range = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(response.headers.get('content-range') ?? '')
    const bytes = new Uint8Array(await response.arrayBuffer())
    const wanted = Math.min(this.#data.block, Number(range?.[3] ?? 0) - from)
    if (range === null || Number(range[1]) !== from || bytes.length !== wanted)
      throw new FetchError('network', `${this.#url} gave ${bytes.length} of ${wanted} bytes at ${from}`, true)
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await writeAsync(
        this.#data.descriptor,
        bytes,
        done,
        bytes.length - done,
        slot * this.#data.block + done,
      )
      done += bytesWritten
    }
    return { block, bytes: bytes.length }
  }
}

function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? `${error.message} (${error.cause.message})` : error.message
}

new Fetcher(workerData as FetcherData)
