// The requests: a text that is heard while it is spoken, or subtitles that become a track.
import { ApiError, bytesOf, events, form } from "./api.js";
import { $, acceptDrops, chosen } from "./dom.js";
import { StreamPlayer, wav } from "./player.js";
import { Result } from "./result.js";

const SAMPLE_RATE = 24000;
const CAPTIONS = { formats: ["srt", "ass"] };

let subtitles = null; // the file
let controller = null; // of the request that runs

/** Set up the form. `voice` returns the fields of the voice, or throws what is missing; `onDone` takes the metrics. */
export function setUpWork(voice, onDone) {
  const start = async () => {
    $("work-error").textContent = "";
    controller?.abort();
    controller = new AbortController();
    let result = null;
    try {
      const fields = { ...voice(), ...options(), timings: "words", captions: CAPTIONS };
      result = begin(chosen("task"), controller);
      onDone(await (chosen("task") === "speak" ? speak : dub)(fields, result, controller.signal));
    } catch (error) {
      const isStopped = error.name === "AbortError";
      if (isStopped) return result?.stop();
      result?.fail();
      $("work-error").textContent = error.message;
    }
  };
  $("work").addEventListener("submit", (event) => {
    event.preventDefault();
    start();
  });
}

/** Return the result of what the form has, or throw what is missing. */
function begin(task, { signal }) {
  const cancel = () => controller.abort();
  if (task === "dub") {
    if (subtitles === null) throw new Error("Choose a file of subtitles first.");
    return new Result("", null, cancel);
  }
  const text = $("text").value;
  if (!text.trim()) throw new Error("Write a text first.");
  const player = new StreamPlayer(SAMPLE_RATE);
  signal.addEventListener("abort", () => player.close());
  return new Result(text, player, cancel);
}

async function speak(fields, result, signal) {
  const request = { ...fields, text: $("text").value, format: "pcm_s16le", sample_rate: SAMPLE_RATE };
  const chunks = [];
  const response = await follow("v1/synthesize", request, result, signal, (chunk) => {
    const samples = new Int16Array(bytesOf(chunk.audio.base64).buffer);
    chunks.push(samples);
    result.chunk(samples, chunk.start_s, chunk.words ?? []);
  });
  result.complete({ "speech.wav": wav(chunks, SAMPLE_RATE), ...captions("speech", response) }, response);
  return response.metrics;
}

async function dub(fields, result, signal) {
  const { speed, ...others } = fields; // each line has its own
  const format = $("format").value;
  const pieces = [];
  const response = await follow("v1/dub", { ...others, subtitles, format }, result, signal, (chunk) => {
    pieces.push(bytesOf(chunk.audio.base64));
  });
  const type = { mp3: "audio/mpeg", wav: "audio/wav", flac: "audio/flac", opus: "audio/ogg" }[format];
  result.text(response.lines.map((line) => line.text).join("\n"), response.timings.words);
  result.complete({ [`track.${format}`]: new Blob(pieces, { type }), ...captions("track", response) }, response);
  return response.metrics;
}

/** Post a request, follow its events, and return the response at its end. */
async function follow(path, fields, result, signal, onChunk) {
  for await (const [name, data] of events(path, form(fields), signal)) {
    if (name === "progress") result.progress(data.progress);
    else if (name === "chunk") onChunk(data);
    else if (name === "result") return data;
  }
  throw new ApiError("The connection ended before the speech did. Try again.");
}

function captions(name, response) {
  const files = Object.entries(response.captions).map(([format, { content }]) => [
    `${name}.${format}`, new Blob([content], { type: "text/plain" }),
  ]);
  return Object.fromEntries(files);
}

function options() {
  const speed = Number($("speed").value);
  const [quality, model, verify] = ["quality", "model", "verify"].map((id) => $(id).value);
  return { speed: speed === 1 ? null : speed, quality, model, verify };
}

function takeSubtitles([file]) {
  if (file === undefined) return;
  subtitles = file;
  $("subtitles-name").textContent = file.name;
}

$("subtitles").addEventListener("change", () => takeSubtitles($("subtitles").files));
acceptDrops($("dub-drop"), takeSubtitles);
$("speed").addEventListener("input", () => { $("speed-shown").textContent = Number($("speed").value).toFixed(2); });
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("work").requestSubmit();
});
