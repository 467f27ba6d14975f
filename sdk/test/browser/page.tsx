// The test page: puts the client, the examples and React within reach of the tests.
import * as core from '@realtime-token-broker/client';
import * as webrtc from '@realtime-token-broker/client/webrtc';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { agent, converse } from '../../examples/agents.js';
import { openSocket } from '../../examples/openai.js';
import { call } from '../../examples/plain-fetch.js';
import { VoiceAgent } from '../../examples/react.js';

function mountAgent(tokens: core.TokenManager, url: string): void {
  const start = (context: webrtc.ConnectContext): Promise<webrtc.RealtimeCall> => webrtc.openCall(context, { url, audio: null }, () => {});
  const root = document.createElement('main');
  document.body.append(root);
  createRoot(root).render(
    <StrictMode>
      {Array.from({ length: 20 }, (_, n) => <VoiceAgent key={n} tokens={tokens} start={start} />)}
    </StrictMode>,
  );
}

/** Pretends that the page is hidden or seen. */
function show(visible: boolean): void {
  Object.defineProperty(document, 'visibilityState', { value: visible ? 'visible' : 'hidden', configurable: true });
  document.dispatchEvent(new Event('visibilitychange', { bubbles: true }));
}

const lab = { ...core, ...webrtc, agent, converse, openSocket, call, mountAgent, show };
Object.assign(window, { lab });

declare global {
  interface Window {
    lab: typeof lab;
    tokens: core.TokenManager;
    connection: webrtc.RealtimeConnection;
    told: string[];
  }
}
