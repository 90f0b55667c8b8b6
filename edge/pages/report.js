'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const video = document.querySelector('video');
const canvas = document.querySelector('canvas');
let now = 0;
const seek = seconds => {
  now = Math.min(Math.max(seconds, 0), data.length);
  if (video && video.readyState) video.currentTime = now;
  draw();
};
const face = () => data.faces[Number(document.querySelector('#face')?.value || 0)];
const ink = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const label = 74, row = 15, pad = 4;
function draw() {
  if (!canvas || !data.faces.length) return;
  const f = face(), ratio = window.devicePixelRatio || 1, width = canvas.clientWidth;
  const rows = f.units.length, height = pad * 2 + row * (rows + 1) + 22;
  canvas.style.height = height + 'px';
  canvas.width = width * ratio; canvas.height = height * ratio;
  const pen = canvas.getContext('2d');
  pen.scale(ratio, ratio);
  pen.font = '11px system-ui, sans-serif'; pen.textBaseline = 'middle';
  const span = width - label - 6, x = seconds => label + span * seconds / Math.max(data.length, 1e-9);
  const cell = span / f.best.length;
  f.units.forEach((name, i) => {
    const y = pad + i * row;
    pen.fillStyle = ink('--soft'); pen.fillText(name, 0, y + row / 2);
    pen.fillStyle = ink('--line'); pen.fillRect(label, y + 1, span, row - 2);
    f.levels[i].forEach((level, j) => {
      if (level < .3) return;
      pen.globalAlpha = Math.min(1, level / 4); pen.fillStyle = ink('--accent');
      pen.fillRect(label + j * cell, y + 1, Math.max(cell, 1), row - 2);
    });
    pen.globalAlpha = 1;
  });
  const y = pad + rows * row;
  pen.fillStyle = ink('--soft'); pen.fillText('expression', 0, y + row / 2);
  f.best.forEach((name, j) => {
    if (name < 0) return;
    pen.fillStyle = data.colours[name]; pen.fillRect(label + j * cell, y + 1, Math.max(cell, 1), row - 2);
  });
  pen.fillStyle = ink('--soft');
  const step = [.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600].find(s => data.length / s <= 12) || 1200;
  for (let t = 0; t <= data.length; t += step) pen.fillText(t + ' s', x(t), y + row + 12);
  pen.fillStyle = ink('--ink'); pen.fillRect(x(now) - 1, 0, 2, y + row);
  const at = Math.min(f.best.length - 1, Math.floor(now / Math.max(data.length, 1e-9) * f.best.length));
  const words = f.units.map((n, i) => [n, f.levels[i][at]]).filter(p => p[1] >= 1)
    .map(p => p[0] + ' ' + p[1].toFixed(1)).join(', ') || 'no unit at 1 or more';
  const shown = f.best[at] >= 0 ? data.names[f.best[at]] : 'not seen';
  document.getElementById('said').textContent = now.toFixed(2) + ' s: ' + shown + '; ' + words;
  canvas.setAttribute('aria-valuenow', now.toFixed(2));
}
const point = event => {
  const box = canvas.getBoundingClientRect();
  seek((event.clientX - box.left - label) / (box.width - label - 6) * data.length);
};
if (canvas) {
  canvas.addEventListener('pointerdown', event => { canvas.setPointerCapture(event.pointerId); point(event); });
  canvas.addEventListener('pointermove', event => { if (event.buttons) point(event); });
  canvas.addEventListener('keydown', event => {
    const step = {ArrowRight: 1, ArrowLeft: -1, PageUp: 10, PageDown: -10}[event.key];
    if (step) { seek(now + step * Math.max(data.length / 200, .04)); event.preventDefault(); }
  });
  window.addEventListener('resize', draw);
  document.querySelector('#face')?.addEventListener('change', draw);
}
if (video) {
  const follow = () => { now = video.currentTime; draw(); if (!video.paused) requestAnimationFrame(follow); };
  video.addEventListener('timeupdate', follow); video.addEventListener('play', follow);
  video.addEventListener('error', () => { document.getElementById('novideo').hidden = false; }, true);
}
document.querySelectorAll('[data-seek]').forEach(element =>
  element.addEventListener('click', () => seek(Number(element.dataset.seek))));
draw();
