/**
 * The parity table of the broker manuals is complete, and what it names is there.
 */
import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as BrokerError from "../../src/broker/BrokerError.ts"
import { defaults } from "../../src/broker/BrokerConfig.ts"
import * as DocumentedSettings from "../../src/settings/DocumentedSettings.ts"
import * as ListenerDefaults from "../../src/settings/ListenerDefaults.ts"
import * as SocketErrno from "../../src/transport/SocketErrno.ts"
import * as BrokerParity from "./BrokerParity.ts"
import * as Place from "./Place.ts"

interface Surface {
  readonly properties: ReadonlyArray<string>
  readonly methods: ReadonlyArray<string>
  readonly events: Readonly<Record<string, ReadonlyArray<string>>>
  readonly types: Readonly<Record<string, ReadonlyArray<string>>>
  readonly config: ReadonlyArray<{ readonly name: string }>
  readonly config_only_in_delphi: ReadonlyArray<string>
  readonly errors: ReadonlyArray<{ readonly code: number; readonly text: string }>
  readonly errors_only_in_delphi: ReadonlyArray<{ readonly code: number }>
}

// The shape that the file beside this one is written in.
const surface = JSON.parse(readFileSync(new URL("broker-surface.json", import.meta.url), "utf8")) as Surface

/** Parameters that a program may set are marked in the data. */
const plain = (field: string): string => field.replace("=", "")

const assertSentence = (name: string, reason: string): void =>
  assert.match(reason, /^[A-Z].{20,}\.$/, `${name}: the reason is a sentence`)

/** Each name has a row, no row is of another name, and each row holds. */
const assertRows = (names: ReadonlyArray<string>, rows: Readonly<Record<string, Place.Row>>): void => {
  assert.sameMembers(Object.keys(rows), [...names])
  for (const [name, row] of Object.entries(rows)) {
    if ("reason" in row) assertSentence(name, row.reason)
    else assert.isUndefined(Place.complaint(row.at), name)
  }
}

describe("the broker's parity table", () => {
  it("has every property", () => assertRows(surface.properties, BrokerParity.properties))
  it("has every method", () => assertRows(surface.methods, BrokerParity.methods))

  it("has every event", () => {
    const places = Object.entries(BrokerParity.events).map(([name, { place }]) => [name, place] as const)
    assertRows(Object.keys(surface.events), Object.fromEntries(places))
  })
  for (const [name, fields] of Object.entries(surface.events)) {
    it(`has every field of ${name}`, () => assertRows(fields.map(plain), BrokerParity.events[name]!.fields))
  }
  for (const [name, fields] of Object.entries(surface.types)) {
    it(`has every field of ${name}`, () => assertRows(fields, BrokerParity.types[name]!))
  }
  it("has every type", () => assert.sameMembers(Object.keys(BrokerParity.types), Object.keys(surface.types)))

  it("has every configuration setting, in the table that the broker itself reads", () => {
    const documented = [...surface.config.map(({ name }) => name), ...surface.config_only_in_delphi]
    const properties = ["DefaultIdleTimeout", "SSLProvider", "LogLevel"]
    assert.sameMembers(Object.keys(DocumentedSettings.places), [...documented, ...properties])
    for (const [name, place] of Object.entries(DocumentedSettings.places)) {
      if (place.scope === "none") assertSentence(name, place.reason)
      if (place.scope === "broker") assert.isTrue(Object.hasOwn(defaults, place.key), name)
      if (place.scope === "listener") assert.include(ListenerDefaults.keys, place.key, name)
      if (place.scope === "connection") {
        assert.isUndefined(Place.complaint(`src/broker/Snapshot.ts#ConnectionSnapshot.${place.key}`), name)
      }
    }
  })

  it("has every error code, and what it names has that code", () => {
    const codes = [...surface.errors, ...surface.errors_only_in_delphi].map(({ code }) => String(code))
    assertRows(codes, BrokerParity.errors)
    for (const [code, row] of Object.entries(BrokerParity.errors)) {
      if ("at" in row) assert.isUndefined(Place.complaint(row.at, code))
    }
  })

  it("knows of every code that an error of the broker can have", () => {
    const reasons = BrokerError.BrokerErrorReason.members.flatMap((reason) => {
      // Each is a tagged error with a code, one or several.
      const { ast } = reason.fields.code as {
        readonly ast: { readonly literal?: number; readonly types?: ReadonlyArray<{ readonly literal: number }> }
      }
      return ast.literal === undefined ? (ast.types ?? []).map(({ literal }) => literal) : [ast.literal]
    })
    assert.isAbove(reasons.length, 20)
    for (const code of reasons) {
      const row = BrokerParity.errors[code]
      assert.isDefined(row, `${code} is documented`)
      assert.isTrue("at" in row, `${code} can arise, and its row says that it cannot`)
    }
    for (const [code] of Object.values(SocketErrno.table)) assert.isTrue("at" in BrokerParity.errors[code]!, `${code}`)
  })
})

describe("a row that is wrong", () => {
  it("is found: a file, a declaration or a member that is not there, a code that it does not have", () => {
    const broker = "src/broker/Broker.ts#Broker"
    assert.isUndefined(Place.complaint(`${broker}.connections`))
    for (const [place, words] of [
      ["src/broker/Nothing.ts#Broker", "no file"],
      ["src/broker/Broker.ts#Brokers", "exports no Brokers"],
      [`${broker}.conections`, "has no conections"],
      [`${broker}.onnections`, "has no onnections"],
      ["src/core/CoreEvent.ts#MessageReceived.packetId", "has no packetId"]
    ] as const) {
      assert.include(Place.complaint(place), words)
    }
    assert.isUndefined(Place.complaint("src/core/CoreEvent.ts#MessageSending.packetId"))
    assert.include(Place.complaint("src/broker/BrokerError.ts#InvalidTopic", "602"), "does not say 602")
  })

  it("is found: one too many, one too few, a reason that says nothing", () => {
    assert.throws(() => assertRows(["A", "B"], { A: Place.none("It is about windows, and Node has none.") }))
    assert.throws(() => assertRows([], { A: Place.none("It is about windows, and Node has none.") }))
    assert.throws(() => assertRows(["A"], { A: Place.none("n/a") }))
    assertRows(["A"], { A: Place.none("It is about windows, and Node has none.") })
  })
})
