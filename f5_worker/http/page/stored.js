// The voices that are stored on the server.
import { bytesOf, call } from "./api.js";
import { $, make } from "./dom.js";
import { showReport } from "./report.js";

let voices = [];

/** Fill the list of voices, and choose one of them. */
export async function loadVoices(name = $("voice").value) {
  ({ voices } = await call("v1/voices"));
  $("voice").replaceChildren(...voices.map((voice) => make("option", { value: voice.name, textContent: voice.name })));
  if (voices.some((voice) => voice.name === name)) $("voice").value = name;
  return voices.length;
}

/** Show what is known of the chosen voice. */
export async function showStored() {
  const name = $("voice").value;
  const voice = voices.find((each) => each.name === name);
  $("stored-audio").hidden = true;
  $("stored-audio").removeAttribute("src");
  $("delete").hidden = voice === undefined || voice.source === "model"; // which come with the model and stay
  $("listen").disabled = voice === undefined;
  showReport($("report"), null);
  if (voice === undefined) return;
  await attempt(async () => {
    const { report } = await call(`${address(name)}/report`);
    if ($("voice").value === name && !$("stored").hidden) showReport($("report"), report);
  });
}

async function listen() {
  const { voice } = await call(`${address($("voice").value)}?with_audio=true`);
  const audio = $("stored-audio");
  URL.revokeObjectURL(audio.src);
  audio.src = URL.createObjectURL(new Blob([bytesOf(voice.audio_base64)]));
  audio.hidden = false;
  await audio.play();
}

async function remove() {
  const name = $("voice").value;
  if (!confirm(`Delete the voice ${name}, its clip and all copies?`)) return;
  await call(address(name), { method: "DELETE" });
  await loadVoices();
  await showStored();
  $("stored-status").textContent = `${name} is deleted.`;
}

const address = (name) => `v1/voices/${encodeURIComponent(name)}`;

/** Do something, and say it where it fails. */
async function attempt(work) {
  $("stored-status").textContent = "";
  try {
    await work();
  } catch (error) {
    $("stored-status").textContent = error.message;
  }
}

$("voice").addEventListener("change", showStored);
$("listen").addEventListener("click", () => attempt(listen));
$("delete").addEventListener("click", () => attempt(remove));
