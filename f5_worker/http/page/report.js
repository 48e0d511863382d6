// The voice report as advice.
import { make, seconds, sentence } from "./dom.js";

const VERDICTS = {
  good: ["\u2713", "This will clone well"],
  usable: ["!", "Usable, and could be better"],
  poor: ["\u00d7", "This will not clone well"],
};

/** Show a report; null hides it. */
export function showReport(panel, report) {
  panel.hidden = report === null;
  if (report === null) return;
  const [sign, verdict] = VERDICTS[report.verdict];
  panel.dataset.verdict = report.verdict;
  const advice = [...report.reasons, ...report.repairs].map((text) => make("li", { textContent: sentence(text) }));
  panel.replaceChildren(
    make("h3", {}, make("span", { className: "sign", textContent: sign, ariaHidden: "true" }), verdict),
    ...(advice.length ? [make("ul", { className: "advice" }, ...advice)] : []),
    make("dl", {}, ...facts(report).flatMap(([name, value]) => [
      make("div", {}, make("dt", { textContent: name }), make("dd", { textContent: value })),
    ])),
  );
}

function facts(report) {
  const found = [["Length", seconds(report.duration_s)]];
  if (report.clip_s < report.duration_s) found[0][1] = `${seconds(report.clip_s)} of ${found[0][1]}`;
  if (report.snr_db !== null) found.push(["Background", `${report.snr_db.toFixed(0)} dB below the speech`]);
  found.push(["Sound up to", `${(report.bandwidth_hz / 1000).toFixed(1)} kHz`]);
  if (report.chars_per_s !== null) found.push(["Pace", `${report.chars_per_s.toFixed(0)} letters a second`]);
  if (report.agreement !== null) found.push(["Words agree", `${(100 * report.agreement).toFixed(0)} %`]);
  if (report.language !== null) found.push(["Language", report.language]);
  return found;
}
