// The page: what is wrong on top, five tabs below, all of it live. Everything that is shown is in
// store.js, which the stream (live.js) fills; a view renders from it at most once a frame.

import { h, text, once, attr, glyph } from './dom.js';
import * as words from './words.js';
import { t, said, span, clock, rate, latency, number } from './words.js';
import { store, now, means, historyOf, problems, takeTick, takeEvent, takeOverview, forget } from './store.js';
import { Live } from './live.js';
import { ask } from './api.js';
import { tokenDialog } from './change.js';
import { sparkline } from './draw.js';
import { Services, errors, linkTo } from './services.js';
import { Detail } from './detail.js';
import { Routes } from './routes.js';
import { Events } from './events.js';
import { TryRequest } from './request.js';
import { Config } from './config.js';

const $ = (id) => document.getElementById(id);
const tabs = { services: Services, routes: Routes, events: Events, request: TryRequest, config: Config };
const fewProblems = 4;

let view, tab = '', search = '', retryAt = 0, allProblems = false;

// --- what the stream says

const live = new Live({
  hello(o) {
    if (takeOverview(o)) live.again();
    render();
  },
  tick(tick) { takeTick(tick); render(); },
  event(e) {
    takeEvent(e);
    if (e.kind === 'config') refresh();
    render();
  },
  state(connection, wait, message) {
    store.connection = connection;
    store.message = message || '';
    retryAt = Date.now() + (wait || 0);
    if (connection === 'locked') unlock();
    render();
  },
});

// unlock asks for the token.
const unlock = () => tokenDialog(store.message, () => { live.open(store.service); route(); });

// What the connection does is a button, too: it connects at once, or asks for the token again.
$('live').onclick = () => {
  if (store.connection === 'locked') unlock();
  else if (store.connection === 'lost') live.open(store.service);
};

// refresh reads the overview, whose generation changes need.
async function refresh() {
  try { takeOverview(await ask('status')); render(); } catch { /* the stream says so */ }
}

// --- what is shown

let wanted = false;

// render shows what is in the store, with the next frame.
function render() {
  if (wanted) return;
  wanted = true;
  requestAnimationFrame(() => { wanted = false; draw(); });
}

function draw() {
  about();
  connection();
  wrong();
  totals();
  view?.render(search);
}

function about() {
  const o = store.overview;
  if (!o) return;
  text($('about'), [t('generation', { n: o.generation }), t('applied', { at: clock(o.applied) }) + (o.origin ? ' ' + t('from', { origin: o.origin }) : ''),
    t('up', { span: span(now() - Date.parse(o.started)) }), o.draining && t('draining.proxy')].filter(Boolean).join(' · '));
  text($('version'), `Poise ${o.version} · ${o.go} · ${t('engine', { engine: o.engine })}`);
}

function connection() {
  const el = $('live'), left = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
  attr(el, 'class', 'live ' + store.connection);
  text(el.lastElementChild, store.connection === 'lost' ? t('live.lost', { n: left }) : t('live.' + store.connection));
  attr(el, 'title', store.message || null);
}

// wrong is the bar on top. Only changes of what is wrong are read out, not the time that passes.
function wrong() {
  const el = $('wrong'), list = el.firstElementChild, all = problems();
  const known = store.tick || store.overview, shown = allProblems ? all : all.slice(0, fewProblems);
  const title = (p) => said('p.' + p.kind, p.text).replace(/\{(\w+)\}/g, (m, name) => typeof p[name] === 'number' ? number(p[name]) : p[name] ?? '');
  once(list, words.language + !!known + allProblems + JSON.stringify(shown) + all.length, () => !known ? [] : all.length ? [
    ...shown.map((p) => h('li', { class: p.severity > 1 ? 'bad' : 'warn' }, glyph('warn', t('severity.' + p.severity)),
      p.service && h('a', { href: linkTo(p.service) }, p.service), h('span', {}, title(p)),
      h('span', { class: 'since muted', 'data-since': p.since }), p.detail && h('span', { class: 'mono small muted' }, p.detail))),
    all.length > fewProblems && h('li', { class: 'rest' }, h('button', { class: 'quiet', 'aria-expanded': String(allProblems), onclick: () => { allProblems = !allProblems; draw(); el.querySelector('button').focus(); } },
      allProblems ? t('wrong.fewer') : t('wrong.more', { n: number(all.length - shown.length) }))),
  ] : [h('li', { class: 'well' }, glyph('ok'), h('span', {}, t('wrong.none')))]);
  for (const since of list.querySelectorAll('[data-since]')) text(since, t('for.span', { span: span(Math.max(0, now() - Date.parse(since.dataset.since))) }));
  if (known) text(el.lastElementChild, all.length ? all.map((p) => [p.service, title(p)].filter(Boolean).join(': ')).slice(0, 5).join('. ') : t('wrong.none'));
  document.title = (all.length ? `(${all.length}) ` : '') + 'Poise' + (store.overview?.origin ? ' · ' + store.overview.origin : '');
}

function totals() {
  const el = $('totals'), m = means('');
  once(el, words.language, () => [h('dl', { class: 'figures' }, ['rps', 'errors', 'p50', 'p99', 'inflight'].map((id) => h('div', {}, h('dt', {}, t('col.' + id)), h('dd', { class: 'num' }, '–')))), h('div', { class: 'big' })]);
  el.hidden = !!store.service; // the service shows its own
  if (!store.tick) return;
  const cells = el.querySelectorAll('dd');
  [rate(m.rps), '', latency(m.p50), latency(m.p99), number(m.inFlight)].forEach((v, i) => v && text(cells[i], v));
  errors(cells[1], m.errors, m.rps);
  sparkline(el.lastElementChild, historyOf('').points, 480, 36);
}

// --- where one is: #/services/users

const decoded = (part) => { try { return decodeURIComponent(part); } catch { return part; } };

function route() {
  const [first = '', second] = location.hash.replace(/^#\/?/, '').split('/');
  tab = tabs[first] ? first : 'services';
  const service = tab === 'services' && second ? decoded(second) : '';
  view?.close?.();
  if (service !== store.service || !live.control) {
    store.service = service;
    forget();
    live.open(service);
  }
  view = service ? new Detail(service) : new tabs[tab]();
  search = $('search').value = '';
  $('panel').replaceChildren(view.el);
  for (const a of $('tabs').children) attr(a, 'aria-current', a.dataset.tab === tab ? 'page' : null);
  draw();
}

// --- language, theme

async function speak(language) {
  await words.load(language);
  words.fill(document);
  text($('language'), language === 'en' ? '中文' : 'English');
  attr($('language'), 'lang', language === 'en' ? 'zh-CN' : 'en');
  once($('tabs'), language, () => Object.keys(tabs).map((id) => h('a', { href: '#/' + id, 'data-tab': id }, t('tab.' + id))));
  theme();
  route();
}

$('language').onclick = () => {
  const other = words.language === 'en' ? 'zh' : 'en';
  localStorage.setItem('poise.language', other);
  speak(other);
};

const dark = matchMedia('(prefers-color-scheme: dark)');
const isDark = () => (localStorage.getItem('poise.theme') || (dark.matches ? 'dark' : 'light')) === 'dark';

function theme() {
  document.documentElement.dataset.theme = isDark() ? 'dark' : 'light';
  text($('theme').lastElementChild, t(isDark() ? 'theme.light' : 'theme.dark'));
  attr($('theme'), 'title', t(isDark() ? 'theme.light' : 'theme.dark'));
}

$('theme').onclick = () => { localStorage.setItem('poise.theme', isDark() ? 'light' : 'dark'); theme(); };
dark.onchange = theme;

// --- keyboard

$('search').oninput = (e) => { search = e.target.value.trim().toLowerCase(); draw(); };

// move puts the focus on the next or previous row.
function move(by) {
  const rows = [...$('panel').querySelectorAll('tbody tr')];
  const at = rows.indexOf(document.activeElement.closest?.('tr'));
  const next = rows[at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + by))];
  next?.focus();
  next?.scrollIntoView({ block: 'nearest' });
}

const keys = {
  '/': () => { $('search').focus(); $('search').select(); },
  j: () => move(1), k: () => move(-1), ArrowDown: (e) => e.target.closest('tr') && move(1), ArrowUp: (e) => e.target.closest('tr') && move(-1),
  d: () => document.activeElement.closest('tr')?.drain?.(),
  Enter: (e) => e.target.tagName === 'TR' && e.target.querySelector('[data-main]')?.click(),
  Escape: () => { if (store.service) location.hash = '#/services'; },
};

document.onkeydown = (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || document.querySelector('dialog[open]')) return;
  if (e.target.matches('input, textarea, select')) {
    if (e.key !== 'Escape') return;
    if (e.target === $('search') && search) { search = e.target.value = ''; draw(); } else e.target.blur();
    e.preventDefault();
    return;
  }
  const key = keys[e.key];
  if (key && key(e) !== false) { if (e.key === '/' || e.key === 'j' || e.key === 'k' || e.key.startsWith('Arrow') && e.target.closest('tr')) e.preventDefault(); }
};

document.querySelector('.skip').onclick = (e) => { e.preventDefault(); $('panel').focus(); };
window.onhashchange = () => { route(); $('panel').focus({ preventScroll: true }); };
setInterval(render, 1000); // times that pass, also while the connection is lost
speak(words.preferred());
