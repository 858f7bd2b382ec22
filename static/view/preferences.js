// One's own wishes for the answers of assistants, saved by themselves while one writes.

import { h, setText } from './dom.js';
import { field } from './form.js';

const KEYS = ['language', 'instructions'];

export class PreferencesPanel {
  constructor(client) {
    this.client = client;
    this.note = h('p', { class: 'field-note pending', role: 'status' });
    this.form = h('form', { class: 'form', method: 'post', novalidate: true, on: { submit: (event) => event.preventDefault(), input: () => this.#written() } },
      field({ name: 'language', label: 'Language of answers', maxlength: 60, autocomplete: 'off', placeholder: 'That of the question' }),
      field({ name: 'instructions', label: 'What answers should be like', multiline: true, rows: 3, maxlength: 1_000, hint: 'For instance “Short, with an example”. Assistants see it with your questions, and nobody else.' }));
    this.el = h('section', { class: 'panel', id: 'preferences' }, h('h2', {}, 'Answers of assistants'), this.form, this.note);
  }

  opened() {
    this.client.preferences.learn();
  }

  update({ preferences }) {
    if (this.shown === preferences) return;
    this.shown = preferences;
    const { version, settings, draft, sent, trouble } = preferences;
    for (const key of KEYS) {
      const input = this.form.elements[key];
      const value = String((draft ?? settings).ai?.[key] ?? '');
      input.disabled = version === null;
      // Not under the hands of whoever writes: the draft is what stands there.
      if (input.value !== value && (draft === null || input !== document.activeElement)) input.value = value;
    }
    const pending = draft !== null || sent !== null;
    this.el.dataset.state = version === null ? 'unknown' : pending ? 'pending' : 'saved';
    setText(this.note, trouble ?? (version === null ? '' : pending ? 'Not saved yet…' : version > 0 ? 'Saved.' : ''));
    this.note.classList.toggle('form-error', Boolean(trouble));
  }

  #written() {
    const { settings } = this.client.state.preferences;
    const ai = Object.fromEntries(KEYS.map((key) => [key, this.form.elements[key].value.trim()]).filter(([, value]) => value));
    this.client.preferences.write({ ...settings, ai: { ...without(settings.ai ?? {}, KEYS), ...ai } });
  }
}

const without = (all, keys) => Object.fromEntries(Object.entries(all).filter(([key]) => !keys.includes(key)));
