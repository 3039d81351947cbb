// AWS's SDK for JavaScript, version 3, called by the lines on its stdin.

import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url); // it looks in NODE_PATH, too
const sdks = { sqs: require("@aws-sdk/client-sqs"), sns: require("@aws-sdk/client-sns") };
const clients = new Map();

function connect({ service, url, region, key }) {
  const where = [service, url, region, key].join(" ");
  if (!clients.has(where)) {
    const Client = sdks[service][`${service.toUpperCase()}Client`];
    const credentials = { accessKeyId: key, secretAccessKey: "any" };
    clients.set(where, new Client({ endpoint: url, region, credentials, maxAttempts: 1 }));
  }
  return clients.get(where);
}

// The class to catch: the most special one that the SDK exports and the error is an instance of.
function kindOf(error, sdk) {
  const exported = Object.entries(sdk).find(([, each]) => typeof each === "function" && error.constructor === each);
  return exported ? exported[0] : "";
}

function encode(_, value) {
  return value instanceof Uint8Array ? { base64: Buffer.from(value).toString("base64") } : value;
}

function decode(_, value) {
  const isBytes = value && typeof value === "object" && Object.keys(value).join() === "base64";
  return isBytes ? Buffer.from(value.base64, "base64") : value;
}

async function call(asked) {
  const sdk = sdks[asked.service];
  try {
    const { $metadata, ...answer } = await connect(asked).send(new sdk[`${asked.operation}Command`](asked.parameters));
    return { answer };
  } catch (error) {
    return { error: { code: error.name, message: error.message, kind: kindOf(error, sdk) } };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(await call(JSON.parse(line, decode)), encode) + "\n");
}
