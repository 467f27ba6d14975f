// Owns what the page takes from the TypeScript client: its core and its WebRTC entry, as one module.
export * from '../../sdk/src/index.js';
export * from '../../sdk/src/webrtc/index.js';
