// The page: what is wrong on top, tabs below, all of it live. Everything that is shown is in
// store.js, which the stream (live.js) fills; a view renders from it at most once a frame.

import { h, text, once, attr, glyph } from './dom.js';
import * as words from './words.js';
import { t, said, since, clock, number, listed } from './words.js';
import { store, now, means, problems, takeTick, takeEvent, takeOverview, forget } from './store.js';
import { Live } from './live.js';
import { ask } from './api.js';
import { tokenDialog } from './dialogs.js';
import { Services, Routes, Events, Overrides, Config } from './lists.js';
import { stateWord } from './draw.js';
import { Detail, Summary } from './service.js';
import { TryRequest } from './request.js';

const $ = (id) => document.getElementById(id);
const tabs = { services: Services, routes: Routes, events: Events, request: TryRequest, overrides: Overrides, config: Config };
const fewProblems = 4;

let view, summary, search = '', retryAt = 0, allProblems = false;

// --- what the stream says

const live = new Live({
	hello(o) { if (takeOverview(o)) live.again(); render(); },
	tick(tick) { takeTick(tick); render(); },
	event(e) {
		takeEvent(e);
		if (e.kind === 'config') ask('status').then(takeOverview, () => {}); // changes need its generation
		render();
	},
	state(connection, wait = 0, message = '') {
		Object.assign(store, { connection, message });
		retryAt = Date.now() + wait;
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

// --- what is shown

let wanted = false;

// render shows what is in the store, with the next frame.
function render() {
	if (!wanted) requestAnimationFrame(() => { wanted = false; draw(); });
	wanted = true;
}

function draw() {
	if (!view) return; // the words are not there yet
	about();
	wrong();
	summary.el.hidden = !!store.service; // the service shows its own
	summary.render(means(''));
	const n = store.tick?.overrides;
	text($('tabs').querySelector('[data-tab=overrides]'), t('tab.overrides') + (n ? ` (${n})` : ''));
	view?.render(search);
}

function about() {
	const o = store.overview, el = $('live'), n = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
	attr(el, 'class', store.connection);
	text(el.lastElementChild, t('live.' + store.connection, { n }));
	attr(el, 'title', store.message || null);
	if (!o) return;
	text($('about'), listed(t('generation', { n: o.generation }), t('applied', { at: clock(o.applied) }), o.origin,
		t('up', { span: since(o.started, now()) }), o.draining && stateWord('draining')));
	text($('version'), `Poise ${o.version} · ${o.go} · ${o.engine}`);
}

// wrong is the bar on top. Only changes of what is wrong are read out, not the time that passes.
function wrong() {
	const [list, spoken] = $('wrong').children, all = problems(), known = store.tick || store.overview;
	const shown = allProblems ? all : all.slice(0, fewProblems), title = (p) => said('p.' + p.kind, p.text, p);
	once(list, words.language + !!known + allProblems + all.length + JSON.stringify(shown), () => [
		shown.map((p) => h('li', { class: p.severity > 1 ? 'bad' : 'warn' }, glyph('warn', t('severity.' + p.severity)),
			p.service && h('a', { href: '#/services/' + encodeURIComponent(p.service) }, p.service), h('span', {}, title(p)),
			p.since && h('span', { class: 'muted', 'data-since': p.since }), h('span', { class: 'mono small muted' }, p.detail))),
		all.length > fewProblems && h('li', { class: 'rest' }, h('button', {
			'aria-expanded': String(allProblems), onclick: () => { allProblems = !allProblems; draw(); list.querySelector('button').focus(); },
		}, allProblems ? t('wrong.fewer') : t('wrong.more', { n: number(all.length - fewProblems) }))),
		known && !all.length && h('li', { class: 'well' }, glyph('ok'), t('wrong.none')),
	]);
	for (const el of list.querySelectorAll('[data-since]')) text(el, since(el.dataset.since, now()));
	if (known) text(spoken, all.slice(0, 5).map((p) => [p.service, title(p)].filter(Boolean).join(': ')).join('. ') || t('wrong.none'));
	document.title = (all.length ? `(${all.length}) ` : '') + 'Poise' + (store.overview?.origin ? ' · ' + store.overview.origin : '');
}

// --- where one is: #/services/users

const decoded = (part) => { try { return decodeURIComponent(part); } catch { return part; } };

function route() {
	const [, tab = '', second = ''] = location.hash.split('/'), here = tabs[tab] ? tab : 'services';
	const service = here === 'services' ? decoded(second) : '';
	view?.close?.();
	if (service !== store.service || !live.control) {
		store.service = service;
		forget();
		live.open(service);
	}
	view = service ? new Detail(service) : new tabs[here]();
	search = $('search').value = '';
	$('panel').replaceChildren(view.el);
	for (const a of $('tabs').children) attr(a, 'aria-current', a.dataset.tab === here ? 'page' : null);
	draw();
}

// --- language, theme

async function speak(language) {
	await words.load(language);
	words.fill(document);
	once($('tabs'), language, () => Object.keys(tabs).map((id) => h('a', { href: '#/' + id, 'data-tab': id }, t('tab.' + id))));
	summary = new Summary();
	$('totals').replaceChildren(summary.el);
	theme();
	route();
}

$('language').onclick = () => {
	localStorage.setItem('poise.language', words.language === 'en' ? 'zh' : 'en');
	speak(words.preferred());
};

const dark = matchMedia('(prefers-color-scheme: dark)');
const isDark = () => (localStorage.getItem('poise.theme') || (dark.matches ? 'dark' : 'light')) === 'dark';

function theme() {
	document.documentElement.dataset.theme = isDark() ? 'dark' : 'light';
	for (const name of ['title', 'aria-label']) attr($('theme'), name, t(isDark() ? 'theme.light' : 'theme.dark'));
}

$('theme').onclick = () => { localStorage.setItem('poise.theme', isDark() ? 'light' : 'dark'); theme(); };
dark.onchange = theme;

// --- keyboard

$('search').oninput = (e) => { search = e.target.value.trim().toLowerCase(); draw(); };

// move puts the focus on the next or previous row.
function move(by) {
	const rows = [...$('panel').querySelectorAll('tbody tr')], at = rows.indexOf(document.activeElement.closest('tr'));
	rows[at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + by))]?.focus();
}

// keys return true if the browser is not to do anything else.
const row = (e) => e.target.closest('tr');
const keys = {
	'/': () => { $('search').focus(); $('search').select(); return true; },
	j: () => { move(1); return true; }, k: () => { move(-1); return true; },
	ArrowDown: (e) => row(e) && keys.j(), ArrowUp: (e) => row(e) && keys.k(),
	d: (e) => row(e)?.change?.('drain'),
	Enter: (e) => { if (e.target === row(e)) e.target.querySelector('[data-main]')?.click(); },
	Escape: () => { if (store.service) location.hash = '#/services'; },
};

document.onkeydown = (e) => {
	if (e.ctrlKey || e.metaKey || e.altKey || document.querySelector('dialog[open]')) return;
	if (e.target.matches('input, textarea, select')) {
		if (e.key !== 'Escape') return;
		if (e.target === $('search') && search) { search = e.target.value = ''; draw(); } else e.target.blur();
		e.preventDefault();
	} else if (keys[e.key]?.(e)) e.preventDefault();
};

document.querySelector('.skip').onclick = (e) => { e.preventDefault(); $('panel').focus(); };
await speak(words.preferred());
window.onhashchange = () => { route(); $('panel').focus({ preventScroll: true }); };
setInterval(render, 1000); // times that pass, also while the connection is lost
