// The sample with OpenAI's agents SDK.
import { OpenAIRealtimeWebRTC, RealtimeAgent, RealtimeSession } from '@openai/agents-realtime';
import { createTokenManager, withFreshKey } from '@realtime-token-broker/client';

const tokens = createTokenManager({ baseUrl: 'https://broker.example.com' });
const agent = new RealtimeAgent({ name: 'Assistant', instructions: 'Answer in one sentence.' });
// The microphone before the key: a prompt can stay open longer than a key lives.
const mediaStream = await navigator.mediaDevices.getUserMedia({ audio: true });
const session = new RealtimeSession(agent, { transport: new OpenAIRealtimeWebRTC({ mediaStream }) });

await withFreshKey(tokens, () => session.connect({ apiKey: tokens.getApiKey }));
