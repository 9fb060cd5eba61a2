// Sends one image to /detect with the lowest threshold, and filters what is shown here.
"use strict";

const get = (id) => document.getElementById(id);
const USUAL_THRESHOLD = 0.3;
const SMALLEST_SIDE = 600; // pixels of the canvas, so that boxes on a small image are thin
const GOLDEN_ANGLE = 137.5; // degrees between the hues of neighbouring classes

let picture = null; // ImageBitmap of the stored pixels
let result = null; // answer of the service
let hidden = new Set(); // labels that are not to be shown
let sent = 0; // images, so that a late answer to an earlier one is dropped

function say(text, wrong = false) {
  get("status").textContent = text;
  get("status").classList.toggle("wrong", wrong);
}

function element(tag, text, parent) {
  const made = document.createElement(tag);
  made.textContent = text; // names of classes are text, never HTML
  parent.append(made);
  return made;
}

function colour(label) {
  return `hsl(${(label * GOLDEN_ANGLE) % 360} 90% 32%)`;
}

async function ask(path, options) {
  const response = await fetch(path, options);
  const answer = await response.json().catch(() => ({ detail: response.statusText }));
  if (!response.ok) throw new Error(`${response.status}: ${answer.detail}`);
  return answer;
}

// Start and end of each part of a JPEG's or PNG's header that may hold EXIF.
function* exifParts(view) {
  let at = 2;
  if (view.getUint16(0) === 0xffd8) {
    for (let end; view.getUint16(at) >= 0xffc0 && view.getUint16(at) !== 0xffda; at = end) {
      end = at + 2 + view.getUint16(at + 2);
      if (view.getUint16(at) === 0xffe1) yield [at, end];
    }
  } else if (view.getUint32(0) === 0x89504e47) {
    at = 8;
    for (let end; at < view.byteLength; at = end) {
      end = at + 12 + view.getUint32(at);
      if (view.getUint32(at + 4) === 0x65584966) yield [at, end]; // eXIf
    }
  }
}

// The stored pixels, as the detector sees them: browsers turn images by their EXIF, whatever
// createImageBitmap is told.
async function readStored(file) {
  const data = await file.arrayBuffer();
  const parts = [];
  let kept = 0;
  for (const [start, end] of exifParts(new DataView(data))) {
    parts.push(data.slice(kept, start));
    kept = end;
  }
  return createImageBitmap(new Blob([...parts, data.slice(kept)]));
}

async function detect(file) {
  const number = ++sent;
  say(`Detecting in ${file.name} ...`);
  try {
    const answer = await ask("detect", { method: "POST", body: file });
    const bitmap = await readStored(file);
    if (number !== sent) return;
    [picture, result, hidden] = [bitmap, answer, new Set()];
    document.querySelector("main").hidden = false;
    listClasses();
    listTimings();
    show();
    const turned = bitmap.width !== answer.width || bitmap.height !== answer.height;
    if (turned) say("This browser turns the image by its EXIF, the detector does not", true);
    else say(`${file.name}: ${answer.width} x ${answer.height} pixels`);
  } catch (error) {
    if (number === sent) say(error.message, true);
  }
}

function listClasses() {
  const found = new Map(result.detections.map(({ label, name }) => [label, name]));
  get("classes").replaceChildren();
  for (const [label, name] of [...found].sort(([a], [b]) => a - b)) {
    const row = element("label", "", get("classes"));
    const box = element("input", "", row);
    box.type = "checkbox";
    box.checked = true;
    box.addEventListener("change", () => {
      if (box.checked) hidden.delete(label);
      else hidden.add(label);
      show();
    });
    element("span", name, row).style.color = colour(label);
  }
}

function listTimings() {
  const rows = { ...result.timings, "images in the batch": result.batch_size };
  get("timings").replaceChildren();
  for (const [name, value] of Object.entries(rows)) {
    const row = element("tr", "", get("timings"));
    element("td", name, row);
    element("td", value, row);
  }
}

function show() {
  const least = Number(get("threshold").value);
  get("shown").textContent = least.toFixed(2);
  if (!result) return;
  const shown = result.detections.filter(
    ({ score, label }) => score >= least && !hidden.has(label),
  );
  draw(shown);
  get("detections").replaceChildren();
  for (const { name, score, box } of shown) {
    const row = element("tr", "", get("detections"));
    element("td", name, row);
    for (const text of [score.toFixed(3), ...box.map((side) => side.toFixed(1))]) {
      element("td", text, row);
    }
  }
}

function draw(shown) {
  const canvas = get("picture");
  const scale = Math.max(1, SMALLEST_SIDE / Math.max(picture.width, picture.height));
  canvas.width = Math.round(picture.width * scale);
  canvas.height = Math.round(picture.height * scale);
  const pen = canvas.getContext("2d");
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const unit = Math.max(canvas.width, canvas.height) / SMALLEST_SIDE;
  pen.lineWidth = 2 * unit;
  pen.font = `${13 * unit}px system-ui, sans-serif`;
  pen.textBaseline = "top";
  for (const { name, score, label, box } of [...shown].reverse()) { // the best on top
    const [left, top, right, bottom] = box.map((side) => side * scale);
    const text = `${name} ${score.toFixed(2)}`;
    const [width, height] = [pen.measureText(text).width + 6 * unit, 17 * unit];
    const x = Math.max(0, Math.min(left, canvas.width - width));
    const y = top >= height ? top - height : top;
    pen.strokeStyle = pen.fillStyle = colour(label);
    pen.strokeRect(left, top, right - left, bottom - top);
    pen.fillRect(x, y, width, height);
    pen.fillStyle = "white";
    pen.fillText(text, x + 3 * unit, y + 2 * unit);
  }
}

function listen() {
  const drop = get("drop");
  get("threshold").addEventListener("input", show);
  get("file").addEventListener("change", ({ target }) => {
    if (target.files.length) detect(target.files[0]);
  });
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault(); // or the browser would leave this page for the file
      drop.classList.toggle("over", name === "dragover");
    });
  }
  document.addEventListener("drop", ({ dataTransfer }) => {
    if (dataTransfer.files.length) detect(dataTransfer.files[0]);
  });
  document.addEventListener("paste", ({ clipboardData }) => {
    if (clipboardData.files.length) detect(clipboardData.files[0]);
  });
}

async function start() {
  listen();
  try {
    const model = await ask("model");
    get("threshold").min = model.score_threshold;
    get("threshold").value = Math.max(USUAL_THRESHOLD, model.score_threshold);
    const [height, width] = model.image_size;
    get("model").textContent =
      `${model.names.length} classes, input ${width} x ${height}: ${model.names.join(", ")}`;
    show();
  } catch (error) {
    say(error.message, true);
  }
}

start();
