// What can be done with a message: one menu for all of them.

import { shownBody } from '../store/changing.js';
import { isOpen } from '../store/answers.js';
import { ask } from './dialogs.js';
import { h, replace } from './dom.js';
import { copy } from './text.js';

export class MessageMenu {
  constructor(client, page) {
    Object.assign(this, { client, page });
    this.el = h('div', { id: 'menu', class: 'menu', role: 'menu', popover: 'auto', on: { keydown: (event) => this.#key(event) } });
    this.el.addEventListener('toggle', (event) => event.newState === 'closed' && this.button?.isConnected && this.button.closest('.message')?.focus({ preventScroll: true }));
  }

  open(button, row) {
    const { message, answer } = row;
    this.button = button;
    const body = shownBody(message, this.client.state.changes.find(({ message_id }) => message_id === message.id));
    const own = message.author.id === this.client.state.me.id;
    const item = (act, label, work, className = '') => h('button', { type: 'button', role: 'menuitem', class: className, dataset: { act }, on: { click: () => {
      this.button = null;
      this.el.hidePopover();
      work();
    } } }, label);
    replace(this.el,
      answer && !isOpen(answer) && answer.mayAsk && item('answer-again', 'Answer again', () => this.page.again(row)),
      own && item('edit', 'Edit', () => this.page.edit(message)),
      item('copy-text', 'Copy text', () => copy(body)),
      item('copy-link', 'Copy link', () => copy(`${location.origin}/rooms/${message.room_id}/@${message.id}`)),
      own && item('delete', 'Delete…', () => ask('Delete this message?', 'It goes away for everybody.', 'Delete', () => this.client.remove(message.room_id, message.id)), 'danger-text'));
    this.el.showPopover();
    const spot = button.getBoundingClientRect();
    const { offsetWidth, offsetHeight } = this.el;
    const below = spot.bottom + 4 + offsetHeight < innerHeight;
    this.el.style.left = `${Math.max(8, spot.right - offsetWidth)}px`;
    this.el.style.top = `${Math.max(8, below ? spot.bottom + 4 : spot.top - 4 - offsetHeight)}px`;
    this.el.firstElementChild.focus();
  }

  #key(event) {
    const items = [...this.el.children];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    items[(items.indexOf(document.activeElement) + step + items.length) % items.length].focus();
  }
}
