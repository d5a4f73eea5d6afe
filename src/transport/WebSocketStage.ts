/**
 * The WebSocket part of a listener: an `http.Server` that never listens, and is given connections that have been
 * admitted and, where there is TLS, secured.
 *
 * Owns what an upgrade must look like: path, Origin, subprotocol; the rest of the WebSocket protocol is `ws`'s. A
 * request that is no upgrade, or a wrong one, is answered with the HTTP status that says so, and closed.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"
import type { Duplex } from "node:stream"
import { WebSocketServer } from "ws"
import { type Arrival, failed, type Stages } from "./Arrival.ts"
import type { WebSocketConfig } from "./ListenerConfig.ts"
import type { Origin } from "./Listener.ts"
import { WebSocketConnection } from "./WebSocketConnection.ts"

/** Milliseconds that a client gets to answer a close frame. The option is younger than the types of `ws`. */
const closing = { closeTimeout: 2_000 }
/** What a frame may be when nobody says what the largest packet is. */
const FRAME_BYTES = 2 * 1024 * 1024

/** The best first. */
const subprotocols = ["mqtt", "mqttv3.1"]

interface Pending {
  readonly arrival: Arrival
  readonly origin: () => Origin
  readonly ready: (connection: WebSocketConnection) => void
}

const response = (status: number, text: string, ...headers: ReadonlyArray<string>): string =>
  [
    `HTTP/1.1 ${status} ${Http.STATUS_CODES[status]}`,
    "Connection: close",
    "Content-Type: text/plain",
    `Content-Length: ${Buffer.byteLength(text)}`,
    ...headers,
    "",
    text
  ].join("\r\n")

const offered = (header: string | undefined): ReadonlyArray<string> =>
  (header ?? "").split(",").map((name) => name.trim())

interface Refusal {
  readonly status: number
  readonly why: string
}

export class WebSocketStage {
  private readonly config: WebSocketConfig
  private readonly stages: Stages
  private readonly origins: ReadonlySet<string>
  private readonly http: Http.Server
  private readonly server: WebSocketServer
  private readonly pending = new WeakMap<Duplex, Pending>()
  private readonly connections = new Set<WebSocketConnection>()
  private pinging: NodeJS.Timeout | undefined = undefined

  constructor(config: WebSocketConfig, stages: Stages) {
    this.config = config
    this.stages = stages
    this.origins = new Set(config.origins.map((origin) => origin.toLowerCase().replace(/\/$/, "")))
    this.server = new WebSocketServer({
      ...closing,
      noServer: true,
      autoPong: false,
      clientTracking: false,
      perMessageDeflate: config.perMessageDeflate,
      skipUTF8Validation: true,
      handleProtocols: (protocols) => subprotocols.find((name) => protocols.has(name)) ?? false
    })
    // Its own timers only run when it listens: the deadline of the stage stands for all of them.
    this.http = Http.createServer({ keepAlive: false })
    this.http.on("upgrade", (request, socket, head) => this.upgrade(request, socket, head))
    this.http.on("request", (request) => this.requested(request))
    this.http.on("clientError", (_error, socket) => this.refuse(socket, { status: 400, why: "it is no HTTP request" }))
    this.server.on("wsClientError", (error, socket) => this.refuse(socket, { status: 400, why: error.message }))
  }

  begin(arrival: Arrival, origin: Pending["origin"], ready: Pending["ready"]): void {
    const { stream } = arrival
    this.pending.set(stream, { arrival, origin, ready })
    this.http.emit("connection", stream)
    stream.resume()
  }

  /** Pings from now on; returns how to stop. */
  startPings(): () => void {
    const { pingSeconds } = this.config
    if (pingSeconds === 0) return () => {}
    this.pinging = setInterval(() => {
      for (const connection of this.connections) connection.ping()
    }, pingSeconds * 1_000)
    return () => clearInterval(this.pinging)
  }

  private requested({ socket, method }: Http.IncomingMessage): void {
    this.refuse(socket, { status: 426, why: `it is a plain ${method} request` }, "Upgrade: websocket")
  }

  private faultOf({ headers, url = "/" }: Http.IncomingMessage): Refusal | undefined {
    const { path } = this.config
    const [asked] = url.split("?")
    if (path !== "" && asked !== path) return { status: 404, why: `its path is ${JSON.stringify(asked)}` }
    const origin = headers.origin
    if (origin !== undefined && this.origins.size > 0 && !this.origins.has(origin.toLowerCase())) {
      return { status: 403, why: `its origin ${JSON.stringify(origin)} is not allowed` }
    }
    // The client must offer it [MQTT-6.0.0-3], and is told what was chosen [MQTT-6.0.0-4].
    const offers = offered(headers["sec-websocket-protocol"])
    const known = subprotocols.some((name) => offers.includes(name))
    return known ? undefined : { status: 400, why: "it offers neither of the subprotocols mqtt and mqttv3.1" }
  }

  private upgrade(request: Http.IncomingMessage, socket: Duplex, head: Buffer): void {
    const pending = this.pending.get(socket)
    if (pending === undefined || !pending.arrival.isOpen) {
      socket.destroy()
      return
    }
    const fault = this.faultOf(request)
    if (fault !== undefined) {
      this.refuse(socket, fault)
      return
    }
    const { arrival, origin, ready } = pending
    // Asked each time: where it is that of the largest packet, it may have changed since the listener started.
    const { frameBytesMax } = this.config
    this.server.options.maxPayload = frameBytesMax === 0 ? FRAME_BYTES : frameBytesMax
    this.server.handleUpgrade(request, socket, head, (webSocket) => {
      // `ws` always turns it on; with TLS the raw socket does not know that, and would leave it so.
      if (!this.config.noDelay) arrival.stream.setNoDelay(false)
      // A connection is handed over paused.
      webSocket.pause()
      const connection = new WebSocketConnection(webSocket, arrival.stream, origin())
      this.connections.add(connection)
      webSocket.once("close", () => this.connections.delete(connection))
      ready(connection)
    })
  }

  private refuse(socket: Duplex, { status, why }: Refusal, ...headers: ReadonlyArray<string>): void {
    const pending = this.pending.get(socket)
    if (pending === undefined) {
      socket.destroy()
      return
    }
    const text = `This is an MQTT broker's WebSocket: the request was refused because ${why}.\n`
    const description = `WebSocket upgrade refused (${status}): ${why}`
    this.stages.fail(pending.arrival, failed(description), response(status, text, ...headers))
  }
}

export const make: (config: WebSocketConfig, stages: Stages) => Effect.Effect<WebSocketStage, never, Scope.Scope> =
  Effect.fnUntraced(function* (config, stages) {
    const stage = new WebSocketStage(config, stages)
    const stop = stage.startPings()
    yield* Effect.addFinalizer(() => Effect.sync(stop))
    return stage
  })
