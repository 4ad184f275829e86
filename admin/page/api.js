// Requests to the admin API. The token, where one is needed, is kept for this tab only and sent as
// Bearer; there is no cookie that another page could use.

export const token = {
  get: () => sessionStorage.getItem('poise.token') || '',
  set: (value) => sessionStorage.setItem('poise.token', value),
};

// A Problem is an answer that says no; status 0: there was none.
export class Problem extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

// fields are the header fields of every request.
export function fields(more) {
  const all = { ...more };
  if (token.get()) all.Authorization = 'Bearer ' + token.get();
  return all;
}

// problem reads an answer that says no.
export async function problem(res) {
  let said = {};
  try { said = await res.json(); } catch { /* no JSON: the status says it */ }
  return new Problem(res.status, (said.message || res.status + ' ' + res.statusText) + (said.near ? ` (${said.near}?)` : ''));
}

// ask sends a request and returns its JSON, or throws a Problem.
export async function ask(path, options = {}) {
  let res;
  try {
    res = await fetch('api/v1/' + path, { cache: 'no-store', ...options, headers: fields(options.headers) });
  } catch (e) {
    throw new Problem(0, e.message);
  }
  if (!res.ok) throw await problem(res);
  const said = await res.text();
  return said ? JSON.parse(said) : null;
}

// change asks for a change of what generation shows. A change that was decided on an older
// configuration is refused by the proxy.
export function change(method, path, generation, body) {
  return ask(path, {
    method, body: body === undefined ? undefined : JSON.stringify(body),
    headers: { 'Poise-Admin': '1', 'Content-Type': 'application/json', ...(generation ? { 'If-Match': `"${generation}"` } : {}) },
  });
}

// question asks what changes nothing, by POST.
export const question = (path, body) => change('POST', path, 0, body);

// overridePath is where the override of an endpoint is set and removed.
export const overridePath = (service, label) =>
  `services/${encodeURIComponent(service)}/endpoints/${encodeURIComponent(label)}/override`;
