// What several parts of the page share.

export const $ = (id) => document.getElementById(id);

/** Make an element with properties and children. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Return a reason or message of the server as a sentence. */
export function sentence(text) {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

/** Return seconds as people read them: 8.4 s, 2:05 min. */
export function seconds(value) {
  if (value < 60) return `${value.toFixed(1)} s`;
  const whole = Math.round(value);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")} min`;
}

/** Call `take` with the files that are dropped on an element. */
export function acceptDrops(element, take) {
  const mark = (isOver) => (event) => {
    event.preventDefault();
    element.classList.toggle("over", isOver);
  };
  element.addEventListener("dragover", mark(true));
  element.addEventListener("dragleave", mark(false));
  element.addEventListener("drop", (event) => {
    mark(false)(event);
    take([...event.dataTransfer.files]);
  });
}

/** Return the value of the radio button of that name that is chosen. */
export const chosen = (name) => document.querySelector(`input[name="${name}"]:checked`).value;
