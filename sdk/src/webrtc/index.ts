// The public surface of the WebRTC entry.
export {
  type ConnectContext,
  ConnectionError,
  type ConnectionErrorCode,
  type ConnectionSnapshot,
  type ConnectionStatus,
} from '../connection.js';
export { type CallOptions, OPENAI_CALLS, openCall, type RealtimeCall, type RealtimeEvent } from './call.js';
export {
  createRealtimeConnection,
  RealtimeConnection,
  type RealtimeConnectionEvents,
  type RealtimeConnectionOptions,
} from './connection.js';
export { createLevelMeter, type LevelMeter } from './levels.js';
