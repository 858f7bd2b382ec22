// Remembers unacknowledged posts in localStorage, one key per user and tab, and adopts those of tabs that are gone.

import { uuid } from './uuid.js';

const TAB_KEY = 'hearth.tab';
const FRESH_MS = 20_000;
const TOUCH_MS = 5_000;

/** The tab's name survives a reload but not the duplication of the tab: while the page lives it is kept out of sessionStorage. */
function tabName() {
  const name = sessionStorage.getItem(TAB_KEY) ?? uuid();
  sessionStorage.removeItem(TAB_KEY);
  addEventListener('pagehide', () => sessionStorage.setItem(TAB_KEY, name));
  addEventListener('pageshow', () => sessionStorage.removeItem(TAB_KEY));
  return name;
}

export class Outbox {
  #tab = tabName();
  #written = null;
  #release = null;
  #timer = null;

  constructor(userId) {
    this.prefix = `hearth.outbox.${userId}.`;
    this.key = this.prefix + this.#tab;
    this.#holdLock();
    this.#timer = setInterval(() => this.#written?.length && this.#write(this.#written), TOUCH_MS);
  }

  /** What this tab had before it was reloaded. */
  load() {
    return read(this.key);
  }

  save(entries) {
    if (entries === this.#written) return;
    this.#written = entries;
    this.#write(entries);
  }

  /** Takes over what tabs left behind that are closed or crashed. */
  async adopt() {
    const adopted = [];
    for (const key of Object.keys(localStorage)) {
      if (!key.startsWith(this.prefix) || key === this.key) continue;
      const take = () => {
        adopted.push(...read(key));
        localStorage.removeItem(key);
      };
      if (navigator.locks) await navigator.locks.request(key, { ifAvailable: true }, (lock) => { if (lock) take(); });
      else if (Date.now() - touchedAt(key) > FRESH_MS) take();
    }
    return adopted;
  }

  /** Signing out leaves nothing on a shared computer. */
  forget() {
    this.stop();
    for (const key of Object.keys(localStorage)) if (key.startsWith(this.prefix)) localStorage.removeItem(key);
  }

  stop() {
    clearInterval(this.#timer);
    this.#release?.();
  }

  #write(entries) {
    try {
      if (entries.length) localStorage.setItem(this.key, JSON.stringify({ touched: Date.now(), entries }));
      else localStorage.removeItem(this.key);
    } catch {
      // A full or forbidden storage costs only the survival of a reload.
    }
  }

  #holdLock() {
    navigator.locks?.request(this.key, () => new Promise((resolve) => { this.#release = resolve; }));
  }
}

function stored(key) {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? {};
  } catch {
    return {};
  }
}

const read = (key) => stored(key).entries ?? [];
const touchedAt = (key) => stored(key).touched ?? 0;
