// The stream of the admin API, read by fetch: EventSource cannot send a token. A connection that
// is lost, or silent for longer than the proxy ever is, is made again after a growing wait, and
// goes on after the last event that was seen.

import { fields, problem } from './api.js';

const silence = 10e3; // ms; the proxy ticks each second
const waits = [500, 1000, 2000, 4000, 8000]; // ms

export class Live {
  // on has hello, tick and event, which get what was sent, and state('live' | 'lost' |
  // 'locked' | 'wait', ms, message).
  constructor(on) {
    this.on = on;
    this.last = 0; // ID of the last event
    this.service = '';
  }

  // open begins, or begins anew with the endpoints of another service.
  open(service) {
    this.service = service;
    this.close();
    const control = this.control = new AbortController();
    this.run(control.signal);
  }

  close() { this.control?.abort(); }

  // again forgets what was seen: the proxy is another process.
  again() { this.last = 0; this.open(this.service); }

  async run(signal) {
    for (let failures = 0; !signal.aborted; failures++) {
      let message = '';
      try {
        await this.read(signal, () => { failures = -1; });
      } catch (e) {
        if (e.status === 401) return signal.aborted || this.on.state('locked', 0, e.message);
        message = e.message;
      }
      if (signal.aborted) return;
      const wait = waits[Math.min(Math.max(failures, 0), waits.length - 1)];
      this.on.state('lost', wait, message);
      await pause(wait, signal);
    }
  }

  // read reads one connection until it ends.
  async read(signal, good) {
    const own = new AbortController();
    const stop = () => own.abort();
    signal.addEventListener('abort', stop, { once: true });
    let timer = setTimeout(stop, silence);
    try {
      const headers = fields({ Accept: 'text/event-stream' });
      if (this.last) headers['Last-Event-ID'] = String(this.last);
      const query = this.service ? '?service=' + encodeURIComponent(this.service) : '';
      const res = await fetch('api/v1/stream' + query, { headers, signal: own.signal, cache: 'no-store' });
      if (!res.ok) throw await problem(res);
      const reader = res.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = ''; ;) {
        const { value, done } = await reader.read();
        if (done || signal.aborted) return;
        clearTimeout(timer);
        timer = setTimeout(stop, silence);
        const parts = (rest + value).split('\n\n');
        rest = parts.pop();
        for (const part of parts) { if (!signal.aborted) this.take(part, good); }
      }
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
      own.abort();
    }
  }

  // take takes one event of the stream: lines of "name: value"; a comment has no name.
  take(part, good) {
    const got = {};
    for (const line of part.split('\n')) {
      const at = line.indexOf(': ');
      if (at > 0) got[line.slice(0, at)] = line.slice(at + 2);
    }
    if (got.id) this.last = Number(got.id);
    if (!got.data) return;
    if (got.event === 'hello') { good(); this.on.state('live'); }
    this.on[got.event]?.(JSON.parse(got.data));
  }
}

// pause waits, or until signal is aborted.
const pause = (ms, signal) => new Promise((done) => {
  const timer = setTimeout(done, ms);
  signal.addEventListener('abort', () => { clearTimeout(timer); done(); }, { once: true });
});
