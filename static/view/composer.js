// Where one writes: Enter sends, Shift+Enter breaks the line, and nothing written gets lost.

import { h, icon, setAttributes, setText } from './dom.js';
import { Mentioning } from './mentioning.js';
import { roomTitle } from '../store/select.js';
import { aboutField } from '../wording.js';

const encoder = new TextEncoder();

export class Composer {
  #revision = null;

  constructor(client, page) {
    Object.assign(this, { client, page });
    this.area = h('textarea', { id: 'composer', name: 'body', rows: 1, 'aria-label': 'Message', 'aria-describedby': 'composer-note', autocomplete: 'off', enterkeyhint: 'send', on: {
      input: () => this.#typed(),
      keydown: (event) => this.#key(event),
      blur: () => client.typing.stop(),
    } });
    this.mentioning = new Mentioning(this.area, {
      room: () => ({ state: client.state, room: client.state.rooms[page.roomId] }),
      typed: () => this.#typed(),
    });
    this.note = h('p', { id: 'composer-note', role: 'alert' });
    this.button = h('button', { type: 'submit', class: 'send', 'aria-label': 'Send', title: 'Send' }, icon('send'));
    // Pressing the button must not take the focus, and on a phone the keyboard, from the text.
    this.button.addEventListener('pointerdown', (event) => event.preventDefault());
    this.el = h('form', { class: 'composer', method: 'post', on: { submit: (event) => this.#submit(event) } }, this.note, this.mentioning.el,
      h('div', { class: 'composer-box' }, this.area, this.button));
  }

  focus() {
    this.area.focus();
  }

  update(state) {
    const room = state.rooms[this.page.roomId];
    const draft = state.drafts[this.page.roomId];
    if (draft && draft.revision !== this.#revision) {
      this.#revision = draft.revision;
      if (this.area.value !== draft.text) {
        this.area.value = draft.text;
        this.#fit();
      }
      if (draft.reason) this.focus();
    }
    setText(this.note, this.excess ? `This is ${this.excess} bytes too long for one message.` : draft?.reason ? `Not sent: ${aboutField(draft.reason, 'body', 'The text')}` : '');
    const offline = state.connection.state !== 'connected' && state.epoch !== null;
    setAttributes(this.area, { placeholder: offline ? 'Sent once the connection is back' : `Message ${roomTitle(state, room)}` });
  }

  #typed() {
    const { value } = this.area;
    this.excess = this.#excessOf(value);
    this.client.store.dispatch({ type: 'draft/typed', room_id: this.page.roomId, text: value });
    this.client.typing.input(this.page.roomId, value);
    this.#fit();
    this.mentioning.look();
  }

  #excessOf(text) {
    return Math.max(0, encoder.encode(text.trim()).length - this.client.state.limits.body_bytes);
  }

  #key(event) {
    if (event.isComposing || this.mentioning.key(event)) return;
    if (event.key === 'Enter' && !event.shiftKey) this.#submit(event);
    else if (event.key === 'ArrowUp' && !this.area.value && this.page.editLast()) event.preventDefault();
  }

  #submit(event) {
    event.preventDefault();
    const text = this.area.value.trim();
    this.excess = this.#excessOf(text);
    if (!text || this.excess) {
      this.page.update(this.client.state);
      return;
    }
    this.area.value = '';
    this.mentioning.leave();
    this.#fit();
    this.client.post(this.page.roomId, text);
    this.focus();
  }

  #fit() {
    this.area.style.height = 'auto';
    this.area.style.height = this.area.value ? `${this.area.scrollHeight}px` : '';
  }
}
