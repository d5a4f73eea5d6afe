/**
 * A TLS listener and its clients for tests, with certificates made once a file of tests.
 */
import * as Effect from "effect/Effect"
import * as Tls from "node:tls"
import type * as Listener from "../../src/transport/Listener.ts"
import * as TestCertificates from "./TestCertificates.ts"
import * as TestHandler from "./TestHandler.ts"

export const { ca, client, server } = TestCertificates.standard()

export type Options = Partial<Extract<Listener.ListenerOptions, { readonly protocol: 1 }>>

export const listen = (test: TestHandler.TestHandler, options: Options = {}) =>
  TestHandler.listen({ protocol: 1, sslCertStore: server.pem, ...options }, test)

/** A TLS client; fails with the name of what went wrong. */
export const connect = (port: number, options: Tls.ConnectionOptions = {}) =>
  Effect.acquireRelease(
    Effect.callback<Tls.TLSSocket, string>((resume) => {
      const socket = Tls.connect({ port, host: "127.0.0.1", ca: ca.certPem, ...options })
      socket.on("error", (error: NodeJS.ErrnoException) => resume(Effect.fail(error.code ?? error.message)))
      socket.once("secureConnect", () => resume(Effect.succeed(socket)))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/** A client's own certificate. */
export const withCertificate = (issued: TestCertificates.Issued) => ({ cert: issued.certPem, key: issued.keyPem })
