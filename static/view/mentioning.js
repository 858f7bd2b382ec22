// The list of names that opens at an `@` in a text field: the focus stays in the text, the arrows move through the list.

import { addressable, completed, mentionAt, suggestions } from '../mentions.js';
import { avatar, h, replace, setAttributes, setText } from './dom.js';

export class Mentioning {
  #open = null;
  #closedAt = null;

  /** `room()` gives the state and the room that is written in; `typed()` follows what is put into the text. */
  constructor(area, { room, typed }) {
    Object.assign(this, { area, room, typed });
    this.list = h('ul', { id: 'mentions', class: 'mentions', role: 'listbox', 'aria-label': 'People and assistants', hidden: true });
    this.said = h('span', { class: 'visually-hidden', role: 'status' });
    this.el = h('div', { class: 'mentioning' }, this.list, this.said);
    setAttributes(area, { 'aria-autocomplete': 'list', 'aria-haspopup': 'listbox', 'aria-controls': 'mentions' });
    // The text keeps the focus while a name is pressed.
    this.list.addEventListener('pointerdown', (event) => event.preventDefault());
    this.list.addEventListener('click', (event) => {
      const at = [...this.list.children].indexOf(event.target.closest('[role=option]'));
      if (at >= 0) this.#take(at);
    });
    for (const type of ['click', 'keyup']) area.addEventListener(type, ({ key }) => (type === 'click' || key?.startsWith('Arrow') || key === 'Home' || key === 'End') && this.look());
    area.addEventListener('blur', () => this.leave());
  }

  /** Looks at what stands before the caret. */
  look() {
    const { value, selectionStart, selectionEnd } = this.area;
    const mention = selectionStart === selectionEnd ? mentionAt(value, selectionStart) : null;
    const { state, room } = this.room();
    const users = mention && mention.start !== this.#closedAt ? suggestions(addressable(state, room), mention.query) : [];
    if (!mention) this.#closedAt = null;
    if (!users.length) {
      this.close();
      return;
    }
    const same = this.#open && this.#open.users.length === users.length && users.every(({ id }, at) => id === this.#open.users[at].id);
    const active = same ? this.#open.active : 0;
    this.#open = { ...mention, users, active };
    if (!same) {
      replace(this.list, users.map((user, at) => h('li', { id: `mention-${at}`, role: 'option', dataset: { userId: user.id } },
        avatar(user, 'tiny'), h('span', { class: 'choice-name' }, user.name), (user.role === 'assistant' || user.role === 'bot') && h('span', { class: 'role' }, user.role))));
      setText(this.said, `${users.length} ${users.length === 1 ? 'name fits' : 'names fit'}`);
    }
    this.list.hidden = false;
    this.#mark();
  }

  close() {
    this.#open = null;
    this.list.hidden = true;
    setText(this.said, '');
    setAttributes(this.area, { 'aria-activedescendant': null });
  }

  /** Another text, or none: what was closed by hand is forgotten. */
  leave() {
    this.#closedAt = null;
    this.close();
  }

  /** Whether the key was for the list. */
  key(event) {
    if (!this.#open || event.isComposing) return false;
    const { users, active, start } = this.#open;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      this.#open.active = (active + step + users.length) % users.length;
      this.#mark();
    } else if ((event.key === 'Enter' && !event.shiftKey) || (event.key === 'Tab' && !event.shiftKey)) this.#take(active);
    else if (event.key === 'Escape') {
      this.#closedAt = start;
      this.close();
    } else return false;
    event.preventDefault();
    event.stopPropagation();
    return true;
  }

  #mark() {
    const { active } = this.#open;
    for (const [at, option] of [...this.list.children].entries()) {
      setAttributes(option, { 'aria-selected': String(at === active) });
      if (at === active) option.scrollIntoView({ block: 'nearest' });
    }
    setAttributes(this.area, { 'aria-activedescendant': `mention-${active}` });
  }

  #take(at) {
    const { start, users } = this.#open;
    const { text, caret } = completed(this.area.value, this.area.selectionStart, start, users[at].name);
    this.area.value = text;
    this.area.setSelectionRange(caret, caret);
    this.close();
    this.typed();
  }
}
