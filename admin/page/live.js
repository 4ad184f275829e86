// The stream of the admin API, read by fetch: EventSource cannot send a token. A connection that
// is lost, or silent for longer than the proxy ever is, is made again after a growing wait, and
// goes on after the last event that was seen.

import { send } from './api.js';

const silence = 10e3; // ms; the proxy ticks each second
const waits = [500, 1000, 2000, 4000, 8000]; // ms

export class Live {
	// on has hello, tick and event, which get what was sent, and state('live' | 'lost' | 'locked',
	// ms, message).
	constructor(on) {
		this.on = on;
		this.last = 0; // ID of the last event
	}

	// open begins, or begins anew with the endpoints of another service.
	open(service) {
		this.service = service;
		this.control?.abort();
		this.control = new AbortController();
		this.run(this.control.signal);
	}

	// again forgets what was seen: the proxy is another process.
	again() { this.last = 0; this.open(this.service); }

	async run(signal) {
		for (let failures = 0; ; failures++) {
			let message = '';
			try {
				await this.read(signal, () => { failures = 0; });
			} catch (e) {
				message = e.message;
				if (e.status === 401 && !signal.aborted) return this.on.state('locked', 0, message);
			}
			if (signal.aborted) return;
			const wait = waits[Math.min(failures, waits.length - 1)];
			this.on.state('lost', wait, message);
			await pause(wait, signal);
		}
	}

	// read reads one connection until it ends.
	async read(signal, good) {
		const own = new AbortController(), either = AbortSignal.any([signal, own.signal]);
		let timer;
		const heard = () => { clearTimeout(timer); timer = setTimeout(() => own.abort(), silence); };
		heard();
		try {
			const headers = { Accept: 'text/event-stream', ...(this.last && { 'Last-Event-ID': this.last }) };
			const res = await send('stream' + (this.service && '?service=' + encodeURIComponent(this.service)), { headers, signal: either });
			const reader = res.body.pipeThrough(new TextDecoderStream()).getReader();
			for (let rest = ''; ;) {
				const { value, done } = await reader.read();
				if (done || signal.aborted) return;
				heard();
				const parts = (rest + value).split('\n\n');
				rest = parts.pop();
				for (const part of parts) { if (!signal.aborted) this.take(part, good); }
			}
		} finally {
			clearTimeout(timer);
			own.abort();
		}
	}

	// take takes one event of the stream: lines of "name: value"; a comment has no name.
	take(part, good) {
		const got = Object.fromEntries(part.split('\n').map((line) => line.split(/: (.*)/)));
		if (got.id) this.last = Number(got.id);
		if (!got.data) return;
		if (got.event === 'hello') { good(); this.on.state('live'); }
		this.on[got.event]?.(JSON.parse(got.data));
	}
}

// pause waits, or until signal is aborted.
const pause = (ms, signal) => new Promise((done) => {
	setTimeout(done, ms);
	signal.addEventListener('abort', done, { once: true });
});
