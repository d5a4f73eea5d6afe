/** The load generator's connections over every transport, against a server that echoes and knows only CONNECT. */
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as http from "node:http"
import * as https from "node:https"
import * as net from "node:net"
import * as tls from "node:tls"
import { createWebSocketStream, WebSocketServer } from "ws"
import { Connection, isSecure } from "../bench/connection.ts"
import type { Transport } from "../bench/scenarios.ts"
import * as Wire from "../bench/wire.ts"
import { standard } from "../transport/TestCertificates.ts"

const certificates = standard()
const tlsOptions = { cert: certificates.server.certPem, key: certificates.server.keyPem }
const servers: Array<net.Server> = []

const echo = (stream: NodeJS.ReadWriteStream): void => {
  stream.on("error", () => {})
  stream.once("data", (connect: Buffer) => {
    assert.strictEqual(connect[0]! >> 4, Wire.CONNECT)
    stream.write(Buffer.from([Wire.CONNACK << 4, 2, 0, 0]))
    stream.on("data", (bytes: Buffer) => stream.write(bytes))
  })
}

const withWebSockets = <A extends http.Server | https.Server>(server: A): A => {
  new WebSocketServer({ server }).on("connection", (webSocket) => echo(createWebSocketStream(webSocket)))
  return server
}

const listen = (transport: Transport): Promise<number> => {
  const server: net.Server = {
    tcp: () => net.createServer(echo),
    tls: () => tls.createServer(tlsOptions, echo),
    ws: () => withWebSockets(http.createServer()),
    wss: () => withWebSockets(https.createServer(tlsOptions))
  }[transport]()
  servers.push(server)
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve((server.address() as net.AddressInfo).port)) // Not a pipe.
  })
}

afterAll(() => {
  for (const server of servers) server.close()
})

/** Sends packets of many sizes, and gets them back. */
const roundTrip = async (connection: Connection): Promise<void> => {
  const sent = [0, 50, 120, 200, 20_000, 70_000, 300_000].map((size) =>
    Wire.publish(4, "bench/echo", Buffer.alloc(size, size % 251), 0, 0)
  )
  const received = await new Promise<ReadonlyArray<string>>((resolve) => {
    const packets: Array<string> = []
    connection.handler = {
      packet: (bytes, start, end) => packets.push(Buffer.from(bytes.subarray(start, end)).toString("hex")),
      flush: () => {
        if (packets.length === sent.length) resolve(packets)
      }
    }
    for (const packet of sent) connection.write(packet)
  })
  assert.deepStrictEqual(
    received,
    sent.map((packet) => packet.toString("hex"))
  )
}

describe("connections", () => {
  for (const transport of ["tcp", "tls", "ws", "wss"] as const) {
    it(`send and receive packets over ${transport}`, async () => {
      const address = { port: await listen(transport), transport, authority: certificates.ca.certPem }
      const connection = await Connection.open({ address, protocol: 4, clientId: "a" })
      assert.strictEqual(connection.agreed, isSecure(transport) ? "TLSv1.3 TLS_AES_128_GCM_SHA256 X25519" : undefined)
      await roundTrip(connection)
      connection.close()
    })
  }

  it("refuse a broker whose certificate nobody they trust has issued", async () => {
    const address = { port: await listen("tls"), transport: "tls" } as const
    const error = await Connection.open({ address, protocol: 4, clientId: "a" }).then(
      () => undefined,
      (cause: unknown) => cause
    )
    assert.match(String(error), /certificate/)
  })
})
