// The TypeScript client as one module: its core and its WebRTC entry.
export * from '../../sdk/src/index.js';
export * from '../../sdk/src/webrtc/index.js';
