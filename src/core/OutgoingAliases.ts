/**
 * Topic aliases towards one client [MQTT-3.3.2-10 and following]: given to topics from their first message on, until
 * the client's maximum is reached.
 *
 * Owns the numbers. How an aliased PUBLISH looks on the wire is `AliasedPublish.ts`.
 */
export class OutgoingAliases {
  private readonly maximum: number
  private readonly aliases = new Map<string, number>()

  constructor(maximum: number) {
    this.maximum = maximum
  }

  /** The alias of a topic the client knows; 0: it knows none. */
  get(topic: string): number {
    return this.aliases.get(topic) ?? 0
  }

  /** A new alias for the topic; 0: the client allows no more. */
  assign(topic: string): number {
    if (this.aliases.size >= this.maximum) return 0
    const alias = this.aliases.size + 1
    this.aliases.set(topic, alias)
    return alias
  }
}
