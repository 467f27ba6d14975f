// Owns the size budgets: minifies each entry as a page's bundler would, compresses it, and fails when it is too large.
// What another entry shares with the core is counted in the core, because a page that uses both loads it once.
import { fileURLToPath } from 'node:url';
import { brotliCompressSync } from 'node:zlib';
import { build } from 'esbuild';

const DIST = fileURLToPath(new URL('../dist/', import.meta.url));
const options = { bundle: true, minify: true, write: false, metafile: true, format: 'esm', target: 'es2022', external: ['react'], absWorkingDir: DIST };

const core = await build({ ...options, entryPoints: ['index.js'] });
const shared = new Set(Object.keys(core.metafile.inputs));
const outsideCore = {
  name: 'shared with the core',
  setup(plugin) {
    plugin.onResolve({ filter: /^\./ }, ({ path, resolveDir }) => {
      const name = fileURLToPath(new URL(path, `file://${resolveDir}/`)).slice(DIST.length);
      return shared.has(name) ? { path: `./${name}`, external: true } : undefined;
    });
  },
};

// Bytes of brotli, at 1000 to the kB.
const budgets = [
  ['core', 'index.js', 4000, []],
  ['react', 'react/index.js', 1000, [outsideCore]],
  ['webrtc', 'webrtc/index.js', 3500, [outsideCore]],
];
let failed = false;
for (const [name, entry, budget, plugins] of budgets) {
  const { outputFiles } = await build({ ...options, entryPoints: [entry], plugins });
  const code = outputFiles[0].contents;
  const size = brotliCompressSync(code).length;
  failed ||= size > budget;
  console.log(`${name}: ${size} of ${budget} bytes brotli, ${code.length} minified${size > budget ? ': TOO LARGE' : ''}`);
}
if (failed) process.exit(1);
