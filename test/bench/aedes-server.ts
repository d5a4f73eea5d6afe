/**
 * A broker to compare with: aedes with its defaults, in a process of its own, on TCP, TLS, WebSocket or both; with
 * `--data-dir` it keeps sessions and messages in LevelDB.
 */
import { readFileSync } from "node:fs"
import * as http from "node:http"
import * as https from "node:https"
import type { AddressInfo } from "node:net"
import * as net from "node:net"
import * as tls from "node:tls"
import { parseArgs } from "node:util"
import { Aedes } from "aedes"
import { createWebSocketStream, WebSocketServer } from "ws"

const { values } = parseArgs({
  options: {
    transport: { type: "string", default: "tcp" },
    cert: { type: "string" },
    key: { type: "string" },
    "no-delay": { type: "boolean", default: false },
    "data-dir": { type: "string" }
  }
})

/** What is used of two packages that need not be installed, so that nothing here may import their types. */
interface LevelPersistence {
  readonly default: (database: object) => object
}
interface ClassicLevel {
  readonly ClassicLevel: new (path: string, options: { readonly valueEncoding: string }) => object
}

const persistenceIn = async (directory: string): Promise<object> => {
  const [levelPersistence, classicLevel]: ReadonlyArray<string> = ["aedes-persistence-level", "classic-level"]
  const persistence: LevelPersistence = await import(levelPersistence!)
  const level: ClassicLevel = await import(classicLevel!)
  return persistence.default(new level.ClassicLevel(directory, { valueEncoding: "buffer" }))
}

const directory = values["data-dir"]
const broker = await Aedes.createBroker(directory === undefined ? {} : { persistence: await persistenceIn(directory) })

const tlsOptions = () => ({ cert: readFileSync(values.cert ?? ""), key: readFileSync(values.key ?? "") })
const options = { noDelay: values["no-delay"] }

/** As the documentation of aedes shows it; `ws` turns Nagle's algorithm off by itself. */
const withWebSockets = <A extends http.Server | https.Server>(server: A): A => {
  new WebSocketServer({ server }).on("connection", (webSocket, request) => {
    broker.handle(createWebSocketStream(webSocket), request)
  })
  return server
}

const createServer = (): net.Server => {
  switch (values.transport) {
    case "tls":
      return tls.createServer({ ...options, ...tlsOptions() }, broker.handle)
    case "ws":
      return withWebSockets(http.createServer())
    case "wss":
      return withWebSockets(https.createServer(tlsOptions()))
    default:
      return net.createServer(options, broker.handle)
  }
}

const server = createServer()
server.listen({ host: "127.0.0.1", port: 0, backlog: 1024 }, () => {
  // Listening on a port gives an AddressInfo; a string is for pipes.
  const { port } = server.address() as AddressInfo
  console.log(`aedes listens on 127.0.0.1:${port}`)
})
