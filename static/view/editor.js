// The editor within a message: keeps its writer's text through refusals and conflicts.

import { h, setText } from './dom.js';

export class Editor {
  constructor(edit, act) {
    this.area = h('textarea', { value: edit.text, rows: 1, 'aria-label': 'Edit message', on: {
      input: () => {
        this.#fit();
        act({ typed: this.area.value });
      },
      keydown: (event) => this.#key(event, act),
    } });
    this.note = h('p', { class: 'editor-note', role: 'alert' });
    this.save = h('button', { type: 'button', class: 'button small primary', on: { click: () => this.#submit(act) } }, 'Save');
    this.el = h('div', { class: 'editor' }, this.note, this.area,
      h('div', { class: 'editor-actions' }, this.save,
        h('button', { type: 'button', class: 'button small', on: { click: () => act('edit-cancel') } }, 'Cancel'),
        h('span', { class: 'hint' }, 'Enter saves, Esc cancels')));
    this.update(edit);
    requestAnimationFrame(() => this.#fit());
  }

  update({ state, reason }) {
    if (reason && this.note.textContent !== reason) requestAnimationFrame(() => this.area.focus());
    setText(this.note, reason ?? '');
    setText(this.save, state === 'conflict' ? 'Save mine' : 'Save');
  }

  #key(event, act) {
    if (event.key === 'Escape') {
      event.preventDefault();
      event.stopPropagation();
      act('edit-cancel');
    } else if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.#submit(act);
    }
  }

  #submit(act) {
    const text = this.area.value.trim();
    if (text) act({ save: text });
  }

  #fit() {
    this.area.style.height = 'auto';
    this.area.style.height = `${this.area.scrollHeight + 2}px`;
  }
}
