// The public surface of the React entry.
'use client';

export type { Closable, ConnectContext, ConnectionErrorCode, ConnectionFailure, ConnectionSnapshot, ConnectionStatus } from '../connection.js';
export { ConnectionError } from '../connection.js';
export { RealtimeTokenProvider } from './context.js';
export type { CallSnapshot, CallState, EndReason } from '../call/snapshot.js';
export type { FollowedCall } from '../call/follow.js';
export { type RealtimeCallState, useRealtimeCall } from './use-realtime-call.js';
export { type RealtimeConnectionState, type UseConnectionOptions, useRealtimeConnection } from './use-realtime-connection.js';
export { type RealtimeTokenState, useRealtimeToken, useTokenCountdown } from './use-realtime-token.js';
