/**
 * The property list of a 5.0 packet, from an object to bytes, driven by `PropertyTable`.
 *
 * Properties that the carrier cannot carry are left out; the two lists come last, the others in the order of their ids.
 */
import * as Field from "./Field.ts"
import * as Property from "./PropertyTable.ts"
import * as Utf8 from "./Utf8.ts"
import * as Varint from "./Varint.ts"

/** What a carrier can carry, taken apart once. */
interface Plan {
  readonly single: ReadonlyArray<Property.Definition>
  readonly subscriptionIdentifiers: boolean
}

const lists: ReadonlyArray<Property.Name> = ["subscriptionIdentifiers", "userProperties"]

const plans = new Map<Property.Carrier, Plan>(
  Property.carriers.map((carrier) => {
    const definitions = Property.definitionsOf(carrier)
    const single = definitions.filter((definition) => !lists.includes(definition.name))
    return [carrier, { single, subscriptionIdentifiers: single.length + 2 === definitions.length }]
  })
)

const identifierId = Property.table.subscriptionIdentifiers.id
const userPropertyId = Property.table.userProperties.id

/** Bytes of the properties without the property length in front; 0 when there are none. */
export const contentLength = (properties: Property.Properties | undefined, carrier: Property.Carrier): number => {
  if (properties === undefined) return 0
  const plan = plans.get(carrier)!
  let bytes = 0
  for (const definition of plan.single) {
    const value = properties[definition.name]
    if (value === undefined) continue
    if (typeof value === "string") bytes += 3 + Utf8.byteLength(value)
    else if (value instanceof Uint8Array) bytes += 3 + value.length
    else bytes += 1 + numberBytes(definition.wire)
  }
  if (plan.subscriptionIdentifiers && properties.subscriptionIdentifiers !== undefined) {
    for (const identifier of properties.subscriptionIdentifiers) bytes += 1 + Varint.byteLength(identifier)
  }
  if (properties.userProperties !== undefined) {
    for (const [name, value] of properties.userProperties) bytes += 5 + Utf8.byteLength(name) + Utf8.byteLength(value)
  }
  return bytes
}

/** Bytes of the properties with the property length in front. */
export const byteLength = (properties: Property.Properties | undefined, carrier: Property.Carrier): number => {
  const content = contentLength(properties, carrier)
  return Varint.byteLength(content) + content
}

/** Writes the property length and the properties, and returns where they end. */
export const write = (
  properties: Property.Properties | undefined,
  carrier: Property.Carrier,
  target: Uint8Array,
  start: number
): number => {
  if (properties === undefined) {
    target[start] = 0
    return start + 1
  }
  const plan = plans.get(carrier)!
  let at = start + 1
  for (const definition of plan.single) {
    const value = properties[definition.name]
    if (value === undefined) continue
    target[at++] = definition.id
    if (typeof value === "string") at = Field.writeText(value, target, at)
    else if (value instanceof Uint8Array) at = Field.writeBinary(value, target, at)
    else at = Field.writeNumber(Number(value), numberBytes(definition.wire), target, at)
  }
  if (plan.subscriptionIdentifiers && properties.subscriptionIdentifiers !== undefined) {
    for (const identifier of properties.subscriptionIdentifiers) {
      target[at++] = identifierId
      at = Varint.write(identifier, target, at)
    }
  }
  if (properties.userProperties !== undefined) {
    for (const [name, value] of properties.userProperties) {
      target[at++] = userPropertyId
      at = Field.writeText(value, target, Field.writeText(name, target, at))
    }
  }
  return Field.insertLength(target, start, at)
}

const numberBytes = (wire: Property.Wire): 1 | 2 | 4 => (wire === "uint32" ? 4 : wire === "uint16" ? 2 : 1)
