// Calls of this server. Addresses are relative, so that the page works below a path of a proxy.
import { $, sentence } from "./dom.js";

const STORED_KEY = "f5-api-key";

/** What the server, or the way to it, said instead of a result; `message` is for people. */
export class ApiError extends Error {}

/** Return the JSON of a response. */
export async function call(path, options = {}) {
  return (await send(path, options)).json();
}

/** Return a form with these fields; those that are empty are left out, objects are written as JSON. */
export function form(fields) {
  const data = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value === "" || value === null || value === undefined) continue;
    data.append(name, typeof value === "object" && !(value instanceof Blob) ? JSON.stringify(value) : value);
  }
  return data;
}

/** Post a form, and yield the events of the response as [name, data]. */
export async function* events(path, body, signal) {
  const response = await send(path, { method: "POST", body, signal, headers: { Accept: "text/event-stream" } });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  for (;;) {
    const { done, value } = await reader.read().catch((error) => {
      throw signal.aborted ? error : new ApiError("The connection broke before the end. Try again.");
    });
    if (done) return;
    pending += value;
    const blocks = pending.split("\n\n");
    pending = blocks.pop();
    for (const block of blocks) {
      const [name, data] = block.split("\n").map((line) => line.slice(line.indexOf(": ") + 2));
      if (name === "error") throw told(JSON.parse(data));
      yield [name, JSON.parse(data)];
    }
  }
}

async function send(path, options) {
  for (;;) {
    const key = sessionStorage.getItem(STORED_KEY);
    const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
    let response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError("The server does not answer. Look whether it still runs, and try again.");
    }
    if (response.ok) return response;
    if (response.status !== 401) throw told(await response.json().catch(() => null));
    await askForKey(key);
  }
}

function told(body) {
  const message = body?.error?.message;
  return new ApiError(message ? sentence(message.replace(/^[A-Z_]+: /, "")) : "The server failed. Its log says why.");
}

let answer = null; // of the dialog that is open: calls that fail together ask once

function askForKey(refused) {
  const known = sessionStorage.getItem(STORED_KEY);
  if (known !== refused) return Promise.resolve(); // asked meanwhile
  answer ??= showKeyDialog(refused).finally(() => { answer = null; });
  return answer;
}

function showKeyDialog(refused) {
  const dialog = $("key-dialog");
  $("key-reason").textContent = refused
    ? "The server did not accept the key."
    : "This server asks for a key. Its operator has one for you.";
  $("key").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve, reject) => {
    $("key-cancel").onclick = () => dialog.close();
    $("key-form").onsubmit = () => {
      sessionStorage.setItem(STORED_KEY, $("key").value);
      resolve();
    };
    dialog.onclose = () => reject(new ApiError("The server asks for a key; nothing works without one."));
  });
}

/** Return the bytes of base64. */
export const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
