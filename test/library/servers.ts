/** Servers of objects in threads of their own: the test's thread blocks in page faults, and could not answer. */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

export interface Server {
  readonly url: string
  /** Asks the server something; what it answers. */
  tell(message: unknown): Promise<unknown>
  close(): Promise<void>
}

async function start(program: string, data: unknown): Promise<Server> {
  const worker = new Worker(program, { eval: true, workerData: data, execArgv: [] })
  const [url] = (await once(worker, 'message')) as [string]
  return {
    url,
    async tell(message) {
      worker.postMessage(message)
      return ((await once(worker, 'message')) as [unknown])[0]
    },
    async close() {
      await worker.terminate()
    },
  }
}

/**
 * An HTTP server of one object, with faults. Messages: {bytes, tag} replaces the object; {faults: [...]} are the next answers: a
 * status, 'cut' (half of the body), 'reset' (no answer), 'wrong' (another range); {no: 'ranges' | 'tags'}; 'count' the requests.
 */
export const faulty = (bytes: Uint8Array): Promise<Server> =>
  start(
    `
    const { createServer } = require('node:http')
    const { parentPort, workerData } = require('node:worker_threads')
    let { bytes } = workerData
    let tag = '"one"', faults = [], no = '', count = 0
    const server = createServer((request, response) => {
      count++
      if (request.url !== '/object') return response.writeHead(request.url === '/secret' ? 403 : 404).end()
      const fault = faults.shift()
      if (fault === 'reset') return request.socket.destroy()
      if (typeof fault === 'number') return response.writeHead(fault).end()
      if (request.headers['if-match'] !== undefined && request.headers['if-match'] !== tag)
        return response.writeHead(412).end()
      const tags = no === 'tags' ? {} : { etag: tag }
      const [, a, b] = /bytes=(\\d+)-(\\d+)/.exec(request.headers.range ?? '') ?? []
      if (a === undefined || no === 'ranges') return response.writeHead(200, tags).end(bytes)
      if (Number(a) >= bytes.length) return response.writeHead(416, { ...tags, 'content-range': 'bytes */' + bytes.length }).end()
      const from = Number(a) + (fault === 'wrong' ? 1 : 0)
      const part = Buffer.from(bytes.subarray(from, Math.min(Number(b) + 1, bytes.length)))
      response.writeHead(206, { ...tags, 'content-length': part.length,
        'content-range': 'bytes ' + from + '-' + (from + part.length - 1) + '/' + bytes.length })
      if (fault === 'cut') { response.write(part.subarray(0, part.length >> 1)); setTimeout(() => request.socket.destroy(), 5) }
      else response.end(part)
    })
    parentPort.on('message', message => {
      if (message.bytes) ({ bytes, tag } = message)
      if (message.faults) ({ faults } = message)
      if ('no' in message) ({ no } = message)
      parentPort.postMessage(count)
    })
    server.listen(0, '127.0.0.1', () => parentPort.postMessage('http://127.0.0.1:' + server.address().port))
  `,
    { bytes },
  )

/** s3rver, a server of the S3 protocol, with one bucket. Its keys are S3RVER and S3RVER. */
export const s3 = (directory: string, bucket: string): Promise<Server> =>
  start(
    `
    const { parentPort, workerData } = require('node:worker_threads')
    const S3rver = require(workerData.module)
    const server = new S3rver({ port: 0, address: '127.0.0.1', silent: true, directory: workerData.directory,
      configureBuckets: [{ name: workerData.bucket }] })
    server.run().then(({ port }) => parentPort.postMessage('http://127.0.0.1:' + port))
  `,
    { module: new URL('../../node_modules/s3rver', import.meta.url).pathname, directory, bucket },
  )
