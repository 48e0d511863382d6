// A clip that is recorded or dropped here, and the words in it.
import { call, form } from "./api.js";
import { $, acceptDrops } from "./dom.js";
import { Recording, whyNot } from "./recorder.js";
import { showReport } from "./report.js";
import { drawWave, readPeaks } from "./waveform.js";

const TEXT_FILE = /\.(srt|vtt|ass|ssa|ttml|dfxp|smi|sbv|lrc|csv|tsv|txt|json)$/i;

let clip = null; // the file
let peaks = null;
let report = null;
let recording = null;
let hasRecogniser = false;

/** Return the fields of a request that name this clip, or throw what is missing. */
export function clipFields() {
  const words = $("words").value.trim();
  if (recording !== null) throw new Error("Stop the recording first.");
  if (clip === null) throw new Error("Record a clip first, or choose a file.");
  if (!words && !hasRecogniser) throw new Error("Type the words spoken in the clip first.");
  return { "reference.audio": clip, "reference.transcript": words };
}

/** Say whether the words of a clip may be left out. */
export function setRecogniser(isThere) {
  hasRecogniser = isThere;
  $("words-hint").textContent = isThere
    ? "Exactly as spoken, or subtitles. Left empty, the worker listens and writes them."
    : "Exactly as spoken, or subtitles. The voice is learned from clip and words together.";
}

/** Show the clip's report and what can be done with it, or leave the place to a stored voice. */
export function showClip(isShown) {
  $("clip").hidden = !isShown;
  $("keep").hidden = !isShown || clip === null;
  if (isShown) showReport($("report"), report);
}

function takeFiles(files) {
  const subtitles = files.find((file) => TEXT_FILE.test(file.name) || file.type.startsWith("text/"));
  const sound = files.find((file) => file !== subtitles);
  return attempt(async () => {
    if (subtitles) $("words").value = await readText(subtitles);
    if (sound) await setClip(sound);
    await examine();
  });
}

async function readText(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const encoding = { "255,254": "utf-16le", "254,255": "utf-16be" }[bytes.slice(0, 2)] ?? "utf-8";
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    throw new Error(`${file.name} is not in UTF-8. Save it as UTF-8, or type the words.`);
  }
}

async function setClip(file) {
  [clip, report] = [file, null];
  showReport($("report"), null);
  URL.revokeObjectURL($("clip-audio").src);
  $("clip-audio").src = URL.createObjectURL(file);
  peaks = await readPeaks(file);
  $("clip-heard").hidden = false;
  $("wave").hidden = peaks === null;
  $("keep").hidden = $("clip").hidden;
  if (peaks !== null) drawWave($("wave"), peaks, null);
}

/** Ask the server what it makes of the clip, and show it. */
async function examine() {
  if (clip === null) return;
  const asked = { "reference.audio": clip, "reference.transcript": $("words").value.trim() };
  say("Checking the clip …");
  const answer = await call("v1/voices/report", { method: "POST", body: form(asked) });
  if (clip !== asked["reference.audio"] || $("words").value.trim() !== asked["reference.transcript"]) return;
  report = answer.report;
  const needsWords = !asked["reference.transcript"] && !hasRecogniser;
  say(needsWords ? "Now type the words spoken in the clip." : "");
  if (peaks !== null) drawWave($("wave"), peaks, usedPart());
  if (!$("clip").hidden) showReport($("report"), report);
}

/** Return the part that is cloned; null where no words belong to one. */
function usedPart() {
  if (report.chars_per_s === null) return null;
  const { clip_start_s: start_s, clip_s } = report;
  return { start_s, end_s: Math.min(start_s + clip_s, peaks.duration_s) }; // a clip may end in added silence
}

async function record() {
  if (recording !== null) return recording.stop();
  recording = await Recording.start();
  $("record").classList.add("running");
  $("level").hidden = false;
  say("Recording. Speak for 6 to 12 seconds, then press Stop.");
  showTime();
  const file = await recording.file;
  recording = null;
  $("record").classList.remove("running");
  $("record").lastElementChild.textContent = "Record again";
  $("level").hidden = true;
  await setClip(file);
  await examine();
}

function showTime() {
  if (recording === null) return;
  $("level").value = recording.level;
  const label = `Stop (${Math.floor(recording.seconds)} s)`;
  if ($("record").lastElementChild.textContent !== label) $("record").lastElementChild.textContent = label;
  requestAnimationFrame(showTime);
}

/** Do something, and say it where it fails. */
async function attempt(work, place = "clip-status") {
  try {
    await work();
  } catch (error) {
    const isRefused = error.name === "NotAllowedError";
    say(isRefused ? "The browser may not use the microphone. Allow it, or choose a file." : error.message, place);
  }
}

function say(text, place = "clip-status") {
  $(place).textContent = text;
}

/** Call `onKept` with the name of a voice that was stored. */
export function whenKept(onKept) {
  $("keep-form").addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(async () => {
      const { "reference.audio": audio, "reference.transcript": transcript } = clipFields();
      const name = $("keep-name").value;
      say("Storing the voice …", "keep-status");
      await call("v1/voices", { method: "POST", body: form({ name, audio, transcript, consent: $("consent").value }) });
      say("", "keep-status");
      await onKept(name);
    }, "keep-status");
  });
}

$("record").addEventListener("click", () => attempt(record));
$("clip-file").addEventListener("change", () => {
  takeFiles([...$("clip-file").files]);
  $("clip-file").value = ""; // so that the same file can be chosen again
});
$("words").addEventListener("change", () => attempt(examine));
$("use-example").addEventListener("click", () => {
  $("words").value = $("example").textContent.replace(/\s+/g, " ").trim();
  attempt(examine);
});
acceptDrops($("drop"), takeFiles);
if (whyNot() !== null) {
  $("record").disabled = true;
  say(whyNot());
}
