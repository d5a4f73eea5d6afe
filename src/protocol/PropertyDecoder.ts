/**
 * The property list of a 5.0 packet, from bytes to an object, driven by `PropertyTable`.
 *
 * It checks what a list can be checked for on its own: which packet may carry what, duplicates, ranges and limits.
 * Every object of a carrier has all of the carrier's keys, absent ones `undefined`, so that they share one shape.
 */
import { malformed, ProtocolError, violation } from "./ProtocolError.ts"
import * as Property from "./PropertyTable.ts"
import type { Reader } from "./Reader.ts"

interface Plan {
  readonly carrier: Property.Carrier
  readonly bit: number
  /** Every key of the carrier, all `undefined`. */
  readonly empty: Readonly<Bag>
}

/** A properties object under construction; the two lists are filled in place, so that long ones stay linear. */
interface Bag {
  [name: string]: unknown
  subscriptionIdentifiers?: Array<number> | undefined
  userProperties?: Array<readonly [string, string]> | undefined
}

const planOf = (carrier: Property.Carrier): Plan => ({
  carrier,
  bit: Property.carrierBit(carrier),
  empty: Object.fromEntries(Property.definitionsOf(carrier).map((definition) => [definition.name, undefined]))
})

const plans: { readonly [C in Property.Carrier]: Plan } = {
  Connect: planOf("Connect"),
  Will: planOf("Will"),
  ConnAck: planOf("ConnAck"),
  Publish: planOf("Publish"),
  PubAck: planOf("PubAck"),
  PubRec: planOf("PubRec"),
  PubRel: planOf("PubRel"),
  PubComp: planOf("PubComp"),
  Subscribe: planOf("Subscribe"),
  SubAck: planOf("SubAck"),
  Unsubscribe: planOf("Unsubscribe"),
  UnsubAck: planOf("UnsubAck"),
  Disconnect: planOf("Disconnect"),
  Auth: planOf("Auth")
}

/**
 * Reads a property length and the properties behind it; `undefined` when there are none, or when `reader.error` is set.
 *
 * @param userPropertiesMax more user properties than this are refused with 0x97
 */
export const decode = <C extends Property.Carrier>(
  reader: Reader,
  carrier: C,
  userPropertiesMax: number
): Property.Of<C> | undefined => {
  const length = reader.varint()
  if (length === 0) return undefined
  const packetEnd = reader.end
  const end = reader.at + length
  if (end > packetEnd) {
    reader.fail(malformed("The property length is longer than the packet."))
    return undefined
  }
  const plan = plans[carrier]
  const bag: Bag = { ...plan.empty }
  let seen = 0
  reader.end = end
  while (reader.at < end) {
    const id = reader.uint8()
    const definition = Property.definitionById[id]
    if (definition === undefined || (definition.carriers & plan.bit) === 0) {
      reader.fail(malformed(`The property 0x${id.toString(16)} is not one that ${carrier} can carry [MQTT-2.2.2].`))
      break
    }
    if ((seen & definition.bit) !== 0 && (definition.repeatable & plan.bit) === 0) {
      reader.fail(violation(`The property ${definition.name} appears more than once.`))
      break
    }
    seen |= definition.bit
    readValue(reader, definition, bag, userPropertiesMax)
  }
  reader.end = packetEnd
  // Only names that the plan's carrier may carry were stored.
  return reader.error === undefined ? (bag as Property.Of<C>) : undefined
}

const readValue = (reader: Reader, definition: Property.Definition, bag: Bag, userPropertiesMax: number): void => {
  const name: string = definition.name
  switch (definition.wire) {
    case "bit":
      bag[name] = flag(reader, definition)
      return
    case "boolean":
      bag[name] = flag(reader, definition) === 1
      return
    case "uint16":
      bag[name] = inRange(reader, definition, reader.uint16())
      return
    case "uint32":
      bag[name] = inRange(reader, definition, reader.uint32())
      return
    case "varint":
      bag.subscriptionIdentifiers ??= []
      bag.subscriptionIdentifiers.push(inRange(reader, definition, reader.varint()))
      return
    case "text":
      bag[name] = definition.id === Property.table.responseTopic.id ? responseTopic(reader) : reader.text()
      return
    case "binary":
      bag[name] = reader.binary()
      return
    case "pair":
      bag.userProperties ??= []
      if (bag.userProperties.length === userPropertiesMax) {
        reader.fail(new ProtocolError(0x97, `The packet has more than ${userPropertiesMax} user properties.`))
      } else bag.userProperties.push([reader.text(), reader.text()])
      return
  }
}

const flag = (reader: Reader, definition: Property.Definition): 0 | 1 => {
  const value = reader.uint8()
  if (value === 0 || value === 1) return value
  reader.fail(violation(`The property ${definition.name} is 0 or 1.`))
  return 0
}

const inRange = (reader: Reader, definition: Property.Definition, value: number): number => {
  if (value < definition.minimum) {
    reader.fail(
      definition.id === Property.table.topicAlias.id
        ? new ProtocolError(0x94, "A topic alias is not 0 [MQTT-3.3.2-8].")
        : violation(`The property ${definition.name} is not 0.`)
    )
  }
  return value
}

const responseTopic = (reader: Reader): string => {
  const topic = reader.text()
  if (topic === "" || topic.includes("+") || topic.includes("#")) {
    reader.fail(violation("A response topic is a topic name without wildcards [MQTT-3.3.2-14]."))
  }
  return topic
}
