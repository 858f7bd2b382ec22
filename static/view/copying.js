// Texts to take along: a field with a button that copies it, and says so for eyes and ears.

import { h, setText } from './dom.js';
import { copy } from './text.js';

export function copyRow(text, label, id) {
  const field = h('input', { id, type: 'text', readOnly: true, value: text, 'aria-label': label, on: { focus: () => field.select() } });
  return h('div', { class: 'copy-row' }, field, copyButton(() => text));
}

/** The standing link that invites, or that of an invitation. */
export const linkOf = (code) => `${location.origin}/join/${code}`;

export const inviteRow = (code) => copyRow(linkOf(code), 'Invitation link', 'invite-link');

/** Copies what `text()` says then. */
export function copyButton(text, label = 'Copy') {
  const button = h('button', { type: 'button', class: 'button', 'aria-live': 'polite', on: { click: async () => {
    const done = await copy(text(), button.parentElement);
    setText(button, done ? 'Copied' : 'Select and copy it');
    setTimeout(() => setText(button, label), 2_000);
  } } }, label);
  return button;
}
