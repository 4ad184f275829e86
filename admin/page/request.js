// The tab that explains a request: what the proxy would do with it. Nothing is sent to an endpoint.

import { h, text, glyph } from './dom.js';
import { question } from './api.js';
import { stateWord, share } from './draw.js';
import { t, said, percent, number, latency } from './words.js';

const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

export class TryRequest {
  constructor() {
    this.method = h('select', { 'aria-label': t('request.method') }, methods.map((m) => h('option', {}, m)));
    this.url = h('input', { type: 'text', class: 'mono', required: true, spellcheck: 'false', autocomplete: 'off', value: '/', placeholder: 'https://api.example.com/v1/users/42', 'aria-label': t('request.url') });
    this.fields = h('textarea', { class: 'mono', rows: '2', spellcheck: 'false', placeholder: 'X-User-Id: 7', 'aria-label': t('request.fields') });
    this.answer = h('div', { class: 'explained', 'aria-busy': 'false' }, h('p', { class: 'empty' }, t('request.hint')));
    this.el = h('div', { class: 'card' }, h('form', { class: 'request', onsubmit: (e) => { e.preventDefault(); this.explain(); } },
      h('div', { class: 'line' }, this.method, this.url, h('button', { class: 'primary' }, t('request.explain'))), this.fields), this.answer);
  }

  async explain() {
    const fields = this.fields.value.split('\n').filter((l) => l.includes(':')).map((l) => {
      const at = l.indexOf(':', 1);
      return { name: l.slice(0, at).trim(), value: l.slice(at + 1).trim() };
    });
    try {
      const e = await question('explain', { method: this.method.value, url: this.url.value.trim(), fields });
      this.answer.replaceChildren(...explained(e));
    } catch (e) {
      this.answer.replaceChildren(h('p', { class: 'empty', role: 'alert' }, e.status === 404 ? t('request.missing') : e.message));
    }
  }

  render() {}
}

const part = (title, ...content) => h('section', {}, h('h3', {}, title), ...content);
const place = (p) => p && h('span', { class: 'mono small muted place' }, p);

// table is a table that never changes.
const table = (caption, heads, rows) => h('table', { role: 'table' }, h('caption', { class: 'sr' }, caption),
  h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, heads.map((w) => h('th', { scope: 'col', role: 'columnheader' }, w)))),
  h('tbody', { role: 'rowgroup' }, rows.map((r) => h('tr', { role: 'row' }, r.map((c, i) => h('td', { role: 'cell', 'data-label': heads[i] }, c))))));

// explained are the parts of an explanation that are known here; all of it is below, as JSON.
function explained(e) {
  const parts = [];
  if (e.path) parts.push(part(t('x.path'), h('p', { class: 'mono' }, e.path.normal || e.path.raw || String(e.path))));
  if (e.reply) parts.push(part(t('x.reply'), h('p', {}, h('b', { class: 'num' }, e.reply.status + ' '), e.reply.message || '', ' ', h('span', { class: 'tag' }, e.reply.reason || '')), e.reply.cause && h('p', { class: 'muted' }, e.reply.cause)));
  if (e.routes?.length) {
    parts.push(part(t('x.routes'), h('ul', { class: 'tried' }, e.routes.map((r) => h('li', { class: r.taken ? 'taken' : '' },
      r.taken ? glyph('ok', t('x.taken')) : glyph('ejected', t('x.not')), h('b', {}, r.name), r.leads && h('span', {}, '→ ' + r.leads), h('span', { class: 'muted' }, r.why || r.failed || ''), place(r.place)))),
    e.omitted ? h('p', { class: 'muted small' }, t('x.omitted', { n: number(e.omitted) })) : null));
  }
  if (e.forward) {
    parts.push(part(t('x.forward'), h('p', { class: 'mono' }, [e.forward.path, e.forward.query].filter(Boolean).join('?')),
      h('ul', { class: 'edits mono small' }, e.forward.host && h('li', {}, 'Host: ' + e.forward.host),
        (e.forward.edits || []).map((x) => h('li', {}, (x.do === 'add' ? '+ ' : '− ') + x.name + (x.value ? ': ' + x.value : ''))))));
  }
  if (e.service) parts.push(candidates(e.service));
  if (e.retry?.cases) parts.push(part(t('x.retry'), h('p', {}, e.retry.attempts, place(e.retry.place)), table(t('x.retry'), [t('x.failure'), t('x.again'), t('why')],
    e.retry.cases.map((c) => [c.failure, c.repeated ? glyph('ok', t('yes')) : glyph('ejected', t('no')), c.why || '']))));
  if (e.limits?.length) parts.push(part(t('x.limits'), table(t('x.limits'), [t('x.limit'), t('x.value'), t('x.means'), ''],
    e.limits.map((l) => [h('span', { class: 'mono' }, l.name), h('span', { class: 'num' }, l.value), l.means || '', place(l.place) || '']))));
  for (const n of e.notes || []) parts.push(h('p', { class: 'muted' }, n));
  return [...parts, h('details', {}, h('summary', {}, 'JSON'), h('pre', { tabindex: '0' }, JSON.stringify(e, null, 2)))];
}

function candidates(s) {
  const key = s.hash_key, fair = Math.max(0, ...(s.candidates || []).map((c) => c.expected || 0));
  const rows = (s.candidates || []).map((c) => {
    const bar = h('span', { class: 'at' });
    share(bar, c.share || 0, c.expected || 0, fair);
    return [h('span', { class: 'mono' }, c.id), h('span', { class: 'word ' + c.state }, glyph(c.state), said('state.' + c.state, c.state), c.for ? ' ' + c.for : ''),
      h('span', { class: 'num' }, String(c.weight)), h('span', { class: 'num' }, number(c.in_flight)), h('span', { class: 'num' }, latency((c.latency_ms || 0) / 1000)),
      h('span', { class: 'shares' }, h('span', { class: 'num' }, percent(c.share || 0, 1)), bar)];
  });
  return part(t('x.candidates', { service: s.name, policy: s.policy, draws: number(s.draws || 0) }),
    key && h('p', {}, t('x.key', { from: key.from, value: key.value || '–', owner: key.owner || '–', serves: key.serves || '–' })), place(s.place),
    table(t('col.endpoints'), ['endpoint', 'state', 'weight', 'inflight', 'latency', 'share'].map((c) => t('col.' + c)), rows));
}
