/**
 * The documented TCP/IP error codes, by the names that the operating system and Node give to the same failures.
 *
 * Owns the table. Which failure becomes which typed error is decided where the failure happens.
 */

/** Name of a failure: its documented code, and what it says. */
export const table = {
  EINTR: [10004, "Interrupted system call"],
  ECANCELED: [10004, "Interrupted system call"],
  EAI_CANCELED: [10004, "Interrupted system call"],
  EBADF: [10009, "Bad file number"],
  EACCES: [10013, "Access denied"],
  EPERM: [10013, "Access denied"],
  EFAULT: [10014, "Bad address"],
  EINVAL: [10022, "Invalid argument"],
  EAI_BADFLAGS: [10022, "Invalid argument"],
  EAI_BADHINTS: [10022, "Invalid argument"],
  EMFILE: [10024, "Too many open files"],
  ENFILE: [10024, "Too many open files"],
  EAGAIN: [10035, "Operation would block"],
  EWOULDBLOCK: [10035, "Operation would block"],
  EINPROGRESS: [10036, "Operation now in progress"],
  EALREADY: [10037, "Operation already in progress"],
  ENOTSOCK: [10038, "Socket operation on nonsocket"],
  EDESTADDRREQ: [10039, "Destination address required"],
  EMSGSIZE: [10040, "Message is too long"],
  EPROTOTYPE: [10041, "Protocol wrong type for socket"],
  ENOPROTOOPT: [10042, "Bad protocol option"],
  EPROTONOSUPPORT: [10043, "Protocol is not supported"],
  EAI_PROTOCOL: [10043, "Protocol is not supported"],
  ESOCKTNOSUPPORT: [10044, "Socket type is not supported"],
  EAI_SOCKTYPE: [10044, "Socket type is not supported"],
  ENOTSUP: [10045, "Operation is not supported on socket"],
  EOPNOTSUPP: [10045, "Operation is not supported on socket"],
  EPFNOSUPPORT: [10046, "Protocol family is not supported"],
  EAFNOSUPPORT: [10047, "Address family is not supported by protocol family"],
  EAI_FAMILY: [10047, "Address family is not supported by protocol family"],
  EADDRINUSE: [10048, "Address already in use"],
  EADDRNOTAVAIL: [10049, "Cannot assign requested address"],
  ENODEV: [10049, "Cannot assign requested address"], // of an interface that is not there
  ENETDOWN: [10050, "Network is down"],
  ENONET: [10050, "Network is down"],
  ENETUNREACH: [10051, "Network is unreachable"],
  ENETRESET: [10052, "Net dropped connection or reset"],
  ECONNABORTED: [10053, "Software caused connection abort"],
  EPROTO: [10053, "Software caused connection abort"], // what accept says of it on some systems
  ECONNRESET: [10054, "Connection reset by peer"],
  ENOBUFS: [10055, "No buffer space available"],
  ENOMEM: [10055, "No buffer space available"],
  ENOSR: [10055, "No buffer space available"],
  EAI_MEMORY: [10055, "No buffer space available"],
  EISCONN: [10056, "Socket is already connected"],
  ENOTCONN: [10057, "Socket is not connected"],
  ESHUTDOWN: [10058, "Cannot send after socket shutdown"],
  EPIPE: [10058, "Cannot send after socket shutdown"],
  ETOOMANYREFS: [10059, "Too many references, cannot splice"],
  ETIMEDOUT: [10060, "Connection timed out"],
  ECONNREFUSED: [10061, "Connection refused"],
  ELOOP: [10062, "Too many levels of symbolic links"],
  ENAMETOOLONG: [10063, "File name is too long"],
  EHOSTDOWN: [10064, "Host is down"],
  EHOSTUNREACH: [10065, "No route to host"],
  ENOTEMPTY: [10066, "Directory is not empty"],
  EDQUOT: [10069, "Disc quota exceeded"],
  ESTALE: [10070, "Stale NFS file handle"],
  ENOTFOUND: [11001, "Host not found"],
  EAI_NONAME: [11001, "Host not found"],
  EAI_AGAIN: [11002, "Host not found for now: try again, or check the DNS setup"],
  ESERVFAIL: [11002, "Host not found for now: try again, or check the DNS setup"],
  EAI_FAIL: [11003, "The name server failed"],
  EFORMERR: [11003, "The name server failed"],
  EREFUSED: [11003, "The name server failed"],
  ENOTIMP: [11003, "The name server failed"],
  ENODATA: [11004, "Valid name, no data record: check the DNS setup"],
  EAI_NODATA: [11004, "Valid name, no data record: check the DNS setup"],
  EAI_ADDRFAMILY: [11004, "Valid name, no data record: check the DNS setup"]
} as const satisfies Record<string, readonly [code: number, text: string]>

export type Errno = keyof typeof table

/** Every documented code that a socket of this runtime can fail with. */
export type SocketErrorCode = (typeof table)[Errno][0]

/** What a name that is in no documented table is reported as: "invalid argument". */
export const UNKNOWN: SocketErrorCode = 10022

export const isErrno = (name: string): name is Errno => Object.hasOwn(table, name)

export const codeOf = (name: string): SocketErrorCode => (isErrno(name) ? table[name][0] : UNKNOWN)

/** The name, and what it means where the table has it. */
export const describe = (name: string): string => (isErrno(name) ? `${table[name][1]} (${name})` : name)
