// Rows with the columns of the Python edge: the twin of edge.sinks.CsvSink, with both sides.

const cell = (value, places = 3) => (Number.isNaN(value) ? "" : value.toFixed(places));
const EMPTY = {
  gaze: [
    [NaN, NaN, NaN],
    [NaN, NaN, NaN],
  ],
  gazeAngles: [NaN, NaN],
  eyeAspect: [NaN, NaN],
};
EMPTY.translation = EMPTY.rotation = [NaN, NaN, NaN];

/** Names the columns of a set of units. */
export function header(aus) {
  return [
    ...["frame", "face_id", "timestamp", "confidence", "success"],
    ...[0, 1].flatMap((eye) => [..."xyz"].map((axis) => `gaze_${eye}_${axis}`)),
    ...[
      "gaze_angle_x",
      "gaze_angle_y",
      "pose_Tx",
      "pose_Ty",
      "pose_Tz",
      "pose_Rx",
      "pose_Ry",
      "pose_Rz",
    ],
    ...["r", "c", "u"].flatMap((kind) => aus.names.map((name) => `${name}_${kind}`)),
    ...aus.points.map(({ name }) => `${name}_r`),
    ...["eye_aspect_left", "eye_aspect_right", "quality", "reason"],
  ];
}

/** Returns the cells of one face, or of a frame without one (null). */
export function row(frame, timestampMs, reading, aus, threshold) {
  const blank = (values) => values.map(() => NaN);
  const success = Boolean(reading?.success);
  const levels = success ? reading.levels : blank(aus.names);
  const errors = success ? reading.errors : blank(aus.names);
  const sides = success ? reading.points.map((point) => point[2]) : blank(aus.points);
  const shape = reading?.shape ?? EMPTY;
  return [
    ...[String(frame), String(reading?.face.track ?? 0), (timestampMs / 1000).toFixed(3)],
    ...[(reading?.face.presence ?? 0).toFixed(3), success ? "1" : "0"],
    ...[...shape.gaze[1], ...shape.gaze[0], ...shape.gazeAngles].map((value) => cell(value)),
    ...shape.translation.map((value) => cell(value, 1)),
    ...shape.rotation.map((value) => cell(value)),
    ...levels.map((value) => cell(value)),
    ...levels.map((value) => (Number.isNaN(value) ? "" : value >= threshold ? "1" : "0")),
    ...errors.map((value) => cell(value)),
    ...sides.map((value) => cell(value)),
    ...[...shape.eyeAspect, reading?.quality ?? NaN].map((value) => cell(value)),
    reading ? reading.reason : "no_face",
  ];
}
