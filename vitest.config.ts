import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/bench/**"],
    testTimeout: 30_000,
    hookTimeout: 30_000,
    // The default leaves one of two cores idle: 508 s became 348.
    maxWorkers: 2
  }
})
