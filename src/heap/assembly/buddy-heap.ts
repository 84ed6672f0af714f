export { currentBreak, place } from './words.ts'
export { alignedAlloc, calloc, errno, free, malloc, realloc, setup, usableSize } from './buddy.ts'
