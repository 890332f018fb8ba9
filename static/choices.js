// Choosing one of several with the pointer or the arrow keys, as a group of radio buttons does.

/** Turns `group` (role="radiogroup") with buttons of role="radio" into one choice. */
export class Choice {
  /** @param {HTMLElement} group  @param {(button: HTMLElement) => void} onChoose */
  constructor(group, onChoose) {
    this.group = group;
    this.onChoose = onChoose;
    group.addEventListener("click", (event) => {
      const button = event.target.closest("[role=radio]");
      if (button) this.choose(button);
    });
    group.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const buttons = [...group.querySelectorAll("[role=radio]")];
      const at = buttons.indexOf(document.activeElement);
      if (!step || at < 0) return;
      event.preventDefault();
      const next = buttons[(at + step + buttons.length) % buttons.length];
      next.focus();
      this.choose(next);
    });
  }

  choose(button) {
    for (const other of this.group.querySelectorAll("[role=radio]")) {
      other.setAttribute("aria-checked", String(other === button));
      other.tabIndex = other === button ? 0 : -1;
    }
    button.scrollIntoView({ block: "nearest", inline: "nearest" });
    this.onChoose(button);
  }
}

/** A new element with attributes and children. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}
