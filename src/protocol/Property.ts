/**
 * The 27 properties of MQTT 5.0: the table (`PropertyTable`), and the Schema of every packet's properties from it.
 *
 * The ranges of the fields that packets are made of are here too.
 */
import * as Schema from "effect/Schema"
import * as PropertyTable from "./PropertyTable.ts"
import * as Utf8 from "./Utf8.ts"
import * as Varint from "./Varint.ts"

export * from "./PropertyTable.ts"

/** The largest variable byte integer, four bytes long. */
export const varintMax = Varint.max

/** A string that can travel: well-formed Unicode, without NUL, at most 65,535 bytes of UTF-8. */
export const Text = Schema.String.check(
  Schema.makeFilter((text: string) => Utf8.isEncodable(text), {
    expected: "well-formed text without NUL, of at most 65,535 bytes"
  })
)

/** Bytes that can travel behind a two-byte length. */
export const Binary = Schema.Uint8Array.check(
  Schema.makeFilter((bytes) => bytes.length <= 0xffff, { expected: "at most 65,535 bytes" })
)

/** A whole number of a range, both ends included. */
export const integer = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

const valueSchemas: {
  readonly [W in PropertyTable.Wire]: (minimum: number) => Schema.Codec<PropertyTable.WireTypes[W]>
} = {
  bit: () => Schema.Literals([0, 1]),
  boolean: () => Schema.Boolean,
  uint16: (minimum) => integer(minimum, 0xffff),
  uint32: (minimum) => integer(minimum, 0xffff_ffff),
  varint: (minimum) => Schema.Array(integer(minimum, Varint.max)),
  text: () => Text,
  binary: () => Binary,
  pair: () => Schema.Array(Schema.Tuple([Text, Text]))
}

type FieldsOf<C extends PropertyTable.Carrier> = {
  readonly [N in PropertyTable.NameOf<C>]: Schema.optional<Schema.Codec<PropertyTable.Value<N>>>
}

/** The Schema of a carrier's properties. */
export const schemaOf = <C extends PropertyTable.Carrier>(carrier: C): Schema.Struct<FieldsOf<C>> => {
  const fields = PropertyTable.definitionsOf(carrier).map(({ minimum, name, wire }) => [
    name,
    // The cast: the eight value types as their union.
    Schema.optional(valueSchemas[wire](minimum) as Schema.Codec<PropertyTable.Value<PropertyTable.Name>>)
  ])
  // Built from the same table that FieldsOf is computed from, which the compiler cannot follow through entries.
  return Schema.Struct(Object.fromEntries(fields) as FieldsOf<C>)
}
