// Owns the credentials of the governed load: ES256 JSON Web Tokens of people, and the public key to verify them with.

import { generateKeyPairSync, sign } from "node:crypto";

const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
const now = Math.floor(Date.now() / 1000);

process.stdout.write(publicKey.export({ type: "spki", format: "pem" }));
for (let person = 0; person < Number(process.argv.at(-1)); person += 1) {
  const claims = { iss: "https://id.example/", aud: "bench", sub: `person-${person}`, role: "student", iat: now, exp: now + 86400 };
  const signed = `${part({ alg: "ES256", typ: "JWT" })}.${part(claims)}`;
  const signature = sign("sha256", Buffer.from(signed), { key: privateKey, dsaEncoding: "ieee-p1363" });
  console.log(`${signed}.${signature.toString("base64url")}`);
}
