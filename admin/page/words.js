// Words and numbers in the language of the page. The catalogues en.json and zh.json have the same
// keys (a test holds them to it); {name} in a text is replaced.

let catalogue = {};
export let language = 'en';

const known = ['en', 'zh'];

// preferred is the language that was chosen, or the first known one that the browser accepts.
export const preferred = () => [localStorage.getItem('poise.language') || '', ...navigator.languages]
	.map((l) => l.slice(0, 2).toLowerCase()).find((l) => known.includes(l)) || 'en';

// load makes a language the one of the page.
export async function load(name) {
	catalogue = await (await fetch(name + '.json')).json();
	language = name;
	document.documentElement.lang = name === 'zh' ? 'zh-CN' : name;
}

const filled = (said, values) => said.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);

// t is the text of a key.
export const t = (key, values = {}) => filled(catalogue[key] ?? key, values);

// said is the text of what the proxy has named and said in English, which begins as a sentence.
export const said = (key, english, values = {}) => filled(catalogue[key] ?? english[0].toUpperCase() + english.slice(1), values);

// fill sets what elements that name a key in data-t say, or their attribute that data-to names.
export function fill(root) {
	for (const el of root.querySelectorAll('[data-t]')) {
		if (el.dataset.to) el.setAttribute(el.dataset.to, t(el.dataset.t));
		else el.textContent = t(el.dataset.t);
	}
}

// listed is what there is of some words, with points between.
export const listed = (...words) => words.flat().filter(Boolean).join(' · ');

const formats = {};

// number is n with that many digits after the point.
export function number(n, digits = 0) {
	const format = formats[language + digits] ??= new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits });
	return format.format(n);
}

// rate is a number per second: small ones with a digit more.
export const rate = (n) => number(n, n > 0 && n < 9.95 ? 1 : 0);

// percent is a part of 1.
export const percent = (part, digits = 0) => number(part * 100, digits) + '\u00a0%';

// latency is a time in seconds as ms or s; 0: none was measured.
export function latency(seconds) {
	if (!(seconds >= 5e-6)) return '–';
	const long = seconds >= 0.9995, n = long ? seconds : seconds * 1000;
	return number(n, n < 0.95 ? 2 : n < 9.95 ? 1 : 0) + (long ? '\u00a0s' : '\u00a0ms');
}

const units = { d: 864e5, h: 36e5, m: 6e4, s: 1e3 };

// span is a time in ms, for people: its largest unit, and hours or minutes below a few days or hours.
export function span(ms) {
	const [[unit, size], next] = Object.entries(units).filter(([, size]) => ms >= size || size === 1e3);
	const n = Math.max(0, Math.floor(ms / size)), rest = size > 6e4 && n < 10 ? Math.floor(ms % size / next[1]) : 0;
	return t('unit.' + unit, { n }) + (rest ? ' ' + t('unit.' + next[0], { n: rest }) : '');
}

// since is the span from a time of the proxy to another, in ms.
export const since = (at, now) => span(Math.max(0, now - Date.parse(at)));

// clock is the time of day, with the day if that is another.
export function clock(at) {
	const d = new Date(at), time = d.toLocaleTimeString('en-GB');
	return d.toDateString() === new Date().toDateString() ? time : d.toLocaleDateString(language, { month: 'short', day: 'numeric' }) + ' ' + time;
}
