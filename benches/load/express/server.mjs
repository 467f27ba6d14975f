// The design of the original documents in a few lines: Express, a sliding window in memory, fetch to the upstream.
// node server.mjs PORT UPSTREAM_URL LIMIT
import { randomUUID } from 'node:crypto';
import express from 'express';

const [port, upstream, limit] = process.argv.slice(2);
const WINDOW_MS = 60_000;
const windows = new Map();
const sessions = new Map();

const app = express();
app.set('trust proxy', 'loopback');
app.disable('x-powered-by');
app.get('/livez', (_, response) => response.json({ status: 'ok' }));
app.use(express.json({ limit: '16kb' }));

app.use((request, response, next) => {
  const now = Date.now();
  const recent = (windows.get(request.ip) ?? []).filter((moment) => now - moment < WINDOW_MS);
  if (recent.length >= Number(limit)) {
    return response.status(429).json({ success: false, error: 'RATE_LIMIT_EXCEEDED' });
  }
  recent.push(now);
  windows.set(request.ip, recent);
  next();
});

app.post('/token', async (request, response) => {
  const answer = await fetch(upstream, {
    method: 'POST',
    headers: { authorization: 'Bearer sk-load-comparison', 'content-type': 'application/json' },
    body: JSON.stringify({ session: { type: 'realtime', model: 'gpt-realtime-2.1', audio: { output: { voice: 'marin' } } } }),
  });
  if (!answer.ok) return response.status(502).json({ success: false });
  const secret = await answer.json();
  const sessionId = randomUUID();
  sessions.set(sessionId, { ip: request.ip, opened: Date.now() });
  if (sessions.size > 10_000) sessions.delete(sessions.keys().next().value);
  response.json({ success: true, token: secret.value, expiresAt: secret.expires_at * 1000, sessionId });
});

app.listen(Number(port), '127.0.0.1');
