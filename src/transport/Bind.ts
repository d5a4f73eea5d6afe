/**
 * Binding a server's address, and the socket options that its connections are accepted with.
 */
import * as Effect from "effect/Effect"
import * as Dns from "node:dns/promises"
import * as Net from "node:net"
import * as ListenError from "./ListenError.ts"
import type { ListenerConfig } from "./ListenerConfig.ts"

type Config = Pick<
  ListenerConfig,
  | "host"
  | "port"
  | "backlog"
  | "ipv6Only"
  | "useIPv6"
  | "noDelay"
  | "tcpKeepAlive"
  | "tcpKeepAliveMillis"
  | "tcpKeepAliveIntervalMillis"
>

/** Whether idle connections are probed: asked for, or a time for it given. */
export const probes = ({ tcpKeepAlive, tcpKeepAliveIntervalMillis, tcpKeepAliveMillis }: Config): boolean =>
  tcpKeepAlive || tcpKeepAliveMillis > 0 || tcpKeepAliveIntervalMillis > 0

/** How connections are accepted. Nothing is read before a connection is admitted. */
export const serverOptions = (config: Config): Net.ServerOpts => ({
  noDelay: config.noDelay,
  keepAlive: probes(config),
  keepAliveInitialDelay: config.tcpKeepAliveMillis,
  pauseOnConnect: true
})

/** The interval is an option of the socket only, and of Node 26.4 and later: those before leave it at a second. */
export const probe = (socket: Net.Socket, { tcpKeepAliveIntervalMillis, tcpKeepAliveMillis }: Config): void => {
  socket.setKeepAlive(true, tcpKeepAliveMillis, tcpKeepAliveIntervalMillis)
}

/** This machine, and all of its addresses, in the other family. */
const inIPv6: Readonly<Record<string, string>> = { "127.0.0.1": "::1", "0.0.0.0": "::" }

const listenOn = (server: Net.Server, config: Config, host: string, ipv6Only: boolean) =>
  Effect.callback<Net.AddressInfo, ListenError.BindError>((resume) => {
    const onError = (error: Error) => resume(Effect.fail(ListenError.fromNode(error, host, config.port)))
    server.once("error", onError)
    server.listen({ host, port: config.port, backlog: config.backlog, ipv6Only }, () => {
      server.removeListener("error", onError)
      // An address is an object for everything but pipes, which have no port.
      resume(Effect.succeed(server.address() as Net.AddressInfo))
    })
    // Interrupted while the name is looked up or the address is bound: it must not listen after that.
    return Effect.sync(() => server.close())
  })

/** Binds an address of that family only, whatever the name resolves to besides. */
const listenIn = (server: Net.Server, config: Config, family: 4 | 6) => {
  const host = family === 6 ? (inIPv6[config.host] ?? config.host) : config.host
  // An address is what it is: of the other family it is as little of use as a name without addresses.
  const isOther = Net.isIP(host) !== 0 && Net.isIP(host) !== family
  if (isOther) return Effect.fail(new ListenError.HostNotFound({ code: 11001, host, port: config.port }))
  const resolved = Effect.tryPromise({
    try: () => Dns.lookup(host, { family }),
    // What `dns` rejects with is an Error with a code.
    catch: (error) => ListenError.fromNode(error as Error, host, config.port)
  })
  return Effect.flatMap(resolved, ({ address }) => listenOn(server, config, address, family === 6))
}

/** Listens, and says where. Fails with the reason and the address when that is not possible. */
export const listen = (server: Net.Server, config: Config): Effect.Effect<Net.AddressInfo, ListenError.BindError> => {
  const { useIPv6 } = config
  if (useIPv6 === undefined) return listenOn(server, config, config.host, config.ipv6Only)
  if (useIPv6 === 0) return listenIn(server, config, 4)
  const inIPv4 = () => (useIPv6 === 2 ? listenIn(server, config, 4) : undefined)
  return listenIn(server, config, 6).pipe(
    // An address in use is no reason to look for another: this one is what was asked for.
    Effect.catch((error) => (error._tag === "AddressInUse" ? Effect.fail(error) : (inIPv4() ?? Effect.fail(error))))
  )
}
