// Remembers what is not yet acknowledged in IndexedDB, one record per user and tab, and adopts those of tabs that are gone.
// A write there is with the operating system once it is done, so it outlives a browser that is killed; localStorage lags by seconds.

import { uuid } from './uuid.js';

const TAB_KEY = 'hearth.tab';
const DATABASE = 'hearth';
const STORE = 'outbox';
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
  #open = openDatabase();
  #database = null;
  #restored = false;
  #closed = false;
  #entries = [];
  #release = null;
  #timer = null;

  constructor(userId) {
    this.prefix = `${userId}.`;
    this.key = this.prefix + this.#tab;
    this.#holdLock();
    this.#timer = setInterval(() => this.#entries.length && this.#write(), TOUCH_MS);
    // Another tab of this browser signed out: nothing of what is here may come back.
    this.channel = `hearth.outbox.${userId}`;
    this.others = new BroadcastChannel(this.channel);
    this.others.onmessage = () => this.stop();
  }

  /** Gives what this tab had before it was reloaded. Only then `save` writes: it would overwrite what isn't read yet. */
  async restore(take) {
    this.#database = await this.#open;
    const record = await this.#read(this.key);
    if (this.#closed) return;
    this.#restored = true;
    take(record?.entries ?? []);
    this.#write();
  }

  save(entries) {
    if (same(entries, this.#entries)) return;
    this.#entries = entries;
    this.#write();
  }

  /** Takes over what tabs left behind that are closed or crashed. `take` saves it here before it is removed there. */
  async adopt(take) {
    for (const key of await this.#keys()) {
      if (key === this.key || this.#closed) continue;
      const move = async (record) => {
        if (!record || this.#closed) return;
        take(record.entries);
        await this.#change((store) => store.delete(key));
      };
      if (navigator.locks) await navigator.locks.request(lockOf(key), { ifAvailable: true }, async (lock) => lock && move(await this.#read(key)));
      else {
        const record = await this.#read(key);
        if (Date.now() - (record?.touched ?? 0) > FRESH_MS) await move(record);
      }
    }
  }

  /** Signing out leaves nothing on a shared computer. */
  async forget() {
    this.stop();
    const others = new BroadcastChannel(this.channel);
    others.postMessage('forgotten');
    others.close();
    for (const key of await this.#keys()) await this.#change((store) => store.delete(key));
  }

  /** From here on nothing is written. */
  stop() {
    this.#closed = true;
    clearInterval(this.#timer);
    this.#release?.();
    this.others.close();
  }

  #write() {
    if (this.#closed || !this.#restored) return;
    const record = { touched: Date.now(), entries: this.#entries };
    this.#change((store) => (this.#entries.length ? store.put(record, this.key) : store.delete(this.key)));
  }

  async #keys() {
    const range = IDBKeyRange.bound(this.prefix, `${this.prefix}\uffff`);
    return (await this.#ask((store) => store.getAllKeys(range))) ?? [];
  }

  #read(key) {
    return this.#ask((store) => store.get(key));
  }

  #ask(question) {
    return new Promise((resolve) => {
      if (!this.#database) return resolve(undefined);
      const request = question(this.#database.transaction(STORE).objectStore(STORE));
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => resolve(undefined);
    });
  }

  /** Ends when it is written. A full or forbidden storage costs only the survival of a reload. */
  #change(change) {
    return new Promise((resolve) => {
      if (!this.#database) return resolve();
      const transaction = this.#database.transaction(STORE, 'readwrite');
      transaction.oncomplete = transaction.onabort = () => resolve();
      change(transaction.objectStore(STORE));
      // Not left to the end of the page, which may come before.
      transaction.commit();
    });
  }

  #holdLock() {
    navigator.locks?.request(lockOf(this.key), () => new Promise((resolve) => {
      this.#release = resolve;
      if (this.#closed) resolve();
    }));
  }
}

const lockOf = (key) => `hearth.outbox.${key}`;
const same = (one, other) => one.length === other.length && one.every((entry, index) => entry === other[index]);

function openDatabase() {
  return new Promise((resolve) => {
    try {
      const request = indexedDB.open(DATABASE, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(STORE);
      request.onsuccess = () => resolve(request.result);
      request.onerror = request.onblocked = () => resolve(null);
    } catch {
      resolve(null);
    }
  });
}
