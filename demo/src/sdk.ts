// The TypeScript client as one module: its core, and its entries for WebRTC and for calls through the broker.
export * from '../../sdk/src/index.js';
export * from '../../sdk/src/webrtc/index.js';
export * from '../../sdk/src/call/index.js';
// For the file of the relay.
export { checkAborted } from '../../sdk/src/clock.js';
export { ended } from '../../sdk/src/connection.js';
