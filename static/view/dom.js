// Builds elements: text is always text, listeners are always functions, styles only by class or property.

const PROPERTIES = new Set(['value', 'checked', 'disabled', 'hidden', 'readOnly', 'required', 'autofocus', 'tabIndex', 'htmlFor', 'open', 'inert']);

/** `h('div', {class, dataset: {}, on: {event: listener}, …attributes}, ...children)`; null and false children are left out. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || name === 'style') continue;
    if (name === 'class') element.className = value;
    else if (name === 'dataset') Object.assign(element.dataset, value);
    else if (name === 'on') for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (PROPERTIES.has(name)) element[name] = value;
    else if (value !== false) element.setAttribute(name, value === true ? '' : value);
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) if (child !== null && child !== undefined && child !== false) element.append(child);
}

export function replace(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

/** Sets only what differs, so that live regions and focus are not disturbed. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttributes(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) element.removeAttribute(name);
    else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
  }
}

/** Makes the children of `parent` the elements of `items` by key: kept, moved, updated, made or removed. */
export function reconcile(parent, cache, items, make, update) {
  const keep = new Set(items.map(({ key }) => key));
  for (const [key, element] of cache) {
    if (keep.has(key)) continue;
    element.remove();
    cache.delete(key);
  }
  let place = parent.firstElementChild;
  for (const item of items) {
    let element = cache.get(item.key);
    if (!element) {
      element = make(item);
      cache.set(item.key, element);
    }
    update?.(element, item);
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
}

const PATHS = {
  menu: 'M4 7h16M4 12h16M4 17h16',
  plus: 'M12 5v14M5 12h14',
  send: 'M5 12h13M12 5l7 7-7 7',
  more: 'M6 12h.01M12 12h.01M18 12h.01',
  people: 'M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7ZM2.5 20a6.5 6.5 0 0 1 13 0M16 4.5a3.5 3.5 0 0 1 0 6.2M18 14.3a6.5 6.5 0 0 1 3.5 5.7',
  bot: 'M6 9h12a2 2 0 0 1 2 2v6a2 2 0 0 1-2 2H6a2 2 0 0 1-2-2v-6a2 2 0 0 1 2-2ZM12 9V5M9 14h.01M15 14h.01',
  search: 'M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13ZM15.5 15.5 20 20',
  lock: 'M7 11V8a5 5 0 0 1 10 0v3M6 11h12v9H6z',
  hash: 'M9 4 7 20M17 4l-2 16M4.5 9h16M3.5 15h16',
  out: 'M14 4h5v16h-5M10 8l-4 4 4 4M6 12h9',
  down: 'M12 5v14M5 12l7 7 7-7',
  close: 'M6 6l12 12M18 6 6 18',
  device: 'M4 5h16v11H4zM9 20h6M12 16v4',
  spark: 'M12 3c.6 5 3.4 7.8 9 9-5.6 1.2-8.4 4-9 9-.6-5-3.4-7.8-9-9 5.6-1.2 8.4-4 9-9Z',
  list: 'M9 6h11M9 12h11M9 18h11M4.5 6h.01M4.5 12h.01M4.5 18h.01',
  sliders: 'M5 8h8M17 8h2M5 16h2M11 16h8M13 8a2 2 0 1 0 4 0 2 2 0 0 0-4 0ZM7 16a2 2 0 1 0 4 0 2 2 0 0 0-4 0Z',
};

export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  for (const [key, value] of Object.entries({ viewBox: '0 0 24 24', class: 'icon', 'aria-hidden': 'true', focusable: 'false' })) svg.setAttribute(key, value);
  path.setAttribute('d', PATHS[name]);
  svg.append(path);
  return svg;
}

/** A round mark with initials; its hue follows the id, so a person keeps it everywhere. */
export function avatar(user, extra = '') {
  const initials = [...user.name.trim().split(/\s+/).map((word) => [...word][0] ?? '')].slice(0, 2).join('').toUpperCase();
  const element = h('span', { class: `avatar ${extra}`, 'aria-hidden': 'true' }, initials || '?');
  element.style.setProperty('--hue', String((user.id * 137) % 360));
  return element;
}
