/**
 * Whether a series of measurements stays level: the straight line through its second half, by least squares.
 */

export interface Sample {
  readonly seconds: number
  readonly value: number
}

export interface Trend {
  /** How much the line rises (or, below 0, falls) from the middle of the run to its end. */
  readonly rise: number
  /** The mean of the second half. */
  readonly mean: number
  readonly samples: number
}

/** Of the second half in time; the first is for caches to fill and code to be compiled. */
export const ofSecondHalf = (series: ReadonlyArray<Sample>): Trend => {
  const last = series.at(-1)?.seconds ?? 0
  const first = series[0]?.seconds ?? 0
  const half = series.filter(({ seconds }) => seconds >= (first + last) / 2)
  const count = half.length
  if (count < 2) return { rise: 0, mean: half[0]?.value ?? 0, samples: count }
  const meanSeconds = half.reduce((sum, { seconds }) => sum + seconds, 0) / count
  const mean = half.reduce((sum, { value }) => sum + value, 0) / count
  let covariance = 0
  let variance = 0
  for (const { seconds, value } of half) {
    covariance += (seconds - meanSeconds) * (value - mean)
    variance += (seconds - meanSeconds) ** 2
  }
  const span = half.at(-1)!.seconds - half[0]!.seconds
  return { rise: variance === 0 ? 0 : (covariance / variance) * span, mean, samples: count }
}
