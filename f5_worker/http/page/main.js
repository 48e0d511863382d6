// The page as a whole: which parts are shown, and the state of the server.
import { call } from "./api.js";
import { clipFields, setRecogniser, showClip, whenKept } from "./clip.js";
import { $, chosen, make, sentence } from "./dom.js";
import { loadVoices, showStored } from "./stored.js";
import { setUpWork } from "./work.js";

const POLL_MS = 2000;

function showSource() {
  const isClip = chosen("source") === "clip";
  $("stored").hidden = isClip;
  showClip(isClip);
  return isClip ? null : showStored();
}

function chooseSource(source) {
  document.querySelector(`input[name="source"][value="${source}"]`).checked = true;
  return showSource();
}

function showTask() {
  const isDub = chosen("task") === "dub";
  $("speak-fields").hidden = $("speed-field").hidden = $("keys").hidden = isDub;
  $("dub-fields").hidden = !isDub;
  $("start").textContent = isDub ? "Dub" : "Speak";
}

function voiceFields() {
  if (chosen("source") === "clip") return clipFields();
  if (!$("voice").value) throw new Error("There is no stored voice; make a new clip.");
  return { voice: $("voice").value };
}

function banner(text) {
  $("banner").textContent = text;
  $("banner").hidden = !text;
}

/** Wait for the model, and return the state of the server. */
async function ready() {
  for (;;) {
    try {
      const health = await call("health");
      if (health.status === "ok") return health;
      banner(sentence(health.reason));
    } catch (error) {
      banner(error.message);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function showHealth(health, speed = null) {
  const device = health.device === "cpu" ? "CPU" : health.device;
  const facts = [["Model", health.model], ["Runs on", `${device}, ${health.precision}`], ["Worker", health.version]];
  if (speed !== null) facts.splice(2, 0, ["Speed", `${speed} times real time`]);
  $("footer").replaceChildren(make("dl", {}, ...facts.map(([name, value]) => make(
    "div", {}, make("dt", { textContent: name }), make("dd", { textContent: value }),
  ))));
}

async function start() {
  const health = await ready();
  banner("");
  showHealth(health);
  setRecogniser(health.recogniser);
  $("model").append(...health.models.map((name) => make("option", { value: name, textContent: name })));
  $("model-field").hidden = health.models.length < 2;
  setUpWork(voiceFields, ({ rtf }) => showHealth(health, rtf > 0 ? (1 / rtf).toFixed(1) : null));
  whenKept(async (name) => {
    await loadVoices(name);
    await chooseSource("stored");
    $("stored-status").textContent = `${name} is stored.`;
  });
  try {
    await chooseSource((await loadVoices()) ? chosen("source") : "clip");
  } catch (error) {
    banner(error.message);
  }
}

document.querySelectorAll('input[name="source"]').forEach((input) => input.addEventListener("change", showSource));
document.querySelectorAll('input[name="task"]').forEach((input) => input.addEventListener("change", showTask));
showTask();
start();
