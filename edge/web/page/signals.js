// What is done to readings over time, in seconds: a face at rest is taken off, then they are
// smoothed. The twin of tfau/core/signals.py and edge/filters.py.

import { withLevels } from "./analyzer.js";

const FORGET_MS = 5000;

/** Smooths little while a signal moves fast and much while it rests (One-Euro filter). */
export class OneEuro {
  constructor(minCutoffHz = 1.5, beta = 0.3, speedCutoffHz = 1) {
    Object.assign(this, { minCutoffHz, beta, speedCutoffHz, tracks: [] });
  }

  /** Smooths the next values; NaN passes through and changes nothing. */
  next(values, timeS) {
    return values.map((value, i) => {
      if (Number.isNaN(value)) return NaN;
      const known = this.tracks[i];
      if (!known) {
        this.tracks[i] = { value, speed: 0, timeS };
        return value;
      }
      const seconds = timeS - known.timeS;
      if (seconds > 0) {
        const speed = (value - known.value) / seconds;
        known.speed += share(this.speedCutoffHz, seconds) * (speed - known.speed);
        known.value +=
          share(this.minCutoffHz + this.beta * Math.abs(known.speed), seconds) *
          (value - known.value);
        known.timeS = timeS;
      }
      return known.value;
    });
  }
}

const share = (cutoffHz, seconds) => 1 / (1 + 1 / (2 * Math.PI * cutoffHz * seconds));

/** Calibrates and smooths the readings of each face. */
export class ReadingFilter {
  constructor(aus, { smooth = true } = {}) {
    Object.assign(this, { aus, smooth, neutral: new Map(), only: null, tracks: new Map() });
  }

  /** Takes the faces as they are now for their owners at rest; none = forgets all of it. */
  calibrate(readings) {
    this.neutral = new Map(readings.map((reading) => [reading.face.track, reading]));
    this.only = readings.length === 1 ? readings[0] : null;
    this.tracks.clear();
  }

  get isCalibrated() {
    return this.neutral.size > 0;
  }

  /** Returns the features at rest of each face, as a pair network takes them. */
  neutrals(faces) {
    return faces.map((face) => this.#rest(face.track)?.features ?? null);
  }

  /** Filters the readings of the next frame. */
  next(readings, timestampMs) {
    const filtered = readings.map((reading) => {
      const number = reading.face.track;
      if (!this.tracks.has(number)) this.tracks.set(number, { smooth: new OneEuro() });
      const track = this.tracks.get(number);
      track.seenMs = timestampMs;
      const rest = this.#rest(number);
      let levels = reading.points.map((point) => point[2]);
      if (rest && !rest.features) {
        levels = levels.map((level, i) => Math.max(level - (rest.points[i][2] || 0), 0));
      }
      if (this.smooth) levels = track.smooth.next(levels, timestampMs / 1000);
      return withLevels(reading, levels, this.aus);
    });
    for (const [number, track] of this.tracks) {
      if (timestampMs - track.seenMs > FORGET_MS) this.tracks.delete(number);
    }
    return filtered;
  }

  #rest(number) {
    return this.only ?? this.neutral.get(number) ?? null;
  }
}
