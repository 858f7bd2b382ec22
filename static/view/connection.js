// The state of the connection: seen at a glance, said once per change.

import { h, replace, setText } from './dom.js';

const WORDS = {
  connecting: 'Connecting…',
  connected: 'Connected',
  waiting: 'Reconnecting',
  offline: 'Offline',
  stopped: 'Disconnected',
};

const STOPPED = {
  4503: ['Too many open windows', 'Your account is connected from more than 20 places. Close some of them, then try again.'],
  4504: ['This page is out of step with the server', 'Reload to get its current version.'],
};

export class Connection {
  constructor(client) {
    this.client = client;
    this.text = h('span', { class: 'connection-text' });
    this.count = h('span', { 'aria-hidden': 'true', class: 'connection-count' });
    this.el = h('div', { id: 'connection', dataset: { state: 'connecting' } },
      h('span', { class: 'connection-dot', 'aria-hidden': 'true' }),
      h('span', { role: 'status' }, this.text), this.count);
    this.timer = setInterval(() => this.#tick(), 500);
  }

  close() {
    clearInterval(this.timer);
    this.dialog?.remove();
  }

  update({ connection }) {
    if (this.shown === connection) return;
    this.shown = connection;
    this.el.dataset.state = connection.state;
    setText(this.text, WORDS[connection.state]);
    this.el.title = WORDS[connection.state];
    this.#tick();
    if (connection.state === 'stopped' && connection.code > 4502) this.#explain(connection.code);
  }

  #tick() {
    const { state, retryAt } = this.shown ?? {};
    const seconds = Math.max(0, Math.ceil(((retryAt ?? 0) - Date.now()) / 1_000));
    setText(this.count, state === 'waiting' && seconds > 0 ? ` in ${seconds} s` : '');
  }

  #explain(code) {
    const [title, text] = STOPPED[code] ?? ['The server closed the connection', `It gave the code ${code} and asked not to come back by itself.`];
    this.dialog?.remove();
    this.dialog = h('dialog', { class: 'dialog', 'aria-labelledby': 'stopped-title', on: { close: () => again() } });
    // However it is closed, there is no other way back.
    const again = () => {
      this.dialog.remove();
      if (code === 4504) location.reload();
      else this.client.restart();
    };
    replace(this.dialog,
      h('h2', { id: 'stopped-title' }, title), h('p', {}, text),
      h('div', { class: 'dialog-actions' }, h('button', { type: 'button', class: 'button primary', on: { click: () => this.dialog.close() } }, code === 4504 ? 'Reload' : 'Try again')));
    document.body.append(this.dialog);
    this.dialog.showModal();
  }
}

