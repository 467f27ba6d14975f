// Enforces the size budgets: minifies each entry as a page's bundler would, compresses it, and fails when it is too large.
// A module is counted once, in the first entry that has it: a page that uses several entries loads it once.
import { fileURLToPath } from 'node:url';
import { brotliCompressSync } from 'node:zlib';
import { build } from 'esbuild';

const DIST = fileURLToPath(new URL('../dist/', import.meta.url));

// Bytes of brotli, at 1000 to the kB. The core is what a page loads that imports createTokenManager. docs/decisions.md says why it
// is larger than the 4000 once planned. Each budget is the current size, so that an entry can only shrink.
const budgets = [
  ['core', "export { createTokenManager } from './index.js'", 5993],
  ['core, whole', "export * from './index.js'", 6429],
  ['call', "export * from './call/index.js'; export * from './call/opened.js'", 2000],
  ['transcribe', "export * from './transcribe/index.js'", 700],
  // 126 more than the 3500 before: the names of GPT-Live's events, so that a page hears both dialects alike, the way to the relay, and
  // muting by either way, also of a track that the page has replaced.
  ['webrtc', "export * from './webrtc/index.js'", 3626],
  ['relay', "export * from './relay/open.js'", 1603],
  ['react', "export * from './react/index.js'", 1000],
];

const counted = new Set();
const once = {
  name: 'count every module once',
  setup(plugin) {
    plugin.onResolve({ filter: /^\./ }, ({ path, resolveDir, kind }) => {
      const name = fileURLToPath(new URL(path, `file://${resolveDir}/`)).slice(DIST.length);
      // What is imported later is an entry of its own.
      return counted.has(name) || kind === 'dynamic-import' ? { path: `./${name}`, external: true } : undefined;
    });
  },
};

let failed = false;
for (const [name, contents, budget] of budgets) {
  const { outputFiles, metafile } = await build({
    stdin: { contents, resolveDir: DIST },
    bundle: true,
    minify: true,
    write: false,
    metafile: true,
    format: 'esm',
    target: 'es2022',
    external: ['react'],
    absWorkingDir: DIST,
    plugins: [once],
  });
  const code = outputFiles[0].contents;
  const size = brotliCompressSync(code).length;
  // The first entry is a part of the second.
  if (name !== 'core') for (const module of Object.keys(metafile.inputs)) counted.add(module);
  failed ||= size > budget;
  console.log(`${name}: ${size} of ${budget} bytes brotli, ${code.length} minified${size > budget ? ': TOO LARGE' : ''}`);
}
if (failed) process.exit(1);
