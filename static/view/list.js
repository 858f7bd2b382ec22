// The scrolling list of messages: keyed rows, an anchor that holds through every change, the bottom when one is at the bottom.

import { h, reconcile } from './dom.js';
import { makeRow, updateRow } from './message.js';

const BOTTOM_PX = 48;
const REACH_PX = 800;

export class MessageList {
  #cache = new Map();
  #rows = new Map();
  #anchor = null;
  #placed = false;
  #status = {};

  constructor(handlers) {
    this.handlers = handlers;
    this.atBottom = true;
    this.list = h('ol', { class: 'messages' });
    this.el = h('div', { class: 'scroller', tabIndex: 0, role: 'region', 'aria-label': 'Messages', on: {
      scroll: () => this.#scrolled(),
      click: (event) => this.#clicked(event),
      keydown: (event) => this.#key(event),
    } }, this.list);
    this.observer = new ResizeObserver(() => this.#hold());
    this.observer.observe(this.list);
    this.observer.observe(this.el);
  }

  close() {
    this.observer.disconnect();
  }

  get far() {
    return this.el.scrollHeight - this.el.scrollTop - this.el.clientHeight > this.el.clientHeight;
  }

  update(rows, status) {
    this.#status = status;
    const grew = rows.length && rows.at(-1).key !== this.lastKey && rows.at(-1).status === 'pending';
    this.#rows = new Map(rows.map((row) => [row.key, row]));
    reconcile(this.list, this.#cache, rows, makeRow, (element, row) => updateRow(element, row, (act) => this.handlers.onAct(act, this.#rows.get(row.key))));
    if (grew) this.atBottom = true;
    this.lastKey = rows.at(-1)?.key;
    if (!this.#placed && status.ready) this.#place();
    else this.#hold();
    this.#reach();
  }

  /** Where reading goes on: at the new messages if there are more than fit, else at the end. */
  #place() {
    this.#placed = true;
    this.el.scrollTop = this.el.scrollHeight;
    const line = this.#cache.get('line');
    if (line && line.offsetTop < this.el.scrollTop) this.el.scrollTop = Math.max(0, line.offsetTop - 80);
    this.#remember();
    this.handlers.onScroll(this.atBottom);
  }

  toBottom() {
    this.atBottom = true;
    this.#hold();
    this.#scrolled();
  }

  show(messageId) {
    const element = this.list.querySelector(`.message[data-id="${messageId}"]`);
    if (!element) return;
    this.#placed = true;
    element.scrollIntoView({ block: 'center' });
    element.classList.add('linked');
    element.focus({ preventScroll: true });
    setTimeout(() => element.classList.remove('linked'), 2_500);
    this.#remember();
    this.handlers.onScroll(this.atBottom);
  }

  focus(messageId) {
    this.list.querySelector(`.message[data-id="${messageId}"]`)?.focus({ preventScroll: true });
  }

  focusEditor(messageId) {
    const editor = this.list.querySelector(`.message[data-id="${messageId}"] .editor textarea`);
    editor?.focus();
    editor?.scrollIntoView({ block: 'nearest' });
  }

  #hold() {
    if (this.atBottom && !this.#status.newer) {
      this.el.scrollTop = this.el.scrollHeight;
      return;
    }
    const element = this.#anchor && this.#cache.get(this.#anchor.key);
    const moved = element ? this.#distance(element) - this.#anchor.distance : 0;
    if (Math.abs(moved) >= 1) this.el.scrollTop += moved;
  }

  #scrolled() {
    this.#remember();
    this.handlers.onScroll(this.atBottom);
    this.#reach();
  }

  #remember() {
    const { scrollTop, scrollHeight, clientHeight } = this.el;
    this.atBottom = scrollHeight - scrollTop - clientHeight < BOTTOM_PX;
    const { children } = this.list;
    let low = 0;
    let high = children.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (children[middle].offsetTop + children[middle].offsetHeight <= scrollTop) low = middle + 1;
      else high = middle;
    }
    // Only a message is a good anchor: days and lines come and go with the rows around them.
    while (low < children.length - 1 && !children[low].classList.contains('message')) low++;
    const element = children[low];
    this.#anchor = element ? { key: element.dataset.key, distance: this.#distance(element) } : null;
  }

  #distance(element) {
    return element.getBoundingClientRect().top - this.el.getBoundingClientRect().top;
  }

  #reach() {
    const { older, newer, loading, ready } = this.#status;
    if (!ready || loading || !this.#placed) return;
    const { scrollTop, scrollHeight, clientHeight } = this.el;
    if (older && scrollTop < REACH_PX) this.handlers.onOlder();
    else if (newer && scrollHeight - scrollTop - clientHeight < REACH_PX) this.handlers.onNewer();
  }

  #rowOf(target) {
    const element = target.closest('.message');
    return element ? this.#rows.get(element.dataset.key) : undefined;
  }

  #clicked(event) {
    const button = event.target.closest('button');
    const row = button && this.#rowOf(button);
    if (!row) return;
    if (button.classList.contains('message-menu')) this.handlers.onMenu(button, row);
    else if (button.dataset.act) this.handlers.onAct(button.dataset.act, row, button);
  }

  /** The list is one tab stop; the arrows walk through its messages, Enter opens what can be done with one. */
  #key(event) {
    if (event.target !== this.el && !event.target.classList.contains('message')) return;
    const focused = event.target.closest('.message');
    if (event.key === 'ArrowUp' || event.key === 'ArrowDown') {
      const all = [...this.list.querySelectorAll('.message')];
      const at = focused ? all.indexOf(focused) + (event.key === 'ArrowUp' ? -1 : 1) : all.length - 1;
      if (!all[at]) return;
      event.preventDefault();
      all[at].focus({ preventScroll: true });
      all[at].scrollIntoView({ block: 'nearest' });
    } else if (event.key === 'Enter' && focused) {
      event.preventDefault();
      const row = this.#rowOf(focused);
      const button = focused.querySelector('.message-menu');
      if (button && row.status === 'sent') this.handlers.onMenu(button, row);
    }
  }
}
