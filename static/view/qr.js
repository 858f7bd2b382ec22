// A link that lets somebody in: its QR code, the link itself to copy, and how long it lasts.

import { api } from '../api.js';
import { copyRow } from './copying.js';
import { h, replace, setText } from './dom.js';
import { durationOf } from './text.js';

/** Each module of the code is as many pixels wide, so that all are alike. */
const PIXELS = 4;

/** Shows what `make()` answers: `{url, qr, expires_at}`. Nothing of a link that is over stays on the screen. */
export class LinkCard {
  #timer = null;

  constructor({ make, hint }) {
    Object.assign(this, { make, hint });
    this.picture = h('div', { class: 'qr-frame' });
    this.address = h('div', { class: 'qr-link' });
    this.left = h('p', { class: 'qr-left', id: 'link-left' });
    // Seconds that pass are for the eyes; that it is over is said.
    this.state = h('p', { class: 'qr-state', id: 'link-state', role: 'status' });
    this.again = h('button', { type: 'button', class: 'button', id: 'new-link', hidden: true, on: { click: () => this.renew() } }, 'Make a new one');
    this.el = h('div', { class: 'qr', id: 'link-card', dataset: { state: 'none' } }, this.state, this.picture, this.address, this.left, this.again);
  }

  async renew() {
    this.#stop();
    this.#end('waiting', 'Making a link…');
    this.again.hidden = true;
    try {
      const { url, qr, expires_at } = await this.make();
      this.#show(url, qr, Date.parse(expires_at));
    } catch (error) {
      this.#end('failed', error.message);
    }
  }

  /** Somebody came in by it. */
  used(text) {
    this.#end('used', text);
  }

  close() {
    this.#stop();
  }

  #show(url, qr, until) {
    this.el.dataset.state = 'open';
    setText(this.state, '');
    // As a picture nothing in it could run, or reach out.
    const side = PIXELS * (Number(/viewBox="0 0 (\d+)/.exec(qr)?.[1]) || 60);
    replace(this.picture, h('img', { id: 'qr', src: `data:image/svg+xml,${encodeURIComponent(qr)}`, alt: 'QR code of the link below', width: side, height: side }));
    replace(this.address, copyRow(url, 'Link', 'transfer-link'), h('p', { class: 'field-note' }, this.hint));
    this.again.hidden = false;
    // What was pressed for it is gone.
    if ([document.body, null].includes(document.activeElement)) this.address.querySelector('input').focus();
    const tick = () => {
      const left = until - api.now();
      if (left > 0) setText(this.left, `Valid for ${durationOf(left)}.`);
      else this.#end('over', 'This link has run out.');
    };
    this.#timer = setInterval(tick, 1_000);
    tick();
  }

  #end(state, text) {
    this.#stop();
    this.el.dataset.state = state;
    replace(this.picture);
    replace(this.address);
    setText(this.left, '');
    setText(this.state, text);
    this.again.hidden = false;
  }

  #stop() {
    clearInterval(this.#timer);
    this.#timer = null;
  }
}
