// Owns making app.js and sdk.js from their sources. The same sources make the same bytes. `--check` only compares.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync } from 'node:zlib';
import { build } from 'esbuild';

const HERE = fileURLToPath(new URL('.', import.meta.url));
/** All that the broker serves, in bytes of brotli. */
const BUDGET = 40_000;
const check = process.argv.includes('--check');

// The lines that are shown are those that the type checker reads, without the line that tells who owns them.
const samples = {
  name: 'samples',
  setup(plugin) {
    plugin.onResolve({ filter: /^sample:/ }, ({ path }) => ({ path: path.slice(7), namespace: 'sample' }));
    plugin.onLoad({ filter: /./, namespace: 'sample' }, ({ path }) => ({
      contents: readFileSync(`${HERE}samples/${path}`, 'utf8').replace(/^.*\n/, ''),
      loader: 'text',
    }));
  },
};
const apart = { name: 'sdk apart', setup: (plugin) => plugin.onResolve({ filter: /^\.\/sdk\.js$/ }, () => ({ path: './sdk.js', external: true })) };

async function bundle(name, plugins) {
  const options = { bundle: true, write: false, format: 'esm', target: 'es2022', charset: 'utf8', legalComments: 'none', logLevel: 'warning' };
  const { outputFiles } = await build({ ...options, absWorkingDir: HERE, entryPoints: [`src/${name}.ts`], plugins });
  return `// Made by scripts/demo-build.sh from demo/src/${name}.ts; change that instead.\n${outputFiles[0].text}`;
}

let stale = false;
for (const [name, plugins] of [['sdk', []], ['app', [apart, samples]]]) {
  const made = await bundle(name, plugins);
  const path = `${HERE}${name}.js`;
  if (!check) writeFileSync(path, made);
  else if (readFileSync(path, 'utf8') !== made) {
    stale = true;
    console.error(`demo/${name}.js is not what the sources build to: run scripts/demo-build.sh and commit it.`);
  }
}

let total = 0;
for (const name of ['index.html', 'style.css', 'app.js', 'sdk.js']) {
  const bytes = readFileSync(HERE + name);
  const size = brotliCompressSync(bytes).length;
  total += size;
  console.log(`${name.padEnd(10)} ${`${bytes.length}`.padStart(6)} bytes, ${`${size}`.padStart(5)} brotli`);
}
console.log(`${'together'.padEnd(10)} ${''.padStart(13)} ${`${total}`.padStart(5)} of ${BUDGET}`);
if (total > BUDGET) console.error('The page is too large.');
if (stale || total > BUDGET) process.exit(1);
