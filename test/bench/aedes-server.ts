/** A broker to compare with: aedes with its defaults on a TCP server, in a process of its own. */
import type { AddressInfo } from "node:net"
import * as net from "node:net"
import { Aedes } from "aedes"

const broker = await Aedes.createBroker()
const server = net.createServer({ noDelay: process.argv.includes("--no-delay") }, broker.handle)
server.listen({ host: "127.0.0.1", port: 0, backlog: 1024 }, () => {
  // Listening on a port gives an AddressInfo; a string is for pipes.
  const { port } = server.address() as AddressInfo
  console.log(`aedes listens on 127.0.0.1:${port}`)
})
