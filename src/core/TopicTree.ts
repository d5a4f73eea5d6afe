/**
 * Who wants a topic: a tree of topic filters, one node per level, with the subscribers of a filter at its last node.
 *
 * It owns only the index. What a subscription means (options, identifiers, sharing), its limits, and the cache of
 * recent lookups belong to its callers. Filters and topics are expected to be valid (`protocol/Topic.ts`), and a shared
 * filter without its `$share/group/`.
 *
 * Nothing here recurses: a filter may be as deep as the longest topic. Levels come from the wire, so they are keys of
 * Maps and never of objects.
 */

class Node<K, V> {
  readonly parent: Node<K, V> | undefined
  /** The level this node stands for; the key under which its parent has it. */
  readonly level: string
  /** Ordinary levels; the two wildcards have fields of their own, so that a lookup hashes each level once. */
  children: Map<string, Node<K, V>> | undefined = undefined
  /** The child `+`. */
  single: Node<K, V> | undefined = undefined
  /** The child `#`. */
  multi: Node<K, V> | undefined = undefined
  /** The subscribers of the filter that ends here. */
  subscribers: Map<K, V> | undefined = undefined

  constructor(parent: Node<K, V> | undefined, level: string) {
    this.parent = parent
    this.level = level
  }
}

/** The subscriptions of all `K`s (sessions), each with a value `V`; a key has one subscription per filter. */
export class TopicTree<K extends object, V> {
  readonly #root = new Node<K, V>(undefined, "")
  #size = 0
  #nodeCount = 0

  /** How many (filter, key) pairs there are. */
  get size(): number {
    return this.#size
  }

  /** How many levels of filters are held: what the tree costs. Zero when nobody subscribes. */
  get nodeCount(): number {
    return this.#nodeCount
  }

  /** Subscribe, or replace the subscription; returns what was there before. Costs the levels of the filter. */
  set(filter: string, key: K, value: V): V | undefined {
    const node = this.#grow(filter)
    node.subscribers ??= new Map()
    const before = node.subscribers.size
    const previous = node.subscribers.get(key)
    node.subscribers.set(key, value)
    this.#size += node.subscribers.size - before
    return previous
  }

  get(filter: string, key: K): V | undefined {
    return this.#find(filter)?.subscribers?.get(key)
  }

  /** Unsubscribe; returns what was there. Nodes that nobody needs any more go with it. */
  delete(filter: string, key: K): V | undefined {
    const node = this.#find(filter)
    const subscribers = node?.subscribers
    if (node === undefined || subscribers === undefined) return undefined
    const previous = subscribers.get(key)
    if (!subscribers.delete(key)) return undefined
    this.#size--
    if (subscribers.size === 0) {
      node.subscribers = undefined
      this.#prune(node)
    }
    return previous
  }

  /**
   * Visit every subscription whose filter matches the topic, each (filter, key) once: a key with several matching
   * filters is visited several times. `a/#` matches `a`; a wildcard at the first level does not match a topic that
   * starts with `$` [MQTT-4.7.2-1]. The visitor must not change the tree.
   */
  match(topic: string, visit: (key: K, value: V) => void): void {
    const length = topic.length
    // Level by level: all nodes whose path matches the topic so far. A node is in it once, since it has one path.
    let matched = [this.#root]
    let start = 0
    let wildcards = topic.charCodeAt(0) !== 0x24 // "$"
    while (start <= length && matched.length > 0) {
      const slash = topic.indexOf("/", start)
      const end = slash === -1 ? length : slash
      const level = topic.slice(start, end)
      const next: Array<Node<K, V>> = []
      for (const node of matched) {
        const child = node.children?.get(level)
        if (child !== undefined) next.push(child)
        if (wildcards) {
          if (node.single !== undefined) next.push(node.single)
          visitAll(node.multi?.subscribers, visit)
        }
      }
      matched = next
      wildcards = true
      start = end + 1
    }
    for (const node of matched) {
      visitAll(node.subscribers, visit)
      visitAll(node.multi?.subscribers, visit) // `#` also stands for the level above it
    }
  }

  #find(filter: string): Node<K, V> | undefined {
    let node: Node<K, V> | undefined = this.#root
    for (let start = 0; start <= filter.length && node !== undefined; ) {
      const end = levelEnd(filter, start)
      node = childOf(node, filter.slice(start, end))
      start = end + 1
    }
    return node
  }

  #grow(filter: string): Node<K, V> {
    let node = this.#root
    for (let start = 0; start <= filter.length; ) {
      const end = levelEnd(filter, start)
      const level = filter.slice(start, end)
      node = childOf(node, level) ?? this.#addChild(node, level)
      start = end + 1
    }
    return node
  }

  #addChild(parent: Node<K, V>, level: string): Node<K, V> {
    const node = new Node(parent, level)
    if (level === "+") parent.single = node
    else if (level === "#") parent.multi = node
    else {
      parent.children ??= new Map()
      parent.children.set(level, node)
    }
    this.#nodeCount++
    return node
  }

  /** Take an empty node out of the tree, and then each parent that has become empty by it. */
  #prune(empty: Node<K, V>): void {
    let node = empty
    while (node.parent !== undefined && isEmpty(node)) {
      const parent = node.parent
      if (node.level === "+") parent.single = undefined
      else if (node.level === "#") parent.multi = undefined
      else {
        parent.children?.delete(node.level)
        if (parent.children?.size === 0) parent.children = undefined
      }
      this.#nodeCount--
      node = parent
    }
  }
}

const visitAll = <K, V>(subscribers: Map<K, V> | undefined, visit: (key: K, value: V) => void): void => {
  if (subscribers === undefined) return
  for (const [key, value] of subscribers) visit(key, value)
}

const levelEnd = (filter: string, start: number): number => {
  const slash = filter.indexOf("/", start)
  return slash === -1 ? filter.length : slash
}

const childOf = <K, V>(node: Node<K, V>, level: string): Node<K, V> | undefined =>
  level === "+" ? node.single : level === "#" ? node.multi : node.children?.get(level)

const isEmpty = <K, V>(node: Node<K, V>): boolean =>
  node.subscribers === undefined && node.children === undefined && node.single === undefined && node.multi === undefined
