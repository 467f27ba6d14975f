// With @openai/agents-realtime: a fresh key for each connect, and one more when it was refused.
import { OpenAIRealtimeWebRTC, RealtimeAgent, RealtimeSession } from '@openai/agents-realtime';
import { type TokenManager, withFreshKey } from '@realtime-token-broker/client';

/** `url` is a broker's own exchange. Without it, the offer goes to OpenAI. */
export async function converse(tokens: TokenManager, url?: string): Promise<RealtimeSession> {
  // The microphone comes first, because its prompt can stay open longer than a key lives.
  const mediaStream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const agent = new RealtimeAgent({ name: 'Assistant', instructions: 'Answer in one sentence.' });
  const session = new RealtimeSession(agent, { transport: new OpenAIRealtimeWebRTC({ mediaStream }) });
  await withFreshKey(tokens, () => session.connect({ apiKey: tokens.getApiKey, ...(url && { url }) }));
  return session;
}
