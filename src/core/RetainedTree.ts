/**
 * The retained message of each topic, found by topic or by filter without looking at every topic.
 *
 * It owns only the index: expiry, limits, counting bytes and the rule that an empty payload deletes are its caller's.
 * Topics and filters are expected to be valid (`protocol/Topic.ts`).
 *
 * Nothing here recurses, and a lookup keeps one iterator per level, so that a flat tree of a million topics costs
 * nothing until it is walked.
 */

class Node<M> {
  readonly parent: Node<M> | undefined
  /** The level this node stands for; the key under which its parent has it. */
  readonly level: string
  children: Map<string, Node<M>> | undefined = undefined
  /** The whole topic, when a message is retained for it. */
  topic: string = ""
  message: M | undefined = undefined
  /** How many messages had been set in the tree when this one was, itself included. */
  setAt = 0

  constructor(parent: Node<M> | undefined, level: string) {
    this.parent = parent
    this.level = level
  }
}

/** Children still to be looked at, for the level of the filter at index `next - 1`. */
interface Frame<M> {
  readonly nodes: IterableIterator<Node<M>>
  /** Index of the filter's level that the children of these nodes are held against. */
  readonly next: number
}

/** On its way through the nodes that a filter matches. The tree may be changed between two steps. */
class Walk<M> {
  private readonly root: Node<M>
  private readonly levels: ReadonlyArray<string>
  private readonly frames: Array<Frame<M>> = []
  private node: Node<M> | undefined
  /** The level of the filter to hold against the node's children. */
  private at = 0
  /** Places of the tree looked at so far. */
  steps = 0
  ended = false

  constructor(root: Node<M>, filter: string) {
    this.root = root
    this.levels = filter.split("/")
    this.node = root
  }

  /** The next node that has a message; undefined: there is none left, or none in `stepsMax` places. */
  next(stepsMax = Number.POSITIVE_INFINITY): Node<M> | undefined {
    const { frames, levels } = this
    const until = this.steps + stepsMax
    while (this.steps < until) {
      this.steps++
      const { node } = this
      if (node !== undefined) {
        const level = levels[this.at]
        if (level === undefined || level === "#") {
          // A frame that stays at this level of the filter walks the whole subtree.
          if (level === "#" && node.children !== undefined)
            frames.push({ nodes: node.children.values(), next: this.at })
          this.node = undefined
          if (node.message !== undefined) return node
        } else if (level === "+") {
          if (node.children !== undefined) frames.push({ nodes: node.children.values(), next: this.at + 1 })
          this.node = undefined
        } else {
          this.node = node.children?.get(level)
          this.at++
        }
      } else if (!this.descend()) {
        this.ended = true
        return undefined
      }
    }
    return undefined
  }

  /** Goes on with the next child of the innermost frame; false: there is no frame left. */
  private descend(): boolean {
    const frame = this.frames.at(-1)
    if (frame === undefined) return false
    const step = frame.nodes.next()
    if (step.done === true) this.frames.pop()
    else if (step.value.parent !== this.root || !step.value.level.startsWith("$")) {
      this.node = step.value
      this.at = frame.next
    }
    return true
  }
}

/** A walk through the messages that a filter matches, at its caller's pace. */
export interface Matches<M> {
  /** The next message; undefined: there is none left, or none in that many places. */
  readonly next: (stepsMax: number) => M | undefined
  /** Places of the tree looked at so far. */
  readonly steps: number
  readonly ended: boolean
}

export class RetainedTree<M extends object> {
  readonly #root = new Node<M>(undefined, "")
  #size = 0
  #nodeCount = 0
  #setCount = 0

  /** How many topics have a message. */
  get size(): number {
    return this.#size
  }

  /** How many levels of topics are held: what the tree costs. Zero when nothing is retained. */
  get nodeCount(): number {
    return this.#nodeCount
  }

  /** Retain a message; returns the one it replaces. Costs the levels of the topic. */
  set(topic: string, message: M): M | undefined {
    let node = this.#root
    for (let start = 0; start <= topic.length; ) {
      const end = levelEnd(topic, start)
      const level = topic.slice(start, end)
      let child = node.children?.get(level)
      if (child === undefined) {
        child = new Node(node, level)
        node.children ??= new Map()
        node.children.set(level, child)
        this.#nodeCount++
      }
      node = child
      start = end + 1
    }
    const previous = node.message
    if (previous === undefined) {
      node.topic = topic
      this.#size++
    }
    node.message = message
    node.setAt = ++this.#setCount
    return previous
  }

  get(topic: string): M | undefined {
    return this.#find(topic)?.message
  }

  /** Forget a topic's message and return it. Nodes that nobody needs any more go with it. */
  delete(topic: string): M | undefined {
    let node = this.#find(topic)
    const previous = node?.message
    if (node === undefined || previous === undefined) return undefined
    node.message = undefined
    node.topic = ""
    this.#size--
    while (node.parent !== undefined && node.message === undefined && node.children === undefined) {
      const parent: Node<M> = node.parent
      parent.children?.delete(node.level)
      if (parent.children?.size === 0) parent.children = undefined
      this.#nodeCount--
      node = parent
    }
    return previous
  }

  /**
   * Visit the retained messages that a filter matches, each once, until the visitor returns false. A wildcard at the
   * first level does not match a topic that starts with `$` [MQTT-4.7.2-1]. The visitor may set and delete topics;
   * whether it then meets a topic that it added is left open.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: a visitor that never stops the walk returns nothing
  match(filter: string, visit: (topic: string, message: M) => boolean | void): void {
    const walk = new Walk(this.#root, filter)
    for (let node = walk.next(); node !== undefined; node = walk.next()) {
      if (node.message !== undefined && visit(node.topic, node.message) === false) return
    }
  }

  /**
   * The same messages one at a time, however long it takes. What is deleted meanwhile is not met, nor is what is set, a
   * replacement included: the walk ends though there are always new ones.
   */
  matches(filter: string): Matches<M> {
    const walk = new Walk(this.#root, filter)
    const setCount = this.#setCount
    return {
      next: (stepsMax) => {
        const until = walk.steps + stepsMax
        while (!walk.ended && walk.steps < until) {
          const node = walk.next(until - walk.steps)
          if (node !== undefined && node.setAt <= setCount) return node.message
        }
        return undefined
      },
      get steps() {
        return walk.steps
      },
      get ended() {
        return walk.ended
      }
    }
  }

  /** All topics and messages, in no promised order. */
  *entries(): IterableIterator<[string, M]> {
    const stack: Array<IterableIterator<Node<M>>> = []
    if (this.#root.children !== undefined) stack.push(this.#root.children.values())
    for (let nodes = stack.at(-1); nodes !== undefined; nodes = stack.at(-1)) {
      const step = nodes.next()
      if (step.done === true) stack.pop()
      else {
        if (step.value.children !== undefined) stack.push(step.value.children.values())
        if (step.value.message !== undefined) yield [step.value.topic, step.value.message]
      }
    }
  }

  #find(topic: string): Node<M> | undefined {
    let node: Node<M> | undefined = this.#root
    for (let start = 0; start <= topic.length && node !== undefined; ) {
      const end = levelEnd(topic, start)
      node = node.children?.get(topic.slice(start, end))
      start = end + 1
    }
    return node
  }
}

const levelEnd = (topic: string, start: number): number => {
  const slash = topic.indexOf("/", start)
  return slash === -1 ? topic.length : slash
}
