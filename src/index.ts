/**
 * Everything that a program may import from effect-mqtt, one namespace a module.
 */
export * as Broker from "./broker/Broker.ts"
export * as BrokerConfig from "./broker/BrokerConfig.ts"
export * as BrokerError from "./broker/BrokerError.ts"
export * as BrokerEvent from "./broker/BrokerEvent.ts"
export * as Hooks from "./broker/Hooks.ts"
export * as Snapshot from "./broker/Snapshot.ts"
export * as Packet from "./protocol/Packet.ts"
export * as ReasonCode from "./protocol/ReasonCode.ts"
export * as Topic from "./protocol/Topic.ts"
export * as BrokerStorage from "./storage/BrokerStorage.ts"
export * as MemoryStorage from "./storage/MemoryStorage.ts"
export * as StorageOperation from "./storage/StorageOperation.ts"
export * as Listener from "./transport/Listener.ts"
