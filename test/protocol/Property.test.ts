import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as Property from "../../src/protocol/Property.ts"
import { decodeAll, decoderFor } from "../fixtures/decoding.ts"
import { bytes, hex } from "../fixtures/wire.ts"

/** A valid value of every property, as it travels. */
const samples: Readonly<Record<Property.Name, string>> = {
  payloadFormatIndicator: "01 01",
  messageExpiryInterval: "02 00000001",
  contentType: "03 'x'",
  responseTopic: "08 'x'",
  correlationData: "09 'x'",
  subscriptionIdentifiers: "0b 01",
  sessionExpiryInterval: "11 00000001",
  assignedClientIdentifier: "12 'x'",
  serverKeepAlive: "13 0001",
  authenticationMethod: "15 'x'",
  authenticationData: "16 'x'",
  requestProblemInformation: "17 01",
  willDelayInterval: "18 00000001",
  requestResponseInformation: "19 01",
  responseInformation: "1a 'x'",
  serverReference: "1c 'x'",
  reasonString: "1f 'x'",
  receiveMaximum: "21 0001",
  topicAliasMaximum: "22 0001",
  topicAlias: "23 0001",
  maximumQoS: "24 01",
  retainAvailable: "25 01",
  userProperties: "26 'x' 'y'",
  maximumPacketSize: "27 00000001",
  wildcardSubscriptionAvailable: "28 01",
  subscriptionIdentifiersAvailable: "29 01",
  sharedSubscriptionAvailable: "2a 01"
}

/** A packet of every carrier around a property list; AUTH and authentication data bring the method they need. */
const frames: Readonly<Record<Property.Carrier, (properties: string) => string>> = {
  Connect: (properties) => `10[ 'MQTT' 05 02 003c [ ${properties} ] 'c' ]`,
  Will: (properties) => `10[ 'MQTT' 05 06 003c 00 'c' [ ${properties} ] 'w' '' ]`,
  ConnAck: (properties) => `20[ 00 00 [ ${properties} ] ]`,
  Publish: (properties) => `30[ 't' [ ${properties} ] ]`,
  PubAck: (properties) => `40[ 0001 00 [ ${properties} ] ]`,
  PubRec: (properties) => `50[ 0001 00 [ ${properties} ] ]`,
  PubRel: (properties) => `62[ 0001 00 [ ${properties} ] ]`,
  PubComp: (properties) => `70[ 0001 00 [ ${properties} ] ]`,
  Subscribe: (properties) => `82[ 0001 [ ${properties} ] 'f' 00 ]`,
  SubAck: (properties) => `90[ 0001 [ ${properties} ] 00 ]`,
  Unsubscribe: (properties) => `a2[ 0001 [ ${properties} ] 'f' ]`,
  UnsubAck: (properties) => `b0[ 0001 [ ${properties} ] 00 ]`,
  Disconnect: (properties) => `e0[ 00 [ ${properties} ] ]`,
  Auth: (properties) => `f0[ 18 [ ${properties} ] ]`
}

const clientSends: ReadonlyArray<Property.Carrier> = ["Connect", "Will", "Subscribe", "Unsubscribe", "Disconnect"]

const names = Object.keys(samples) as ReadonlyArray<Property.Name> // a record over the names

const withMethod = (carrier: Property.Carrier, name: Property.Name): string =>
  name === "authenticationData" || (carrier === "Auth" && name !== "authenticationMethod") ? "15 'm'" : ""

const errorOf = (carrier: Property.Carrier, properties: string) => {
  const sender = clientSends.includes(carrier) ? "client" : "server"
  const version = carrier === "Connect" || carrier === "Will" ? undefined : 5
  return decodeAll(decoderFor(sender, version), [bytes(frames[carrier](properties))]).error
}

/** From the table of the standard (2.2.2.2), written down a second time: id, and who carries it. */
const carriersById: Readonly<Record<number, string>> = {
  1: "Publish Will",
  2: "Publish Will",
  3: "Publish Will",
  8: "Publish Will",
  9: "Publish Will",
  11: "Publish Subscribe",
  17: "Connect ConnAck Disconnect",
  18: "ConnAck",
  19: "ConnAck",
  21: "Connect ConnAck Auth",
  22: "Connect ConnAck Auth",
  23: "Connect",
  24: "Will",
  25: "Connect",
  26: "ConnAck",
  28: "ConnAck Disconnect",
  31: "ConnAck PubAck PubRec PubRel PubComp SubAck UnsubAck Disconnect Auth",
  33: "Connect ConnAck",
  34: "Connect ConnAck",
  35: "Publish",
  36: "ConnAck",
  37: "ConnAck",
  38: Property.carriers.join(" "),
  39: "Connect ConnAck",
  40: "ConnAck",
  41: "ConnAck",
  42: "ConnAck"
}

describe("Property", () => {
  it("is the table of the standard", () => {
    assert.lengthOf(Property.definitions, 27)
    const own = Property.definitions.map(({ id, name }) => [id, [...Property.table[name].carriers].sort().join(" ")])
    const expected = Object.entries(carriersById).map(([id, text]) => [Number(id), text.split(" ").sort().join(" ")])
    assert.deepStrictEqual(own, expected)
  })

  it("has ids in ascending order, each found by its id", () => {
    const ids = Property.definitions.map(({ id }) => id)
    assert.deepStrictEqual(
      ids,
      [...ids].sort((a, b) => a - b)
    )
    for (const definition of Property.definitions) {
      assert.strictEqual(Property.definitionById[definition.id], definition)
    }
  })

  for (const carrier of Property.carriers) {
    it(`lets ${carrier} carry exactly what the table says, once unless it may repeat`, () => {
      for (const name of names) {
        const row: { readonly carriers: ReadonlyArray<string>; readonly repeatable: ReadonlyArray<string> } =
          Property.table[name]
        const before = withMethod(carrier, name)
        const allowed = row.carriers.includes(carrier)
        const single = errorOf(carrier, `${before} ${samples[name]}`)
        if (!allowed) assert.strictEqual(single?.reasonCode, 0x81, name)
        else {
          assert.isUndefined(single, name)
          const twice = errorOf(carrier, `${before} ${samples[name]} ${samples[name]}`)
          assert.strictEqual(twice?.reasonCode, row.repeatable.includes(carrier) ? undefined : 0x82, name)
        }
      }
    })
  }

  it("cut off anywhere is malformed", () => {
    for (const name of names) {
      const carrier = Property.table[name].carriers[0]
      const sample = bytes(`${withMethod(carrier, name)} ${samples[name]}`)
      for (let end = 1; end < sample.length; end++) {
        const error = errorOf(carrier, hex(sample.slice(0, end)))
        // Cut between the method and the data it was brought for, nothing is missing.
        if (hex(sample.slice(0, end)) === hex(bytes("15 'm'"))) assert.isUndefined(error)
        else assert.strictEqual(error?.reasonCode, 0x81, `${name}, ${end} bytes`)
      }
    }
  })

  it("decodes to an object with all keys of the carrier, so that shapes do not differ", () => {
    const decoder = decoderFor("client", 5)
    decoder.push(bytes("30[ 't' [ 23 0001 ] ] 30[ 't' [ 03 'x' ] ]"))
    const keys = [decoder.next(), decoder.next()].map((packet) =>
      packet?._tag === "Publish" ? Object.keys(packet.properties ?? {}) : []
    )
    assert.deepStrictEqual(
      keys[0],
      Property.definitionsOf("Publish").map(({ name }) => name)
    )
    assert.deepStrictEqual(keys[1], keys[0])
  })

  it("has a Schema per carrier with the ranges of the wire", () => {
    const isConnect = Schema.is(Property.schemaOf("Connect"))
    assert.isTrue(isConnect({ receiveMaximum: 65_535, sessionExpiryInterval: 0xffff_ffff }))
    for (const wrong of [{ receiveMaximum: 0 }, { receiveMaximum: 65_536 }, { sessionExpiryInterval: -1 }]) {
      assert.isFalse(isConnect(wrong))
    }
    assert.isFalse(Schema.is(Property.schemaOf("Publish"))({ contentType: "\ud800" }))
  })
})
