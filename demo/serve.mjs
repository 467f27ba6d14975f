// Serves demo/built/ under /demo and everything else from a running broker: for work on the page, and for its tests.
//   node demo/serve.mjs http://127.0.0.1:8080
import { readFileSync } from 'node:fs';
import { createServer, request as ask } from 'node:http';
import { fileURLToPath } from 'node:url';

const FILES = {
  '': ['index.html', 'text/html; charset=utf-8'],
  '/style.css': ['style.css', 'text/css; charset=utf-8'],
  '/app.js': ['app.js', 'text/javascript; charset=utf-8'],
  '/sdk.js': ['sdk.js', 'text/javascript; charset=utf-8'],
};

/** Serves below the broker's base path until `close()`. */
export async function serve({ broker, port = 0 }) {
  const base = new URL(broker).pathname.replace(/\/$/, '');
  // The policy that the broker sends with the page: it names the provider's host.
  const policy = (await fetch(new URL(`${base}/demo`, broker))).headers.get('content-security-policy');
  const server = createServer((request, response) => {
    const path = new URL(request.url, 'http://page').pathname;
    const file = path.startsWith(`${base}/demo`) && FILES[path.slice(base.length + 5)];
    if (!file) return pass(broker, request, response);
    response.setHeader('cache-control', 'no-store');
    response.setHeader('content-type', file[1]).setHeader('content-security-policy', policy);
    response.setHeader('permissions-policy', 'microphone=(self)').setHeader('x-content-type-options', 'nosniff');
    response.end(readFileSync(new URL(`built/${file[0]}`, import.meta.url)));
  });
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${server.address().port}${base}/demo`, close };
}

function pass(broker, request, response) {
  const up = ask(new URL(request.url, broker), { method: request.method, headers: request.headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  up.on('error', () => response.headersSent || response.writeHead(502).end());
  request.pipe(up);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const broker = process.argv[2] ?? 'http://127.0.0.1:8080';
  const { url } = await serve({ broker, port: Number(process.env.PORT ?? 8090) });
  console.log(`The page is at ${url}, the broker at ${broker}.`);
}
