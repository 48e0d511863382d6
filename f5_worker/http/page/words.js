// A text whose words are marked as they are heard.

/** Shows a text, and marks its words up to a moment of the audio. */
export class HeardWords {
  #pane;
  #rest; // the text node after the last known word
  #words = []; // {start_s, end_s, element}
  #current = -1;

  constructor(pane, text) {
    this.#pane = pane;
    this.#rest = document.createTextNode(text);
    pane.replaceChildren(this.#rest);
    pane.scrollTop = 0;
  }

  /** Take the times of the next words of the text. */
  add(words) {
    for (const { text, start_s, end_s } of words) {
      const at = this.#rest.data.indexOf(text);
      if (at < 0) continue;
      const word = at ? this.#rest.splitText(at) : this.#rest;
      this.#rest = word.splitText(text.length);
      const element = document.createElement("span");
      word.replaceWith(element);
      element.append(word);
      this.#words.push({ start_s, end_s, element });
    }
  }

  /** Mark the word that is heard at a time, and those before it. */
  show(time_s) {
    const index = this.#words.findLastIndex((word) => word.start_s <= time_s);
    if (index === this.#current) return;
    const [from, to] = [Math.min(index, this.#current), Math.max(index, this.#current)];
    for (let i = Math.max(from, 0); i <= to; i += 1) {
      this.#words[i].element.className = i < index ? "heard" : i === index ? "heard now" : "";
    }
    this.#current = index;
    if (index >= 0) this.#scrollTo(this.#words[index].element);
  }

  /** Mark all words as heard, none as the one being heard. */
  finish() {
    this.#words.forEach(({ element }) => { element.className = "heard"; });
    this.#current = this.#words.length;
  }

  #scrollTo(element) {
    const [pane, word] = [this.#pane.getBoundingClientRect(), element.getBoundingClientRect()];
    if (word.bottom > pane.bottom || word.top < pane.top) {
      this.#pane.scrollTop += word.top - pane.top - pane.height / 3;
    }
  }
}
