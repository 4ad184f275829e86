// Requests to the admin API. The token, where one is needed, is kept for this tab only and sent as
// Bearer; there is no cookie that another page could use.

export const token = {
	get: () => sessionStorage.getItem('poise.token') || '',
	set: (value) => sessionStorage.setItem('poise.token', value),
};

// A Problem is an answer that says no; status 0: there was none.
class Problem extends Error {
	constructor(status, message) { super(message); this.status = status; }
}

// send sends a request and returns the response, or throws a Problem.
export async function send(path, options = {}) {
	const headers = { ...options.headers };
	if (token.get()) headers.Authorization = 'Bearer ' + token.get();
	let res;
	try {
		res = await fetch('api/v1/' + path, { cache: 'no-store', ...options, headers });
	} catch (e) { throw new Problem(0, e.message); }
	if (res.ok) return res;
	const said = await res.json().catch(() => ({}));
	throw new Problem(res.status, (said.message || `${res.status} ${res.statusText}`) + (said.near ? ` (${said.near}?)` : ''));
}

// ask is send for an answer in JSON; null: the answer is empty.
export async function ask(path, options) {
	const text = await (await send(path, options)).text();
	return text ? JSON.parse(text) : null;
}

// post asks by another method than GET. A change names the generation that it was decided on: on
// another one the proxy refuses it.
export function post(path, body, generation, method = 'POST') {
	const headers = { 'Poise-Admin': '1', 'Content-Type': 'application/json' };
	if (generation) headers['If-Match'] = `"${generation}"`;
	return ask(path, { method, headers, body: JSON.stringify(body) });
}
