// Signs claims with jose, once for each algorithm, with keys made for it: prints one line of JSON each.
// Usage: node sign.mjs <node_modules> <claims> <secret>

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [modules, claims, secret] = process.argv.slice(2);
const place = createRequire(`${modules}/`).resolve("jose");
const { SignJWT, exportJWK, exportSPKI, generateKeyPair } = await import(pathToFileURL(place).href);

const sign = (alg, key, kid) =>
  new SignJWT(JSON.parse(claims)).setProtectedHeader({ alg, typ: "JWT", kid }).sign(key);
const print = (line) => console.log(JSON.stringify(line));

print({ alg: "HS256", token: await sign("HS256", new TextEncoder().encode(secret)) });
for (const alg of ["RS256", "PS256", "ES256", "ES384", "EdDSA"]) {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const kid = `node/${alg}`;
  const jwk = { ...(await exportJWK(publicKey)), kid, alg, use: "sig" };
  print({ alg, token: await sign(alg, privateKey, kid), jwks: { keys: [jwk] }, pem: await exportSPKI(publicKey) });
}
