import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as ProxyHeader from "../../src/transport/ProxyHeader.ts"
import * as TestHandler from "./TestHandler.ts"

const signature = "0d0a0d0a000d0a515549540a"

/** A version 2 header; `rest` is its addresses and fields in hex. */
const binary = (command: number, family: number, rest: string, length = rest.length / 2): Buffer => {
  const head = Buffer.from([command, family, length >> 8, length & 0xff])
  return Buffer.concat([Buffer.from(signature, "hex"), head, Buffer.from(rest, "hex")])
}

const ipv4 = "cb007109" + "c0000201" + "d431" + "075b"
const ipv6 = "20010db8000000000000000000000001" + "20010db8000000000000000000000002" + "d431" + "075b"
const known4 = { remoteHost: "203.0.113.9", remotePort: 54_321, localHost: "192.0.2.1", localPort: 1883 }
const known6 = { remoteHost: "2001:db8::1", remotePort: 54_321, localHost: "2001:db8::2", localPort: 1883 }

describe("ProxyHeader", () => {
  const headers: ReadonlyArray<readonly [string, Buffer, ProxyHeader.Addresses | undefined]> = [
    ["1, TCP4", Buffer.from("PROXY TCP4 203.0.113.9 192.0.2.1 54321 1883\r\n"), known4],
    ["1, TCP6", Buffer.from("PROXY TCP6 2001:db8::1 2001:db8::2 54321 1883\r\n"), known6],
    ["1, UNKNOWN", Buffer.from("PROXY UNKNOWN\r\n"), undefined],
    ["1, UNKNOWN with something", Buffer.from("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"), undefined],
    ["2, IPv4", binary(0x21, 0x11, ipv4), known4],
    ["2, IPv6", binary(0x21, 0x21, ipv6), known6],
    ["2, with fields", binary(0x21, 0x11, `${ipv4}040003aabbcc010000`), known4],
    ["2, LOCAL", binary(0x20, 0x00, ""), undefined],
    ["2, LOCAL with addresses", binary(0x20, 0x11, ipv4), undefined],
    ["2, of no family", binary(0x21, 0x00, "0102"), undefined]
  ]
  for (const [what, header, addresses] of headers) {
    it(`version ${what}: read at any split, and what follows is left`, () => {
      for (let length = 0; length < header.length; length++) {
        assert.strictEqual(ProxyHeader.parse(header.subarray(0, length))._tag, "Incomplete", `${length} bytes`)
      }
      const whole = ProxyHeader.parse(Buffer.concat([header, Buffer.from("PROXY more")]))
      assert.deepStrictEqual(whole, { _tag: "Complete", addresses, bytes: header.length })
    })
  }

  const broken: ReadonlyArray<readonly [string, Buffer]> = [
    ["no header", Buffer.from([0x10, 0x0c])],
    ["another word", Buffer.from("PROXX TCP4")],
    ["an endless line", Buffer.from(`PROXY TCP4 ${"1".repeat(100)}`)],
    ["a line that ends too late", Buffer.from(`PROXY UNKNOWN ${"x".repeat(100)}\r\n`)],
    ["an address that is none", Buffer.from("PROXY TCP4 203.0.113.999 192.0.2.1 1 2\r\n")],
    ["an address of the other family", Buffer.from("PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n")],
    ["a port that is too large", Buffer.from("PROXY TCP4 203.0.113.9 192.0.2.1 65536 2\r\n")],
    ["a port with a sign", Buffer.from("PROXY TCP4 203.0.113.9 192.0.2.1 +1 2\r\n")],
    ["a missing port", Buffer.from("PROXY TCP4 203.0.113.9 192.0.2.1 1\r\n")],
    ["another transport", Buffer.from("PROXY UDP4 203.0.113.9 192.0.2.1 1 2\r\n")],
    ["two blanks", Buffer.from("PROXY TCP4  203.0.113.9 192.0.2.1 1 2\r\n")],
    ["version 3", binary(0x31, 0x11, ipv4)],
    ["an unknown command", binary(0x22, 0x11, ipv4)],
    ["datagrams", binary(0x21, 0x12, ipv4)],
    ["addresses that are cut short", binary(0x21, 0x11, ipv4.slice(2))],
    ["IPv6 in the space of IPv4", binary(0x21, 0x21, ipv4)],
    ["known failure 22: a field longer than the header", binary(0x21, 0x11, `${ipv4}04ffff00`)],
    ["half a field", binary(0x21, 0x11, `${ipv4}0400`)],
    ["a length beyond reason, before it has come", binary(0x21, 0x11, "", 0xffff)]
  ]
  for (const [what, header] of broken) {
    it(`refuses ${what}`, () => assert.strictEqual(ProxyHeader.parse(header)._tag, "Invalid"))
  }
})

describe("PROXY protocol on a listener", () => {
  const trusting = { proxyProtocolFrom: ["10.0.0.0/8", "127.0.0.1"], handshakeTimeoutSeconds: 1 }
  const line = "PROXY TCP4 203.0.113.9 192.0.2.1 54321 1883\r\n"

  it.live("the question is about who the proxy speaks for, and what follows the header is not lost", () =>
    Effect.gen(function* () {
      const asked: Array<unknown> = []
      const test = yield* TestHandler.make({
        admit: (peer, decide) => {
          asked.push(peer)
          decide(true)
          return undefined
        }
      })
      const listener = yield* TestHandler.listen(trusting, test)
      const socket = yield* TestHandler.dial(listener.localPort)
      socket.write(line.slice(0, 10))
      socket.write(`${line.slice(10)}hello`)
      const connection = yield* Queue.take(test.connections)
      assert.deepStrictEqual(asked, [{ ...known4, protocol: 0 }])
      assert.deepInclude(connection, known4)
      assert.isUndefined(connection.connectionId)
      const heard = yield* TestHandler.hear(connection)
      assert.strictEqual((yield* Queue.take(heard.bytes)).toString(), "hello")
      connection.write([Buffer.from("answer")])
      assert.strictEqual((yield* TestHandler.dataOf(socket, 6)).toString(), "answer")
      assert.strictEqual(test.underway.size, 0)
    })
  )

  it.live("a health check of the proxy keeps the proxy's own address", () =>
    Effect.gen(function* () {
      const test = yield* TestHandler.make()
      const listener = yield* TestHandler.listen(trusting, test)
      const socket = yield* TestHandler.dial(listener.localPort)
      socket.write("PROXY UNKNOWN\r\n")
      assert.strictEqual((yield* Queue.take(test.connections)).remotePort, socket.localPort)
    })
  )

  for (const [what, sent] of [
    ["a wrong header", "PROXY TCP4 nobody 192.0.2.1 1 2\r\n"],
    ["no header", "\x10\x0c"],
    ["half a header, and then nothing", "PROXY"],
    ["nothing", ""]
  ] as const) {
    it.live(`a trusted source that sends ${what} is closed, and nobody is asked`, () =>
      Effect.gen(function* () {
        const test = yield* TestHandler.make()
        const listener = yield* TestHandler.listen(trusting, test)
        const socket = yield* TestHandler.dial(listener.localPort)
        const { localPort } = socket
        socket.write(sent)
        yield* TestHandler.closed(socket)
        assert.strictEqual((yield* Queue.take(test.refusedHeaders)).remotePort, localPort)
        assert.deepStrictEqual(test.log, ["preparing"])
        assert.strictEqual(test.underway.size, 0)
      })
    )
  }

  it.live("a source that is not trusted is not believed: its header is data like any other", () =>
    Effect.gen(function* () {
      const test = yield* TestHandler.make()
      const listener = yield* TestHandler.listen({ proxyProtocolFrom: ["10.0.0.0/8"] }, test)
      const socket = yield* TestHandler.dial(listener.localPort)
      socket.write(line)
      const connection = yield* Queue.take(test.connections)
      assert.strictEqual(connection.remoteHost, "127.0.0.1")
      const heard = yield* TestHandler.hear(connection)
      assert.strictEqual((yield* Queue.take(heard.bytes)).toString(), line)
    })
  )

  it.live("a proxy that goes away in the middle leaves nothing", () =>
    Effect.gen(function* () {
      const test = yield* TestHandler.make()
      const listener = yield* TestHandler.listen(trusting, test)
      const socket = yield* TestHandler.dial(listener.localPort)
      socket.end("PROX")
      yield* Queue.take(test.refusedHeaders)
      assert.strictEqual(test.underway.size, 0)
    })
  )
})
