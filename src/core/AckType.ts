/**
 * The packet types that acknowledge, as they stand in the fixed header [MQTT-2.1.2].
 */
export const PUBACK = 4
export const PUBREC = 5
export const PUBREL = 6
export const PUBCOMP = 7

export type AckType = typeof PUBACK | typeof PUBREC | typeof PUBREL | typeof PUBCOMP

export const tags = { 4: "PubAck", 5: "PubRec", 6: "PubRel", 7: "PubComp" } as const
