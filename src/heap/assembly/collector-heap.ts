export { currentBreak, place } from './words.ts'
export { alignedAlloc, calloc, errno, free, malloc, realloc, setup, usableSize } from './best.ts'
export {
  allocateAlignedUnlessDue,
  allocateObject,
  allocateUnlessDue,
  beginMarking,
  beginSweeping,
  isMarked,
  isObject,
  mark,
  markRange,
  markSome,
  markStack,
  markWord,
  objectAt,
  reallocateUnlessDue,
  setupCollector,
  sweepSome,
  tablesSize,
  writePointer,
} from './collector.ts'
