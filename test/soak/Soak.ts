/**
 * A soak: every role at once against one broker for as long as one likes, measured all the time, and a verdict.
 */
import { BrokerProcess } from "../fuzz/BrokerProcess.ts"
import type { Planted, Report } from "../fuzz/Report.ts"
import * as Churn from "./Churn.ts"
import * as Keeping from "./Keeping.ts"
import * as Slow from "./Slow.ts"
import { limits, type Role, Stage } from "./Stage.ts"
import * as Traffic from "./Traffic.ts"
import * as Trend from "./Trend.ts"

export interface Options {
  readonly seconds: number
  /** It ends earlier, when every role has played so many rounds. */
  readonly enough?: Readonly<Record<string, number>> | undefined
  readonly seed: number
  readonly keeps: "nothing" | "everything"
  /** Bytes that memory may rise by in the second half, however short it is. */
  readonly riseBytesMax: number
  readonly planted?: Planted | undefined
  /** How often memory is measured, after a collection. */
  readonly sampleSeconds: number
  /** How often a line is said. */
  readonly lineSeconds: number
  readonly say: (line: string) => void
}

export interface Verdict {
  readonly problems: ReadonlyArray<string>
  readonly trend: Trend.Trend
  readonly rounds: Readonly<Record<string, number>>
  readonly published: number
}

/**
 * Memory is level when the line through the second half of the run rises by less than this share of its mean, or by
 * less than these bytes: queues and outboxes are in different states whenever memory is measured.
 */
const RISE_SHARE_MAX = 0.05
export const RISE_BYTES_MAX = 3 * 1024 * 1024

const roles: Readonly<Record<string, Role>> = {
  steady: Traffic.steady,
  shared: Traffic.shared,
  churn: Churn.churn,
  takeover: Churn.takeover,
  durable: Keeping.durable,
  retained: Keeping.retained,
  late: Slow.late,
  frozen: Slow.frozen,
  stuck: Slow.stuck
}

const mebibytes = (bytes: number): string => `${(bytes / 1_048_576).toFixed(1)} MiB`

/** What is said about the time since the line before. */
class Lines {
  private before: { readonly at: number; readonly report: Report } | undefined = undefined
  private readonly startedAt = Date.now()

  line(report: Report): string {
    const at = Date.now()
    const seconds = (at - (this.before?.at ?? this.startedAt)) / 1_000
    const former = this.before?.report.stats
    this.before = { at, report }
    const rate = (now: number, then = 0) => `${Math.round((now - then) / seconds)}/s`
    const { stats, store } = report
    return [
      `${((at - this.startedAt) / 60_000).toFixed(1)} min`,
      `connections ${report.connections} (${rate(stats.connectionsTotal, former?.connectionsTotal)})`,
      `sessions ${report.sessions}`,
      `subscriptions ${report.subscriptions}`,
      `retained ${report.retained}`,
      `messages in ${rate(stats.messagesReceived, former?.messagesReceived)}`,
      `out ${rate(stats.messagesSent, former?.messagesSent)}`,
      `dropped ${rate(stats.messagesDropped, former?.messagesDropped)}`,
      `waiting ${report.outgoingMessages}`,
      `heap ${mebibytes(report.heapBytes)}`,
      `buffers ${mebibytes(report.bufferBytes)}`,
      `resident ${mebibytes(report.rssBytes)}`,
      `outbox ${mebibytes(report.outboxBytes)}`,
      `journal ${store.pendingBytes} B of ${mebibytes(store.bytes)}`,
      `held up ${report.stallMillis} ms`
    ].join(", ")
  }
}

/** Measures until told to stop. */
const sampling = (broker: BrokerProcess, stage: Stage, options: Options) => {
  const series: Array<Trend.Sample> = []
  const lines = new Lines()
  const startedAt = Date.now()
  let lineAt = startedAt + options.lineSeconds * 1_000
  let stopped = false
  let timer: NodeJS.Timeout | undefined
  const sample = async (): Promise<void> => {
    try {
      const report = await broker.report(true)
      // The end is another load: everybody finishes and leaves.
      if (stopped || stage.over) return
      series.push({ seconds: (Date.now() - startedAt) / 1_000, value: report.heapBytes + report.bufferBytes })
      if (Date.now() >= lineAt) {
        lineAt += options.lineSeconds * 1_000
        options.say(lines.line(report))
      }
      timer = setTimeout(() => void sample(), options.sampleSeconds * 1_000)
    } catch {
      // The broker is gone: the roles notice, and the verdict says so.
    }
  }
  void sample()
  const stop = () => {
    stopped = true
    clearTimeout(timer)
    return series
  }
  return { stop }
}

const play = async (stage: Stage, name: string, role: Role): Promise<void> => {
  try {
    await role(stage)
  } catch (error) {
    stage.fail(`${name}: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/** What the broker says of itself when everybody has gone, beside what must be. */
const audit = (report: Report, stage: Stage, keeps: Options["keeps"]): Array<string> => {
  const { stats, store } = report
  const books: Array<readonly [name: string, found: number, right: number]> = [
    ["connections", report.connections, 0],
    ["sessions", report.sessions, 0],
    ["subscriptions", report.subscriptions, 0],
    ["retained messages", report.retained, 0],
    ["waiting messages", report.incomingMessages + report.outgoingMessages, 0],
    ["bytes in outboxes", report.outboxBytes, 0],
    ["stored sessions", store.sessions, 0],
    ["stored retained messages", store.retained, 0],
    ["bytes on their way to the store", store.pendingBytes, 0],
    ["connections since the start", stats.connectionsTotal, stage.opened],
    ["messages received", stats.messagesReceived, stage.published],
    ["protocol errors", stats.protocolErrors, 0],
    ["lost events", stats.eventsDropped, 0],
    ["dropped messages that were told of", sum(report.dropped), stats.messagesDropped]
  ]
  for (const [key, count] of Object.entries(stage.dropped)) {
    if (stage.unknown.has(key)) continue
    books.push([`messages dropped (${key})`, report.dropped[key] ?? 0, count])
  }
  const problems = books
    .filter(([, found, right]) => found !== right)
    .map(([name, found, right]) => `${found} ${name}, and not ${right}`)
  for (const key of Object.keys(report.dropped)) {
    if (key in stage.dropped || stage.unknown.has(key)) continue
    problems.push(`${report.dropped[key]} messages dropped without a reason (${key})`)
  }
  if (stats.messagesSent < stage.received) {
    problems.push(`${stats.messagesSent} messages sent, of which ${stage.received} came`)
  }
  if (keeps === "everything" && store.commits === 0) problems.push("nothing was stored")
  return problems.concat(report.defects)
}

const sum = (counts: Readonly<Record<string, number>>): number =>
  Object.values(counts).reduce((total, count) => total + count, 0)

/** The last connections end a moment after their clients have. */
const quiet = async (broker: BrokerProcess): Promise<Report> => {
  for (let tries = 0; ; tries++) {
    const report = await broker.report(true)
    const busy = report.connections + report.sessions + report.store.pendingBytes > 0
    if (!busy || tries === 100) return report
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

const judge = (trend: Trend.Trend, riseBytesMax: number): string | undefined => {
  const most = Math.max(riseBytesMax, trend.mean * RISE_SHARE_MAX)
  if (trend.rise <= most) return undefined
  return `memory is not level: it rose by ${mebibytes(trend.rise)} in the second half, of at most ${mebibytes(most)}`
}

export const run = async (options: Options): Promise<Verdict> => {
  const { keeps, planted } = options
  const settings = { ...limits, shutdownTimeoutSeconds: 2 }
  const broker = await BrokerProcess.start({ settings, keeps, planted })
  const stage = new Stage(broker.port, Date.now() + options.seconds * 1_000, options.enough, options.seed)
  const problems: Array<string> = []
  let trend: Trend.Trend = { rise: 0, mean: 0, samples: 0 }
  try {
    const samples = sampling(broker, stage, options)
    await Promise.all(Object.entries(roles).map(([name, role]) => play(stage, name, role)))
    trend = Trend.ofSecondHalf(samples.stop())
    problems.push(...stage.faults)
    if (broker.fault !== undefined) problems.push(broker.fault)
    else if (problems.length === 0) problems.push(...audit(await quiet(broker), stage, keeps))
    const rising = judge(trend, options.riseBytesMax)
    if (rising !== undefined) problems.push(rising)
    const end = problems.length === 0 ? await broker.stop() : undefined
    if (end !== undefined) problems.push(end)
  } catch (error) {
    problems.push(error instanceof Error ? error.message : String(error))
  } finally {
    await broker.kill()
  }
  return { problems, trend, rounds: stage.rounds, published: stage.published }
}
