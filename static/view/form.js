// Forms that talk to the API: labelled fields, the reason of a refusal next to the field it names.

import { aboutField } from '../wording.js';
import { h, setText } from './dom.js';
import { refusalText } from './text.js';

const INPUTS = 'input, textarea, select';
let serial = 0;

/** A labelled input; with `multiline` one of several lines. */
export function field({ name, label, hint, multiline = false, ...rest }) {
  const id = `field-${name}-${++serial}`;
  const input = h(multiline ? 'textarea' : 'input', { id, name, 'aria-describedby': `${id}-note`, ...rest });
  // A form that is reset begins again with what it began with.
  input.defaultValue = input.value;
  return h('div', { class: 'field', dataset: { field: name } },
    h('label', { htmlFor: id }, label),
    input,
    h('p', { class: 'field-note', id: `${id}-note`, dataset: { hint: hint ?? '' } }, hint));
}

/** A labelled choice of `[value, text]`. */
export function choice({ name, label, hint, options, value }) {
  const id = `field-${name}-${++serial}`;
  const select = h('select', { id, name, 'aria-describedby': `${id}-note` }, options.map(([one, text]) => h('option', { value: String(one) }, text)));
  if (value !== undefined) select.value = String(value);
  return h('div', { class: 'field', dataset: { field: name } }, h('label', { htmlFor: id }, label), select,
    h('p', { class: 'field-note', id: `${id}-note`, dataset: { hint: hint ?? '' } }, hint));
}

/** `submit(values)` may throw a Refusal: it is shown at its `field`, else above the button. */
export function form({ fields, action, submit, extra = [], className = '' }) {
  const trouble = h('p', { class: 'form-error', role: 'alert' });
  const button = h('button', { type: 'submit', class: 'button primary' }, action);
  const element = h('form', { class: `form ${className}`, novalidate: true, method: 'post' }, fields, extra, trouble, button);
  element.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    clear(element, trouble);
    const missing = [...element.elements].find((input) => input.willValidate && !input.validity.valid);
    if (missing) {
      blame(element, missing.name, (missing.validity.patternMismatch && missing.title) || missing.validationMessage);
      missing.focus();
      return;
    }
    const pressed = document.activeElement;
    button.disabled = true;
    try {
      await submit(Object.fromEntries(new FormData(element)), element);
    } catch (error) {
      if (!(error.field && blame(element, error.field, error.message))) setText(trouble, refusalText(error));
      else element.elements[error.field]?.focus?.();
    } finally {
      button.disabled = false;
      // A button that couldn't be pressed for a while has lost the focus: whoever has no mouse goes on from where they were.
      if ([document.body, null].includes(document.activeElement) && element.contains(pressed)) pressed.focus();
    }
  });
  return element;
}

function blame(element, name, message) {
  const holder = element.querySelector(`[data-field="${CSS.escape(name)}"]`);
  if (!holder) return false;
  holder.classList.add('wrong');
  holder.querySelector(INPUTS)?.setAttribute('aria-invalid', 'true');
  setText(holder.querySelector('.field-note'), aboutField(message, name, holder.querySelector('label, legend')?.textContent));
  return true;
}

function clear(element, trouble) {
  setText(trouble, '');
  for (const holder of element.querySelectorAll('.field.wrong')) {
    holder.classList.remove('wrong');
    holder.querySelector(INPUTS)?.removeAttribute('aria-invalid');
    const note = holder.querySelector('.field-note');
    setText(note, note.dataset.hint);
  }
}
