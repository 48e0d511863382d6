// A recording as bars, with the part that is used in colour.
import { make, seconds } from "./dom.js";

const BARS = 110;
const NEARLY_S = 0.25; // of silence at the ends, which are not worth telling
const SVG = "http://www.w3.org/2000/svg";

/** Return a recording's length and its loudest sample in each bar, 0..1; null where the browser cannot decode it. */
export async function readPeaks(file) {
  let audio;
  try {
    audio = await new OfflineAudioContext(1, 1, 24000).decodeAudioData(await file.arrayBuffer());
  } catch {
    return null;
  }
  const samples = audio.getChannelData(0);
  const peaks = Array.from({ length: BARS }, (_, bar) => {
    let peak = 0;
    const end = Math.floor((samples.length * (bar + 1)) / BARS);
    for (let i = Math.floor((samples.length * bar) / BARS); i < end; i += 1) peak = Math.max(peak, Math.abs(samples[i]));
    return peak;
  });
  const loudest = Math.max(...peaks, 0.01);
  return { duration_s: audio.duration, peaks: peaks.map((peak) => peak / loudest) };
}

/** Draw a recording into a figure; `used` is the part {start_s, end_s}, or null while it is not known. */
export function drawWave(figure, { duration_s, peaks }, used) {
  const isUsed = (bar) => {
    const time_s = ((bar + 0.5) / BARS) * duration_s;
    return used !== null && time_s >= used.start_s && time_s < used.end_s;
  };
  const bars = (wanted) => peaks
    .map((peak, bar) => (isUsed(bar) === wanted ? `M${bar + 0.5} ${50 - 46 * peak - 1.5}V${50 + 46 * peak + 1.5}` : ""))
    .join("");
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${BARS} 100`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  if (used !== null) {
    const place = document.createElementNS(SVG, "rect");
    const scale = BARS / duration_s;
    const shape = { x: used.start_s * scale, width: (used.end_s - used.start_s) * scale, y: 0, height: 100 };
    Object.entries(shape).forEach(([name, value]) => place.setAttribute(name, value));
    svg.append(place);
  }
  for (const wanted of [false, true]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", bars(wanted));
    path.setAttribute("class", wanted ? "used" : "unused");
    svg.append(path);
  }
  figure.replaceChildren(svg, make("figcaption", { textContent: caption(duration_s, used) }));
}

function caption(duration_s, used) {
  if (used === null) return `Recorded: ${seconds(duration_s)}`;
  if (used.start_s < NEARLY_S && used.end_s > duration_s - NEARLY_S) return `Used: all ${seconds(duration_s)}`;
  return `Used: ${used.start_s.toFixed(1)} to ${seconds(used.end_s)} of ${seconds(duration_s)}`;
}
