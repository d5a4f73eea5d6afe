/**
 * CONNECT to CONNACK as a client sees it, in the three versions: who is let in, as whom, and what it is told.
 */
import { assert, describe, it } from "@effect/vitest"
import type { Packet, Will } from "../../src/protocol/Packet.ts"
import { CoreHarness } from "./CoreHarness.ts"
import { hex, only, present, ready, subscriber, versions } from "./support/Clients.ts"

const will: Will = { topic: "will", payload: new Uint8Array([1]), qos: 0, retain: false, properties: undefined }
const publication: Packet = {
  _tag: "Publish",
  topic: "t",
  payload: new Uint8Array(0),
  qos: 0,
  retain: false,
  dup: false,
  packetId: undefined,
  properties: undefined
}

describe("CONNECT", () => {
  for (const version of versions) {
    it(`lets a client of version ${version} in`, () => {
      const h = new CoreHarness()
      const client = h.connect("a", { version })
      const connAck = only(client, "ConnAck")
      assert.strictEqual(connAck.reasonCode, 0)
      assert.isFalse(connAck.sessionPresent)
      assert.strictEqual(client.connection.version, version)
      client.ping()
      only(client, "PingResp")
      assert.isFalse(client.closed)
    })

    it(`takes any chunking in version ${version}, and packets that do not wait for CONNACK [MQTT-3.1.4-5]`, () => {
      const h = new CoreHarness()
      const name = version === 3 ? "00 06 4d 51 49 73 64 70" : "00 04 4d 51 54 54"
      const properties = version === 5 ? "00" : ""
      const body = `${name} 0${version} 02 00 00 ${properties} 00 01 61`.trim().split(/\s+/)
      const subscribe = version === 5 ? "82 07 00 01 00 00 01 74 00" : "82 06 00 01 00 01 74 00"
      const publish = version === 5 ? "30 05 00 01 74 00 78" : "30 04 00 01 74 78"
      const bytes = hex(`10 ${body.length.toString(16)} ${body.join(" ")} ${subscribe} ${publish}`)
      const whole = h.open(version)
      whole.sendBytes(bytes.slice())
      const expected = ["ConnAck 0", "SubAck 1 [0]", 'Publish t "x" q0']
      assert.deepStrictEqual(whole.takeWords(), expected)
      const dribble = new CoreHarness().open(version)
      for (const byte of bytes) dribble.sendBytes(new Uint8Array([byte]))
      assert.deepStrictEqual(dribble.takeWords(), expected)
    })
  }

  it("knows only the names and levels of 3.1, 3.1.1 and 5.0, and says so [MQTT-3.1.2-1, MQTT-3.1.2-2]", () => {
    const h = new CoreHarness()
    for (const start of [
      "00 04 4d 51 54 54 03", // MQTT 3
      "00 04 4d 51 54 54 06",
      "00 04 4d 51 54 54 00",
      "00 04 4d 51 54 54 84", // a bridge's level, which is private to one broker
      "00 06 4d 51 49 73 64 70 04", // MQIsdp 4
      "00 06 4d 51 49 73 64 70 05",
      "00 04 6d 71 74 74 04" // mqtt
    ]) {
      const client = h.open(4)
      const body = `${start} 02 00 00 00 01 61`.split(" ")
      client.sendBytes(hex(`10 ${body.length.toString(16).padStart(2, "0")} ${body.join(" ")}`))
      const connAck = only(client, "ConnAck")
      assert.strictEqual(connAck.reasonCode, 0x84, start) // return code 1
      assert.isTrue(client.closed, start)
    }
    assert.strictEqual(h.core.sessions.size, 0)
    assert.strictEqual(h.core.connections.size, 0)
  })

  it("wants CONNECT first, and does not even answer anything else [MQTT-3.1.0-1] (known failures 2, 9)", () => {
    const h = new CoreHarness()
    const firsts: ReadonlyArray<Packet> = [
      publication,
      { _tag: "PingReq" },
      { _tag: "Disconnect", reasonCode: 0, properties: undefined },
      { _tag: "PubAck", packetId: 1, reasonCode: 0, properties: undefined },
      { _tag: "PubRel", packetId: 1, reasonCode: 0, properties: undefined },
      { _tag: "ConnAck", sessionPresent: false, reasonCode: 0, properties: undefined },
      { _tag: "SubAck", packetId: 1, reasonCodes: [0], properties: undefined },
      { _tag: "Unsubscribe", packetId: 1, filters: ["a"], properties: undefined },
      { _tag: "Auth", reasonCode: 0x18, properties: { authenticationMethod: "m" } }
    ]
    for (const version of versions) {
      for (const packet of firsts) {
        const client = h.open(version)
        client.send(packet)
        assert.deepStrictEqual(client.take(), [], packet._tag)
        assert.isTrue(client.closed, packet._tag)
      }
    }
    assert.strictEqual(h.core.connections.size, 0)
  })

  it("is sent once [MQTT-3.1.0-2]", () => {
    for (const version of versions) {
      const h = new CoreHarness()
      const watcher = subscriber(h, "watcher", {}, "will")
      const client = ready(h, "a", { version, will })
      client.connect("a")
      assert.deepStrictEqual(client.takeWords(), version === 5 ? ["Disconnect 0x82"] : [])
      assert.isTrue(client.closed)
      assert.isUndefined(h.session("a"))
      assert.strictEqual(watcher.takePayloads().length, 1)
    }
  })

  it("does not take from a client what only a server sends (known failure 9)", () => {
    const serverOnly: ReadonlyArray<Packet> = [
      { _tag: "ConnAck", sessionPresent: false, reasonCode: 0, properties: undefined },
      { _tag: "SubAck", packetId: 1, reasonCodes: [0], properties: undefined },
      { _tag: "UnsubAck", packetId: 1, reasonCodes: [0], properties: undefined },
      { _tag: "PingResp" }
    ]
    for (const version of versions) {
      for (const packet of serverOnly) {
        const h = new CoreHarness()
        const other = ready(h, "other")
        const client = ready(h, "a", { version })
        client.send(packet)
        assert.deepStrictEqual(client.takeWords(), version === 5 ? ["Disconnect 0x82"] : [], packet._tag)
        assert.isTrue(client.closed)
        other.ping()
        only(other, "PingResp")
      }
    }
  })

  it("has no enhanced authentication: a method is refused, AUTH without one is a fault [MQTT-4.12.0-7]", () => {
    const h = new CoreHarness()
    const withMethod = h.connect("a", { version: 5, properties: { authenticationMethod: "SCRAM" } })
    assert.strictEqual(only(withMethod, "ConnAck").reasonCode, 0x8c)
    assert.isTrue(withMethod.closed)
    const client = ready(h, "b", { version: 5 })
    client.send({ _tag: "Auth", reasonCode: 0x19, properties: { authenticationMethod: "SCRAM" } })
    assert.deepStrictEqual(client.takeWords(), ["Disconnect 0x82"])
  })

  it("is refused in words each version has, and Session Present is 0 then [MQTT-3.2.2-6]", () => {
    for (const [version, code] of [
      [3, 0x88], // return code 3
      [4, 0x88],
      [5, 0x97]
    ] as const) {
      const h = new CoreHarness({ config: { sessionsMax: 1 } })
      ready(h, "a", { version: 4, clean: false })
      const refused = h.connect("b", { version, clean: false })
      const connAck = only(refused, "ConnAck")
      assert.strictEqual(connAck.reasonCode, code)
      assert.isFalse(connAck.sessionPresent)
      assert.isTrue(refused.closed)
      assert.deepStrictEqual([...h.core.sessions.keys()], ["a"])
    }
  })

  it("leaves the reason out of a refusal that would be too large for the client [MQTT-3.2.2-19]", () => {
    for (const [maximumPacketSize, heard] of [
      [5, undefined],
      [100, "go away"]
    ] as const) {
      const h = new CoreHarness()
      h.install("sessionRequest")
      const client = h.connect("a", { version: 5, properties: { maximumPacketSize } })
      h.answer({ reasonCode: 0x8a, reasonString: "go away" })
      const connAck = only(client, "ConnAck")
      assert.strictEqual(connAck.reasonCode, 0x8a)
      assert.strictEqual(connAck.properties?.reasonString, heard)
    }
  })
})

describe("client identifiers", () => {
  it("have 1 to 23 characters in 3.1", () => {
    const h = new CoreHarness()
    for (const id of ["a", "x".repeat(23)]) ready(h, id, { version: 3 })
    for (const id of ["", "x".repeat(24)]) {
      const client = h.connect(id, { version: 3 })
      assert.strictEqual(only(client, "ConnAck").reasonCode, 0x85) // return code 2
      assert.isTrue(client.closed)
    }
    assert.strictEqual(h.core.sessions.size, 2)
  })

  it("may be long, odd and non-ASCII from 3.1.1 on", () => {
    const h = new CoreHarness()
    for (const version of [4, 5] as const) {
      for (const id of ["x".repeat(24), "x".repeat(1_000), "ü/漢字/😀", "__proto__", "constructor"]) {
        ready(h, id, { version })
        assert.strictEqual(h.session(id)?.clientId, id)
      }
    }
  })

  it("may be empty in 3.1.1 only with a clean session [MQTT-3.1.3-7, MQTT-3.1.3-8]", () => {
    const h = new CoreHarness()
    ready(h, "", { version: 4, clean: true })
    ready(h, "", { version: 4, clean: true })
    assert.strictEqual(h.core.sessions.size, 2)
    assert.isFalse(h.core.sessions.has(""))
    const refused = h.connect("", { version: 4, clean: false })
    assert.strictEqual(only(refused, "ConnAck").reasonCode, 0x85)
    assert.isTrue(refused.closed)
    assert.strictEqual(h.core.sessions.size, 2)
  })

  it("are assigned in 5.0 when empty, told, unique, and good for coming back [MQTT-3.1.3-7, MQTT-3.2.2-16]", () => {
    const h = new CoreHarness()
    const ids = [true, false, true].map((clean) => {
      const client = h.connect("", { version: 5, clean, expiry: 60 })
      return only(client, "ConnAck").properties?.assignedClientIdentifier ?? ""
    })
    assert.strictEqual(new Set(ids).size, 3)
    assert.isTrue(ids.every((id) => id.length > 0))
    h.clients[0]!.drop()
    const again = only(h.connect(ids[0]!, { version: 5, clean: false }), "ConnAck")
    assert.isTrue(again.sessionPresent)
    assert.isUndefined(again.properties?.assignedClientIdentifier)
  })
})

describe("CONNACK of 5.0", () => {
  it("tells the limits of this broker and nothing that is as a client must assume", () => {
    const h = new CoreHarness()
    const connAck = only(h.connect("a", { version: 5, keepAliveSeconds: 60, expiry: 10 }), "ConnAck")
    assert.deepStrictEqual(present(connAck.properties), {
      receiveMaximum: 1_000,
      topicAliasMaximum: 64,
      maximumPacketSize: 2 * 1024 * 1024
    })
  })

  it("tells what was granted instead of what was asked for", () => {
    const config = {
      sessionExpirySecondsMax: 100,
      keepAliveSecondsMax: 30,
      receiveMaximum: 7,
      topicAliasMaximum: 0,
      packetBytesMax: 5_000
    }
    const h = new CoreHarness({ config })
    const told = (expiry: number | undefined, keepAliveSeconds: number) =>
      present(only(h.connect("a", { version: 5, keepAliveSeconds, expiry }), "ConnAck").properties)
    const always = { receiveMaximum: 7, maximumPacketSize: 5_000 }
    assert.deepStrictEqual(told(101, 31), { ...always, sessionExpiryInterval: 100, serverKeepAlive: 30 })
    assert.deepStrictEqual(told(0xffff_ffff, 0), { ...always, sessionExpiryInterval: 100, serverKeepAlive: 30 })
    assert.deepStrictEqual(told(100, 30), always)
    assert.deepStrictEqual(told(undefined, 1), always)
  })
})

describe("keep alive", () => {
  for (const version of versions) {
    for (const seconds of [1, 2, 60, 65_535]) {
      it(`of ${seconds} s ends a silent client of version ${version} after 1.5 times that [MQTT-3.1.2-22]`, () => {
        const h = new CoreHarness()
        const watcher = subscriber(h, "watcher", {}, "will")
        const client = ready(h, "a", { version, keepAliveSeconds: seconds, will })
        h.advance(seconds * 1_500 - 1)
        assert.isFalse(client.closed)
        h.advance(101)
        assert.isTrue(client.closed)
        assert.deepStrictEqual(client.takeWords(), version === 5 ? ["Disconnect 0x8d"] : [])
        assert.strictEqual(watcher.takePayloads().length, 1)
      })
    }
  }

  it("starts again with every packet, whatever it is", () => {
    const h = new CoreHarness()
    const client = ready(h, "a", { keepAliveSeconds: 10 })
    const sends: ReadonlyArray<() => void> = [
      () => client.ping(),
      () => void client.publish("t", "x"),
      () => void client.subscribe("t"),
      () => client.pubAck(9)
    ]
    for (const send of sends) {
      h.advance(14_000)
      send()
    }
    h.advance(14_000)
    assert.isFalse(client.closed)
    h.advance(1_100)
    assert.isTrue(client.closed)
  })

  it("of 0 never ends anybody", () => {
    const h = new CoreHarness()
    const client = ready(h, "a", { keepAliveSeconds: 0 })
    h.advance(30 * 86_400_000)
    assert.isFalse(client.closed)
  })

  it("has a longest value: 5.0 is told and held to it, older clients are refused (known failure 24)", () => {
    const h = new CoreHarness({ config: { keepAliveSecondsMax: 60 } })
    for (const asked of [0, 61, 65_535]) {
      const five = h.connect("five", { version: 5, keepAliveSeconds: asked })
      assert.strictEqual(only(five, "ConnAck").properties?.serverKeepAlive, 60) // [MQTT-3.1.2-21]
      h.advance(90_000 - 1)
      assert.isFalse(five.closed)
      h.advance(101)
      assert.isTrue(five.closed)
      const four = h.connect("four", { version: 4, keepAliveSeconds: asked })
      assert.strictEqual(only(four, "ConnAck").reasonCode, 0x85)
      assert.isTrue(four.closed)
    }
    ready(h, "four", { version: 4, keepAliveSeconds: 60 })
  })
})

describe("the connect timeout (known failure 24)", () => {
  it("ends whoever does not finish a CONNECT, without a word", () => {
    const h = new CoreHarness({ config: { connectTimeoutSeconds: 10 } })
    const silent = h.open()
    const slow = h.open()
    slow.sendBytes(hex("10 0d 00"))
    h.advance(9_999)
    slow.sendBytes(hex("04"))
    assert.isFalse(silent.closed || slow.closed)
    h.advance(101)
    assert.isTrue(silent.closed && slow.closed)
    assert.strictEqual(silent.receivedBytes + slow.receivedBytes, 0)
    assert.strictEqual(h.core.connections.size, 0)
  })

  it("is over with CONNECT", () => {
    const h = new CoreHarness()
    const client = ready(h, "a")
    h.advance(60_000)
    assert.isFalse(client.closed)
  })
})

describe("shutdown", () => {
  it("tells 5.0 clients, closes all, and lets nobody in any more", () => {
    const h = new CoreHarness()
    const clients = versions.map((version) => ready(h, `c${version}`, { version }))
    const waiting = h.open()
    h.core.shutdown(h.now)
    h.settle()
    assert.deepStrictEqual(
      clients.map((client) => client.takeWords()),
      [[], [], ["Disconnect 0x8b"]]
    )
    assert.isTrue([...clients, waiting].every(({ closed }) => closed))
    for (const version of versions) {
      const late = h.connect("late", { version })
      assert.strictEqual(only(late, "ConnAck").reasonCode, 0x88)
      assert.isTrue(late.closed)
    }
    assert.strictEqual(h.core.sessions.size, 0)
  })
})
