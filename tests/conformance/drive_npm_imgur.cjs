// Runs inside: the npm package imgur, told by lines of JSON (network.py has the words).
// Usage: drive_npm_imgur.cjs PACKAGE_JSON; the package is found as a program there would
// find it, and used as it is. An argument {"$stream": PATH} stands for a readable stream.
'use strict';

const fs = require('node:fs');
const { createRequire } = require('node:module');
const readline = require('node:readline');

const { ImgurClient } = createRequire(process.argv[2])('imgur');

let client = null;
let events = [];

function revive(value) {
  if (Array.isArray(value)) return value.map(revive);
  if (value === null || typeof value !== 'object') return value;
  if ('$stream' in value) return fs.createReadStream(value.$stream);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, revive(item)]));
}

async function obey(order) {
  if ('new' in order) {
    client = new ImgurClient(...order.new);
    events = [];
    client.on('uploadProgress', (progress) => events.push(progress.loaded));
    return null;
  }
  if ('read' in order) {
    if (order.read === 'uploadProgress') return events;
    return order.read.split('.').reduce((thing, name) => thing[name], client);
  }
  return client[order.call](...revive(order.arguments));
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    let answer;
    try {
      answer = { value: (await obey(JSON.parse(line))) ?? null };
    } catch (error) {
      answer = { raised: error.name, text: error.message };
    }
    process.stdout.write(JSON.stringify(answer) + '\n');
  }
}

// Not by itself: connections that are kept alive would keep it alive too.
main().then(() => process.exit(0));
