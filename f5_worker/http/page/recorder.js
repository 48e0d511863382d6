// The microphone.

const MAX_S = 60;
const BITS_PER_S = 192_000;

/** Return why this browser cannot record here, or null. */
export function whyNot() {
  if (!window.isSecureContext) return "Recording works on https:// or localhost only. Choose a file instead.";
  if (!navigator.mediaDevices || !window.MediaRecorder) return "This browser cannot record. Choose a file instead.";
  return null;
}

/** A recording that runs, from `start` until `stop` or MAX_S. */
export class Recording {
  #stream;
  #recorder;
  #context;
  #analyser;
  #started = performance.now();

  /** Ask for the microphone and begin. */
  static async start() {
    // As it is: what makes a call understandable (echo, noise, level) is cloned as a fault of the voice.
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio });
    return new Recording(stream);
  }

  constructor(stream) {
    this.#stream = stream;
    this.#recorder = new MediaRecorder(stream, { audioBitsPerSecond: BITS_PER_S });
    const parts = [];
    this.#recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
    /** Resolves with the file when the recording ends. */
    this.file = new Promise((resolve) => {
      this.#recorder.addEventListener("stop", () => {
        this.#close();
        resolve(new File(parts, "recording", { type: this.#recorder.mimeType }));
      });
    });
    this.#context = new AudioContext();
    this.#analyser = new AnalyserNode(this.#context, { fftSize: 2048 });
    this.#context.createMediaStreamSource(stream).connect(this.#analyser);
    this.#recorder.start();
    setTimeout(() => this.stop(), MAX_S * 1000);
  }

  get seconds() {
    return (performance.now() - this.#started) / 1000;
  }

  get isRunning() {
    return this.#recorder.state === "recording";
  }

  /** The level now, 0..1: a scale of 50 dB below full. */
  get level() {
    const samples = new Float32Array(this.#analyser.fftSize);
    this.#analyser.getFloatTimeDomainData(samples);
    const peak = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 1e-4);
    return Math.max(0, 1 + (20 * Math.log10(peak)) / 50);
  }

  stop() {
    if (this.isRunning) this.#recorder.stop();
  }

  #close() {
    this.#stream.getTracks().forEach((track) => track.stop());
    this.#context.close();
  }
}
