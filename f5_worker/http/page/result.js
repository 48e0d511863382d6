// What becomes of a request: its progress, the text as it is heard, and the files.
import { $, make, seconds, sentence } from "./dom.js";
import { HeardWords } from "./words.js";

let current = null;

/** One request's result. The panel shows the latest; what comes for an earlier one is dropped. */
export class Result {
  #player;
  #words;
  #urls = [];
  #isHeard = false;
  #isComplete = false;

  /** `player` is null where the audio comes at the end; `cancel` ends the request. */
  constructor(text, player, cancel) {
    current?.close();
    current = this;
    this.#player = player;
    this.#words = new HeardWords($("spoken"), text);
    $("result").hidden = false;
    $("spoken").hidden = !text;
    $("progress").hidden = false;
    $("progress").removeAttribute("value");
    $("pause").hidden = true;
    $("pause").textContent = "Pause";
    $("cancel").hidden = false;
    $("downloads").hidden = $("result-audio").hidden = true;
    $("result-audio").removeAttribute("src");
    $("warnings").replaceChildren();
    $("pause").onclick = async () => {
      await player.togglePause();
      $("pause").textContent = player.isPaused ? "Go on" : "Pause";
    };
    $("cancel").onclick = () => (this.#isComplete ? this.#offer() : cancel());
    this.say(player ? "Waiting for the first words …" : "Speaking the lines …");
    $("result").scrollIntoView({ block: "nearest" });
    requestAnimationFrame(() => this.#follow());
  }

  say(text) {
    if (current === this) $("result-status").textContent = text;
  }

  progress(share) {
    if (current === this) $("progress").value = share;
  }

  /** Take what is heard next. */
  chunk(samples, start_s, words) {
    if (current !== this) return;
    this.#isHeard = true;
    this.#player.add(samples, start_s);
    this.#words.add(words);
    $("pause").hidden = false;
    this.say("Speaking …");
  }

  /** Show the text and the times of its words, where they come at the end. */
  text(text, words) {
    if (current !== this) return;
    $("spoken").hidden = false;
    this.#words = new HeardWords($("spoken"), text);
    this.#words.add(words);
  }

  /** Offer the files by name, the audio first; wait until the audio has been heard. */
  async complete(files, response) {
    if (current !== this) return;
    this.#isComplete = true;
    $("progress").hidden = true;
    const rtf = response.metrics.rtf;
    const speed = rtf > 0 ? `, made at ${(1 / rtf).toFixed(1)} times real time` : "";
    this.say(`${seconds(response.audio.duration_s)} of speech${speed}.`);
    $("warnings").replaceChildren(...response.warnings.map((text) => make("li", { textContent: sentence(text) })));
    const links = Object.entries(files).map(([download, blob]) => make(
      "a", { className: "button", href: this.#url(blob), download, textContent: kind(download) },
    ));
    $("downloads").replaceChildren(make("span", { textContent: "Download" }), ...links);
    $("downloads").hidden = false;
    $("result-audio").src = links[0].href;
    await this.#player?.ended();
    if (current === this) this.#offer();
  }

  /** Show that the request was stopped here. */
  stop() {
    this.#end("Stopped.");
  }

  /** Show that the request failed; where nothing was heard, nothing is shown. */
  fail() {
    if (current === this) $("result").hidden = !this.#isHeard;
    this.#end("It broke off.");
  }

  close() {
    this.#player?.close();
    this.#urls.forEach((url) => URL.revokeObjectURL(url));
    current = null;
  }

  /** Leave the audio to the browser's own controls. */
  #offer() {
    if (this.#player) this.#words.finish();
    this.#player?.close();
    this.#player = null;
    $("result-audio").hidden = false;
    hideControls($("result-audio"));
  }

  #end(text) {
    if (current !== this) return;
    this.#player?.close();
    $("progress").hidden = true;
    hideControls($("start"));
    this.say(text);
  }

  #follow() {
    if (current !== this) return;
    const audio = $("result-audio");
    if (this.#player) this.#words.show(this.#player.position_s);
    else if (!audio.paused) this.#words.show(audio.currentTime);
    requestAnimationFrame(() => this.#follow());
  }

  #url(blob) {
    this.#urls.push(URL.createObjectURL(blob));
    return this.#urls.at(-1);
  }
}

/** Hide the buttons, and give the focus that one of them has to another element. */
function hideControls(next) {
  const buttons = [$("pause"), $("cancel")];
  const hadFocus = buttons.includes(document.activeElement);
  buttons.forEach((button) => { button.hidden = true; });
  if (hadFocus) next.focus();
}

const kind = (name) => name.split(".").pop().toUpperCase();
