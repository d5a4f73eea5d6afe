/**
 * What a program uses of effect-mqtt, one namespace a module. Tests of a store of your own find its contract in
 * `effect-mqtt/storage/StorageContract`.
 */
export * as Broker from "./broker/Broker.ts"
export * as BrokerConfig from "./broker/BrokerConfig.ts"
export * as BrokerError from "./broker/BrokerError.ts"
export * as BrokerEvent from "./broker/BrokerEvent.ts"
export * as BrokerLogger from "./broker/BrokerLogger.ts"
export * as ConnectionId from "./broker/ConnectionId.ts"
export * as Hooks from "./broker/Hooks.ts"
export * as Snapshot from "./broker/Snapshot.ts"
export * as Packet from "./protocol/Packet.ts"
export * as ReasonCode from "./protocol/ReasonCode.ts"
export * as Topic from "./protocol/Topic.ts"
export * as DocumentedSettings from "./settings/DocumentedSettings.ts"
export * as Settings from "./settings/Settings.ts"
export * as BrokerStorage from "./storage/BrokerStorage.ts"
export * as MemoryStorage from "./storage/MemoryStorage.ts"
export * as SessionJson from "./storage/SessionJson.ts"
export * as StorageOperation from "./storage/StorageOperation.ts"
export * as SqliteBackup from "./storage/SqliteBackup.ts"
export * as SqliteStorage from "./storage/SqliteStorage.ts"
export * as Listener from "./transport/Listener.ts"
