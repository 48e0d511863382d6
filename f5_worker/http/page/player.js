// Sound while it is still being made: each chunk is scheduled right after the one before it.

const LEAD_S = 0.08; // from a chunk's arrival to its sound, where nothing is playing

/** Plays chunks of 16-bit mono samples, and knows which moment of the file is heard. */
export class StreamPlayer {
  #context;
  #chunks = []; // {at, start_s, duration_s}: `at` is on the context's clock
  #end = 0;
  #ended = Promise.resolve();

  /** Begin in the handler of a click: browsers allow sound only then. */
  constructor(sampleRate) {
    this.sampleRate = sampleRate;
    this.#context = new AudioContext({ sampleRate }); // the chunks' own rate: they join without a seam
    this.#context.resume();
  }

  add(samples, start_s) {
    if (!samples.length || this.#context.state === "closed") return;
    const buffer = this.#context.createBuffer(1, samples.length, this.sampleRate);
    buffer.copyToChannel(Float32Array.from(samples, (sample) => sample / 32768), 0);
    const at = Math.max(this.#end, this.#context.currentTime + LEAD_S);
    const source = new AudioBufferSourceNode(this.#context, { buffer });
    source.connect(this.#context.destination);
    source.start(at);
    this.#ended = new Promise((resolve) => source.addEventListener("ended", resolve));
    this.#end = at + buffer.duration;
    this.#chunks.push({ at, start_s, duration_s: buffer.duration });
  }

  /** The time in the file that is heard now; -1 before the first sound. */
  get position_s() {
    const now = this.#context.currentTime - (this.#context.outputLatency || 0);
    const chunk = this.#chunks.findLast(({ at }) => at <= now);
    return chunk ? chunk.start_s + Math.min(now - chunk.at, chunk.duration_s) : -1;
  }

  get isPaused() {
    return this.#context.state === "suspended";
  }

  togglePause() {
    return this.isPaused ? this.#context.resume() : this.#context.suspend();
  }

  /** Wait until all that was added has been heard. */
  ended() {
    return this.#ended;
  }

  close() {
    if (this.#context.state !== "closed") this.#context.close();
  }
}

/** Return 16-bit mono samples as a WAV file. */
export function wav(chunks, sampleRate) {
  const bytes = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
  const header = new DataView(new ArrayBuffer(44));
  const text = (at, letters) => [...letters].forEach((letter, i) => header.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  header.setUint32(4, 36 + bytes, true);
  text(8, "WAVEfmt ");
  header.setUint32(16, 16, true);
  header.setUint16(20, 1, true); // PCM
  header.setUint16(22, 1, true); // mono
  header.setUint32(24, sampleRate, true);
  header.setUint32(28, 2 * sampleRate, true);
  header.setUint16(32, 2, true);
  header.setUint16(34, 16, true);
  text(36, "data");
  header.setUint32(40, bytes, true);
  return new Blob([header, ...chunks], { type: "audio/wav" });
}
