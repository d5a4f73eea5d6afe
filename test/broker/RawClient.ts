/**
 * A client for tests that does only what it is told: sends the packets it is given, hands over the packets it gets.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import { Decoder } from "../../src/protocol/Decoder.ts"
import * as Encoder from "../../src/protocol/Encoder.ts"
import type { Connect, Packet, ProtocolVersion } from "../../src/protocol/Packet.ts"

export interface RawClient {
  readonly socket: Net.Socket
  readonly send: (...packets: ReadonlyArray<Packet>) => Effect.Effect<void>
  /** The next packet; fails with Done when the connection has ended. */
  readonly receive: Effect.Effect<Packet, Cause.Done>
  /** The next packet, which must have this tag. */
  readonly expect: <T extends Packet["_tag"]>(
    tag: T
  ) => Effect.Effect<Extract<Packet, { readonly _tag: T }>, Cause.Done>
  /** Waits for the end of the connection; fails when a packet comes first. */
  readonly ended: Effect.Effect<void>
}

export const connectPacket = (options: Partial<Connect> = {}): Connect => ({
  _tag: "Connect",
  protocolVersion: 5,
  clientId: "test",
  cleanStart: true,
  keepAliveSeconds: 0,
  userName: undefined,
  password: undefined,
  will: undefined,
  properties: undefined,
  ...options
})

const attach = (socket: Net.Socket, version: ProtocolVersion, queue: Queue.Queue<Packet, Cause.Done>): void => {
  const decoder = new Decoder({
    sender: "server",
    version,
    packetBytesMax: 268_435_460,
    topicLevelsMax: 1_000,
    userPropertiesMax: 1_000
  })
  socket.on("data", (bytes: Buffer) => {
    decoder.push(bytes)
    for (let packet = decoder.next(); packet !== undefined; packet = decoder.next()) Queue.offerUnsafe(queue, packet)
    if (decoder.error !== undefined) throw new Error(decoder.error.message)
  })
  socket.on("error", () => {})
  socket.on("close", () => Queue.endUnsafe(queue))
}

/** A TCP connection on which nothing has been said. */
export const open: (port: number, version?: ProtocolVersion) => Effect.Effect<RawClient, never, Scope.Scope> =
  Effect.fnUntraced(function* (port, version = 5) {
    const queue = yield* Queue.unbounded<Packet, Cause.Done>()
    const socket = yield* Effect.acquireRelease(
      Effect.sync(() => Net.connect({ port, host: "127.0.0.1", noDelay: true })),
      (socket) => Effect.sync(() => socket.destroy())
    )
    attach(socket, version, queue)
    yield* Effect.callback<void>((resume) => {
      socket.once("connect", () => resume(Effect.void))
      socket.once("close", () => resume(Effect.void))
    })
    const client: RawClient = {
      socket,
      send: (...packets) =>
        Effect.sync(() => socket.write(Buffer.concat(packets.map((packet) => Encoder.encode(packet, version))))),
      receive: Queue.take(queue),
      expect: (tag) =>
        Effect.flatMap(Queue.take(queue), (packet) =>
          packet._tag === tag
            ? Effect.succeed(packet as never) // the tag says which
            : Effect.die(new Error(`expected ${tag}, got ${JSON.stringify(packet)}`))
        ),
      ended: Queue.take(queue).pipe(
        Effect.matchCauseEffect({
          onFailure: () => Effect.void,
          onSuccess: (packet) => Effect.die(new Error(`expected the end, got ${packet._tag}`))
        })
      )
    }
    return client
  })

/** A client whose CONNECT was accepted. */
export const connect = Effect.fnUntraced(function* (port: number, options: Partial<Connect> = {}) {
  const packet = connectPacket(options)
  const client = yield* open(port, packet.protocolVersion)
  yield* client.send(packet)
  const connAck = yield* client.expect("ConnAck")
  if (connAck.reasonCode !== 0) return yield* Effect.die(new Error(`CONNECT refused: ${connAck.reasonCode}`))
  return { ...client, connAck }
})

export const subscribe = Effect.fnUntraced(function* (client: RawClient, filter: string, qos: 0 | 1 | 2 = 0) {
  const subscription = { filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const
  yield* client.send({ _tag: "Subscribe", packetId: 1, subscriptions: [subscription], properties: undefined })
  return yield* client.expect("SubAck")
})

export const publish = (
  topic: string,
  payload: string | Uint8Array,
  qos: 0 | 1 | 2 = 0,
  retain = false,
  packetId = 1
): Packet => ({
  _tag: "Publish",
  topic,
  payload: typeof payload === "string" ? Buffer.from(payload) : payload,
  qos,
  retain,
  dup: false,
  packetId: qos === 0 ? undefined : packetId,
  properties: undefined
})

/** A round trip: everything sent before has been handled when it comes back. */
export const ping = Effect.fnUntraced(function* (client: RawClient) {
  yield* client.send({ _tag: "PingReq" })
  yield* client.expect("PingResp")
})
