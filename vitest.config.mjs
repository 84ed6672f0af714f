import { defineConfig } from 'vitest/config'

// Most tests start processes: on a busy machine that takes its time.
export default defineConfig({
  test: { include: ['test/**/*.test.ts'], testTimeout: 30_000, hookTimeout: 30_000, maxWorkers: 2 },
})
