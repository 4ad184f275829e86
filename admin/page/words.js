// Words and numbers in the language of the page. The catalogues en.json and zh.json have the same
// keys (a test holds them to it); {name} in a text is replaced.

let catalogue = {};
export let language = 'en';

// known are the languages of the page.
export const known = ['en', 'zh'];

// preferred is the language that was chosen, or the first known one that the browser accepts.
export function preferred() {
  const kept = localStorage.getItem('poise.language');
  const all = kept ? [kept, ...navigator.languages] : navigator.languages;
  return all.map((l) => l.slice(0, 2).toLowerCase()).find((l) => known.includes(l)) || 'en';
}

// load makes a language the one of the page.
export async function load(name) {
  catalogue = await (await fetch(name + '.json')).json();
  language = name;
  document.documentElement.lang = name === 'zh' ? 'zh-CN' : name;
}

// t is the text of a key.
export function t(key, values) {
  const said = catalogue[key];
  if (said === undefined) return key;
  return values ? said.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all) : said;
}

// said is the text of a key that may be missing, such as one that the proxy has named.
export const said = (key, otherwise) => catalogue[key] ?? otherwise;

// fill sets the texts of elements that name their key.
export function fill(root) {
  for (const el of root.querySelectorAll('[data-t]')) el.textContent = t(el.dataset.t);
  for (const el of root.querySelectorAll('[data-t-label]')) el.setAttribute('aria-label', t(el.dataset.tLabel));
  for (const el of root.querySelectorAll('[data-t-placeholder]')) el.placeholder = t(el.dataset.tPlaceholder);
}

const formats = new Map();

// number is n with that many digits after the point.
export function number(n, digits = 0) {
  const key = language + digits;
  if (!formats.has(key)) {
    formats.set(key, new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  }
  return formats.get(key).format(n);
}

// rate is a number per second: small ones with a digit more.
export const rate = (n) => number(n, n > 0 && n < 9.95 ? 1 : 0);

// percent is a part of 1.
export const percent = (part, digits = 0) => number(part * 100, digits) + ' %';

// latency is a time in seconds as ms or s; 0: none was measured.
export function latency(seconds) {
  if (!seconds) return '–';
  const ms = seconds * 1000;
  if (ms < 0.95) return number(ms, 2) + ' ms';
  if (ms < 9.95) return number(ms, 1) + ' ms';
  return ms < 999.5 ? number(ms) + ' ms' : number(seconds, seconds < 9.95 ? 1 : 0) + ' s';
}

// span is a time in ms, for people: its largest unit, and the one below if that is near.
export function span(ms) {
  const units = [['d', 864e5], ['h', 36e5], ['m', 6e4], ['s', 1e3]];
  const i = units.findIndex(([, size]) => ms >= size);
  if (i < 0) return t('unit.s', { n: 0 });
  const n = Math.floor(ms / units[i][1]);
  const first = t('unit.' + units[i][0], { n });
  if (i >= 2 || n >= 10) return first;
  const rest = Math.floor((ms - n * units[i][1]) / units[i + 1][1]);
  return rest ? first + ' ' + t('unit.' + units[i + 1][0], { n: rest }) : first;
}

// clock is the time of day, with the day if that is another.
export function clock(at) {
  const d = new Date(at);
  const time = d.toLocaleTimeString('en-GB');
  return d.toDateString() === new Date().toDateString() ? time : d.toLocaleDateString(language, { month: 'short', day: 'numeric' }) + ' ' + time;
}
