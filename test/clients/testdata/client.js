// Node's http2, which is nghttp2: client.js BASE CA UPLOAD PARALLEL HEAD
'use strict';
const http2 = require('http2');
const fs = require('fs');
const crypto = require('crypto');

const [base, ca, upload, parallel, head] = process.argv.slice(2);
const { origin, pathname } = new URL(base);
// By itself it refuses streams of a session with more than 10 MB.
const session = http2.connect(origin, { ca: fs.readFileSync(ca), maxSessionMemory: 200 });
session.on('error', fail);

function fail(why) {
  console.error(why);
  process.exit(1);
}

function wants(what, got, want) {
  if (JSON.stringify(got) !== JSON.stringify(want)) fail(`${what}: ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
}

const hash = (b) => crypto.createHash('sha256').update(b).digest('hex');

// ask sends a request and returns its whole response.
function ask(path, fields = {}, content = null, trailers = null) {
  return new Promise((resolve, reject) => {
    const s = session.request({ ':path': pathname + path, ...fields }, { endStream: content === null, waitForTrailers: trailers !== null });
    const got = { content: [] };
    s.on('response', (f) => { got.status = f[':status']; });
    s.on('trailers', (f) => { got.trailers = f; });
    s.on('wantTrailers', () => s.sendTrailers(trailers));
    s.on('data', (b) => got.content.push(b));
    s.on('end', () => { got.content = Buffer.concat(got.content); resolve(got); });
    s.on('error', reject);
    if (content !== null) s.end(content);
  });
}

async function main() {
  let r = await ask('/hello');
  wants('GET', [r.status, r.content.toString().slice(0, 14)], [200, 'hello by HTTP/']);

  const content = fs.readFileSync(upload);
  r = await ask('/echo', { ':method': 'POST', trailer: 'check' }, content, { check: 'seen it' });
  wants('POST', [r.status, hash(r.content)], [200, hash(content)]);
  wants('trailers', [r.trailers.sum, r.trailers.seen], [hash(content), 'seen it']);

  const many = [];
  for (let i = 0; i < Number(parallel); i++) {
    const content = Buffer.alloc(1000 * i, i);
    many.push(ask('/echo', { ':method': 'POST' }, content).then((r) => wants(`request ${i} of many`, [r.status, hash(r.content)], [200, hash(content)])));
  }
  await Promise.all(many);

  r = await ask('/hello', { x: 'x'.repeat(Number(head)) });
  wants('a head that is too large', r.status, 431);

  await new Promise((resolve) => {
    const s = session.request({ ':path': pathname + '/endless' });
    let got = 0;
    s.on('data', (b) => {
      got += b.length;
      if (got > 1000000) s.close(http2.constants.NGHTTP2_CANCEL);
    });
    s.on('close', resolve);
  });
  r = await ask('/hello');
  wants('GET behind a response that was left', r.status, 200);
  session.close();
  console.log('all is well');
}

main().catch(fail);
