// The drawings of the page: sparkline, bar of states, share, ring, timeline of health. Colours come
// from the style sheet by class; each drawing has its meaning in words beside it or as its label.

import { h, s, attr, glyph, once, text } from './dom.js';
import { bins, now } from './store.js';
import { t, span, rate, number, percent } from './words.js';

// order is that of states in bars and chips: what is well first.
export const order = ['healthy', 'probing', 'half-open', 'held', 'damped', 'draining', 'out', 'ejected'];

export const stateWord = (word) => t('state.' + word);

// count counts words of states.
export const count = (words) => order.map((w) => [w, words.filter((x) => x === w).length]).filter(([, n]) => n);

// sparkline draws requests a second of five minutes, and on top those that failed.
export function sparkline(el, points, wide = 120, high = 22) {
	if (!el.firstChild) {
		el.append(s('svg', { class: 'spark', viewBox: `0 0 ${wide} ${high}`, preserveAspectRatio: 'none', role: 'img' },
			['area', 'line', 'bad'].map((name) => s('path', { class: name }))));
	}
	const last = points.at(-1)?.at, most = Math.max(0, ...points.map((p) => p.rps / p.n));
	const x = (p) => (wide * (p.at - last + bins - 1) / (bins - 1)).toFixed(1);
	const y = (v) => (high - 1 - (high - 3) * (v / most || 0)).toFixed(1);
	const line = points.map((p) => x(p) + ' ' + y(p.rps / p.n)).join('L');
	const [area, stroke, bad] = el.firstChild.children;
	attr(stroke, 'd', line && 'M' + line);
	attr(area, 'd', line && `M${line}L${wide} ${high}L${x(points[0])} ${high}Z`);
	attr(bad, 'd', points.filter((p) => p.errors).map((p) => `M${x(p)} ${high}V${Math.min(y(p.errors / p.n), high - 2)}`).join(''));
	attr(el.firstChild, 'aria-label', t('spark.label', { most: rate(most) }));
}

// states shows the endpoints of a service: few as signs, many as a bar; and how many are usable.
export function states(el, words) {
	once(el, words.join(), () => {
		const counts = count(words), well = words.filter((w) => w === 'healthy' || w === 'held').length;
		const bar = words.length > 10 && h('span', { class: 'bar' }, counts.map(([w]) => h('i', { class: w })));
		if (bar) counts.forEach(([, n], i) => bar.children[i].style.setProperty('flex-grow', n));
		return [bar || h('span', { class: 'signs' }, words.map((w) => glyph(w))),
			h('span', { class: 'num' }, t('of', { n: number(well), all: number(words.length) })),
			h('span', { class: 'muted small' }, counts.filter(([w]) => w !== 'healthy').map(([w, n]) => number(n) + ' ' + stateWord(w)).join(' · '))];
	});
}

// share is a part of all, as a number and as a bar, beside the part that is expected: the mark in
// the bar. The full width is twice the largest expected part, most: differences are seen with 2
// endpoints and with 1,000.
export function share(el, got, expected, most) {
	if (!el.firstChild) {
		el.append(h('span', { class: 'num' }), h('span', { class: 'share', 'aria-hidden': 'true' }, h('i'), h('b')), h('span', { class: 'num muted' }));
	}
	const [part, bar, fair] = el.children, digits = Math.max(got, expected) < 0.0995 ? 1 : 0, full = Math.min(1, 2 * most || 1);
	text(part, percent(got, digits));
	text(fair, percent(expected, digits));
	bar.style.setProperty('--got', Math.min(100, 100 * got / full) + '%');
	bar.style.setProperty('--fair', 100 * expected / full + '%');
	bar.lastChild.hidden = !expected;
}

// ring draws the key space of consistent hashing as a circle: of each endpoint an arc, as long as
// the part of the keys that it serves.
export function ring(el, keys, name) {
	let at = 0;
	el.replaceChildren(s('svg', { class: 'ring', viewBox: '0 0 44 44', role: 'img', 'aria-label': t('ring.label') },
		keys.endpoints.map((e, i) => {
			const arc = s('circle', { cx: 22, cy: 22, r: 17, pathLength: 100, class: 'arc' + i % 3, 'stroke-dasharray': `${Math.max(0, 100 * e.served - 0.6)} 100`, 'stroke-dashoffset': -at },
				s('title', {}, `${name(e.endpoint)}  ${percent(e.served, 1)}`));
			at += 100 * e.served;
			return arc;
		})), h('p', { class: 'small muted' }, t('ring.about', { n: number(keys.sampled), away: percent(keys.away, 1) })));
}

const hour = 36e5;

// timeline draws the states of the last hour: low where it was healthy, high where it was ejected.
export function timeline(el, changes = []) {
	const until = Math.ceil(now() / 15e3) * 15e3, from = until - hour;
	once(el, until + ':' + changes.length + changes[0]?.at, () => {
		let out = 0;
		const parts = changes.map((c, i) => {
			const begin = Math.max(from, Date.parse(c.at)), end = i + 1 < changes.length ? Date.parse(changes[i + 1].at) : until;
			const high = { healthy: 5, ejected: 14 }[c.state] || 9;
			if (end <= from) return null;
			if (c.state === 'ejected') out += end - begin;
			return s('rect', { class: c.state, x: (begin - from) / 1e4, width: Math.max(1.5, (end - begin) / 1e4), y: 14 - high, height: high });
		});
		return s('svg', { class: 'timeline', viewBox: '0 0 360 14', preserveAspectRatio: 'none', role: 'img', 'aria-label': out ? t('timeline.out', { span: span(out) }) : t('timeline.well') },
			s('rect', { class: 'base', y: 13, width: 360, height: 1 }), parts);
	});
}
