// Dialogs: a change of an endpoint, which is asked for twice, and the token.

import { h, text, mono } from './dom.js';
import { t } from './words.js';
import { store } from './store.js';
import { post, token } from './api.js';

const ends = ['10m', '30m', '2h', '24h', ''];

// open shows a dialog with a form; Esc and the button "cancel" close it, and the focus goes back.
// done gets the dialog; what it throws is shown.
function open(title, name, button, done, ...content) {
	const failed = h('p', { class: 'error', role: 'alert' });
	const dialog = h('dialog', { class: name, 'aria-labelledby': 'dialog-title', onclose: () => dialog.remove() }, h('h2', { id: 'dialog-title' }, title),
		h('form', { onsubmit: async (e) => {
			e.preventDefault();
			button.disabled = true;
			await done().then(() => dialog.close(), (problem) => text(failed, problem.message));
			button.disabled = false;
		} }, ...content, failed, h('p', { class: 'buttons' }, h('button', { type: 'button', onclick: () => dialog.close() }, t('cancel')), button)));
	document.body.append(dialog);
	dialog.showModal();
}

const row = (label, input) => h('label', { class: 'field' }, h('span', {}, label), input);

// kindsFor are the changes that make sense for an endpoint as it is. A kind with "un" before it
// takes an override back.
export function kindsFor(e) {
	const has = (kind) => e.overrides.some((o) => o.kind === kind);
	return [has('drain') ? 'undrain' : 'drain', 'weight', has('weight') && 'unweight', e.word === 'ejected' ? 'admit' : 'eject'].filter(Boolean);
}

// changeDialog asks which of kinds to do with an endpoint, for how long and why, does it, and
// calls then.
export function changeDialog(service, endpoint, kinds, { chosen = kinds[0], weight = 1 }, then) {
	const heavy = h('input', { type: 'number', min: '0.01', max: '1000', step: 'any', value: String(weight) });
	const during = h('select', {}, ends.map((v) => h('option', { value: v, selected: v === '30m' }, t('for.' + (v || 'ever')))));
	const why = h('input', { maxlength: '500', autocomplete: 'off' });
	const means = h('p', { class: 'means' }), button = h('button', { class: 'primary' });
	const rows = [row(t('col.weight'), heavy), row(t('for'), during), row(t('col.why'), why)];
	const show = () => {
		rows[0].hidden = chosen !== 'weight';
		rows[1].hidden = chosen === 'admit' || chosen.startsWith('un');
		rows[2].hidden = chosen.startsWith('un');
		text(means, t('means.' + chosen));
		text(button, t('do.' + chosen));
	};
	show();
	const send = async () => {
		const path = `services/${encodeURIComponent(service)}/endpoints/${encodeURIComponent(endpoint)}/override`, { generation } = store.overview;
		if (chosen.startsWith('un')) await post(`${path}?kind=${chosen.slice(2)}`, undefined, generation, 'DELETE');
		else {
			await post(path, {
				kind: chosen, weight: chosen === 'weight' ? Number(heavy.value) : undefined,
				for: chosen !== 'admit' && during.value || undefined, why: why.value || undefined,
			}, generation);
		}
		then?.();
	};
	open([service + ' ', mono(endpoint)], 'change', button, send, h('fieldset', { class: 'kinds' }, h('legend', { class: 'sr' }, t('change')),
		kinds.map((k) => h('label', {}, h('input', { type: 'radio', name: 'kind', value: k, checked: k === chosen, onchange: () => { chosen = k; show(); } }), t('do.' + k)))),
	means, rows);
}

// tokenDialog asks for the token, and calls then when one was given.
export function tokenDialog(message, then) {
	if (document.querySelector('dialog.token')) return;
	const input = h('input', { type: 'password', autocomplete: 'current-password', required: true });
	open(t('token'), 'token', h('button', { class: 'primary' }, t('token.use')), async () => { token.set(input.value.trim()); setTimeout(then); },
		h('p', {}, token.get() ? t('token.wrong') : t('token.needed')), row(t('token'), input), h('p', { class: 'muted small' }, message));
	input.focus();
}
