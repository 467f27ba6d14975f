// The test page: puts the client, the examples and React within reach of the tests.
import * as core from '@realtime-token-broker/client';
import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession } from '@openai/agents-realtime';
import * as webrtc from '@realtime-token-broker/client/webrtc';
import { OpenAILiveWebRTC } from 'openai-live/live/webrtc';
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

/** Asks the model one thing by the WebSocket of agents-js. Returns what is known of the session and of its use. */
async function relay(url: string, apiKey: string, model: string): Promise<{ instructions: string[]; tokens: number }> {
  const transport = new OpenAIRealtimeWebSocket({ useInsecureApiKey: !apiKey.startsWith('ek_') });
  const session = new RealtimeSession(new RealtimeAgent({ name: 'Assistant', instructions: 'You are a pirate.' }), { transport, model });
  const instructions: string[] = [];
  const done = new Promise<void>((resolve, reject) => {
    session.on('error', ({ error }) => reject(new Error(JSON.stringify(error))));
    session.on('transport_event', (event) => {
      if (/^session\.(created|updated)$/.test(event.type)) instructions.push(`${(event as { session?: { instructions?: string } }).session?.instructions}`);
      if (event.type === 'response.done') resolve();
    });
  });
  await session.connect({ apiKey, url });
  session.sendMessage('Hello');
  await done;
  session.close();
  return { instructions, tokens: session.usage.totalTokens };
}

/** Creates the connection of this page. Notes its events of these types with their values, and the types of the model's events. */
function follow(tokens: core.TokenManager, ...types: ('status' | 'secondsLeft' | 'cost' | 'estimatedCost' | 'warning' | 'ended')[]): void {
  window.connection = webrtc.createRealtimeConnection({ tokens });
  for (const type of types) window.connection.on(type, (event: unknown) => window.told.push(`${type} ${JSON.stringify(event)}`));
  window.connection.on('event', ({ type }) => window.told.push(type));
}

const lab = { ...core, ...webrtc, OpenAILiveWebRTC, agent, converse, openSocket, call, follow, mountAgent, relay, show };
Object.assign(window, { lab });

declare global {
  interface Window {
    lab: typeof lab;
    tokens: core.TokenManager;
    connection: webrtc.RealtimeConnection;
    told: string[];
  }
}
