export { currentBreak, place } from './words.ts'
export { alignedAlloc, calloc, errno, free, malloc, realloc, setup, usableSize } from './best.ts'
export {
  allocateObject,
  beginMarking,
  beginSweeping,
  isMarked,
  isObject,
  mark,
  markRange,
  markSome,
  markWord,
  objectAt,
  setupCollector,
  sweepSome,
  writePointer,
} from './collector.ts'
