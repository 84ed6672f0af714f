/** GET /metrics, for Prometheus. On this machine only, unless an address is given. */
import { createServer, type Server } from 'node:http'
import { type AddressInfo, isIP } from 'node:net'
import type { PagerStatus } from '../pager/main.ts'
import type { Metrics } from './metrics.ts'

export interface Address {
  readonly host: string
  readonly port: number
}

/** `9100`, `:9100`, `127.0.0.1:9100`, `[::1]:9100`; undefined when it is none of these. */
export function parseAddress(text: string): Address | undefined {
  const match = /^(?:(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*)):)?(\d{1,5})$/.exec(text)
  if (match === null) return undefined
  const [, six, other, port = ''] = match
  const host = six ?? (other === undefined || other === '' ? '127.0.0.1' : other)
  if (Number(port) > 65_535 || (six !== undefined && isIP(six) !== 6)) return undefined
  if (six === undefined && isIP(host) !== 4 && !/^[A-Za-z0-9.-]+$/.test(host)) return undefined
  return { host, port: Number(port) }
}

/** Serves until it is closed. Rejects with the system's error when the address can't be had. Port 0: a free one. */
export async function serveMetrics(
  metrics: Metrics,
  { host, port }: Address,
  now: () => Promise<readonly PagerStatus[]>,
): Promise<{ readonly server: Server; readonly url: string }> {
  const server = createServer((request, response) => {
    const path = (request.url ?? '').split('?', 1)[0]
    if (path !== '/metrics') {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('Metrics are at /metrics.\n')
      return
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.writeHead(405, { 'content-type': 'text/plain', allow: 'GET, HEAD' }).end('Only GET.\n')
      return
    }
    void now()
      .then(all => metrics.text(all))
      .then(
        text => response.writeHead(200, { 'content-type': metrics.contentType }).end(text),
        (error: Error) => response.writeHead(500, { 'content-type': 'text/plain' }).end(`${error.message}\n`),
      )
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  const { address, family, port: real } = server.address() as AddressInfo
  const name = family === 'IPv6' ? `[${address}]` : address
  return { server, url: `http://${name}:${real}/metrics` }
}
