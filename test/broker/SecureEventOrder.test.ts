/**
 * The documented order of events over TLS and secure WebSocket, from a connection's request to its end.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Tls from "node:tls"
import { WebSocket } from "ws"
import * as Encoder from "../../src/protocol/Encoder.ts"
import * as TestCertificates from "../transport/TestCertificates.ts"
import { asking, recorded, run, type Seen, settled, tags, turn } from "./EventRecorder.ts"
import * as RawClient from "./RawClient.ts"
import { port } from "./support.ts"

describe("a connection with TLS", () => {
  const { ca, client, server } = TestCertificates.standard()
  const certificates = { sslCertStore: server.pem, sslAuthenticateClients: true, sslClientCACerts: ca.certPem }
  const listening = (protocol: 1 | 3) => (seen: Array<Seen>) => ({
    hooks: asking(seen),
    settings: { listeners: [{ protocol, port: 0, ...certificates }] }
  })
  const trusted = { ca: ca.certPem, cert: client.certPem, key: client.keyPem }
  const connect = Encoder.encode(RawClient.connectPacket({ clientId: "a", protocolVersion: 4 }), 4)
  const DISCONNECT = Buffer.from([0xe0, 0])

  /** How many there are of SSLStatus in a row is up to the transport. */
  const once = (seen: ReadonlyArray<Seen>) => tags(seen).filter((tag, index) => tag !== seen[index - 1]?._tag)

  /** Says what it has to say over TLS: CONNECT, and DISCONNECT when that is answered. */
  const overTls = (bound: number) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const socket = Tls.connect({ port: bound, host: "127.0.0.1", ...trusted })
        socket.once("data", () => socket.write(DISCONNECT))
        return socket.on("error", () => {}).on("secureConnect", () => socket.write(connect))
      }),
      (socket) => Effect.sync(() => socket.destroy())
    )

  /** The same over secure WebSocket. */
  const overWebSocket = (bound: number) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const socket = new WebSocket(`wss://127.0.0.1:${bound}`, ["mqtt"], trusted)
        socket.once("message", () => socket.send(DISCONNECT))
        return socket.on("error", () => {}).on("open", () => socket.send(connect))
      }),
      (socket) => Effect.sync(() => socket.terminate())
    )

  for (const [protocol, dial, name] of [
    [1, overTls, "TLS"],
    [3, overWebSocket, "secure WebSocket"]
  ] as const) {
    it.live(`from its request to its end, on ${name}`, () =>
      run(
        (seen) =>
          Effect.gen(function* () {
            yield* recorded(seen)
            yield* dial(yield* port)
            while (seen.at(-1)?._tag !== "Disconnected") yield* turn
            assert.deepStrictEqual(once(seen), [
              "ConnectionRequest",
              "SSLStatus",
              "SSLClientAuthentication",
              "Connected",
              "SessionRequest",
              "SessionRemoved",
              "Disconnected"
            ])
            const ofConnection = seen.filter((event) => "connectionId" in event)
            assert.deepStrictEqual([...new Set(ofConnection.map(({ connectionId }) => connectionId))], ["1"])
            assert.deepInclude(seen[0], { protocol, remoteHost: "127.0.0.1" })
            assert.deepInclude(
              seen.find(({ _tag }) => _tag === "SSLClientAuthentication"),
              {
                certSubject: "CN=client-1, O=Test, C=US",
                certIssuer: "CN=Test CA, O=Test, C=US",
                status: "OK",
                accept: true
              }
            )
          }),
        listening(protocol)
      )
    )

    it.live(`whose handshake fails, on ${name}: Connected with 276, and nothing after it`, () =>
      run(
        (seen) =>
          Effect.gen(function* () {
            yield* recorded(seen)
            const stranger = yield* RawClient.open(yield* port)
            stranger.socket.write("this is no handshake")
            yield* stranger.ended
            while (seen.at(-1)?._tag !== "Connected") yield* turn
            yield* settled
            assert.deepStrictEqual(once(seen), ["ConnectionRequest", "SSLStatus", "Connected"])
            assert.deepInclude(seen.at(-1), { connectionId: "1", statusCode: 276 })
          }),
        listening(protocol)
      )
    )
  }
})
