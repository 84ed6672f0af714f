/** What modules that also run in Node import of node:fs; a page has no files, and calls nothing of it. */
export function readFileSync(path: string | URL): never {
  throw new Error(`${String(path)} can't be read in a page`)
}
