// The public surface of the entry for calls through the broker.
export { followCall, type FollowedCall, type FollowOptions } from './follow.js';
export type { CallEvents, CallSnapshot, CallState, EndReason } from './snapshot.js';
