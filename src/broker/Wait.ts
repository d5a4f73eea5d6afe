/**
 * Waiting for something to happen, but not for ever.
 *
 * A plain timer and not `Effect.timeout`: it also ends inside finalizers, which nothing can interrupt.
 */
import * as Effect from "effect/Effect"

/** Registers `done`, and resumes when it is called or when the time is over (at once when it is not above 0). */
export const until = (register: (done: () => void) => () => void, millis: number): Effect.Effect<void> =>
  Effect.callback((resume) => {
    let cancel: (() => void) | undefined
    let timer: NodeJS.Timeout | undefined
    let over = false
    const finish = () => {
      if (over) return
      over = true
      clearTimeout(timer)
      cancel?.()
      resume(Effect.void)
    }
    cancel = register(finish)
    if (!over) timer = setTimeout(finish, Math.max(millis, 1))
    return Effect.sync(() => {
      clearTimeout(timer)
      cancel?.()
    })
  })
