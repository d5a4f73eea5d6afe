/** Medians and percentiles. */

const ascending = (values: ReadonlyArray<number>): ReadonlyArray<number> => [...values].sort((a, b) => a - b)

/** The value below which a share (0 to 1) of the values lies; undefined of none. */
export const quantile = (values: ReadonlyArray<number>, share: number): number | undefined => {
  const sorted = ascending(values)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
}

/** The middle value, or the mean of the middle two; undefined of none. */
export const median = (values: ReadonlyArray<number>): number | undefined => {
  const sorted = ascending(values)
  const above = sorted[Math.floor(sorted.length / 2)]
  const below = sorted[Math.floor((sorted.length - 1) / 2)]
  return above === undefined || below === undefined ? undefined : (above + below) / 2
}
