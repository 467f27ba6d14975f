// With the openai package: its WebSocket client asks the manager for the key.
import { type TokenManager } from '@realtime-token-broker/client';
import OpenAI from 'openai';
import { OpenAIRealtimeWebSocket } from 'openai/realtime/websocket';

/** The flag is safe here, because the page holds a client secret, not the API key. */
export function openSocket(tokens: TokenManager, model = 'gpt-realtime'): Promise<OpenAIRealtimeWebSocket> {
  const client = new OpenAI({ apiKey: tokens.getApiKey, dangerouslyAllowBrowser: true });
  return OpenAIRealtimeWebSocket.create(client, { model, dangerouslyAllowBrowser: true });
}
