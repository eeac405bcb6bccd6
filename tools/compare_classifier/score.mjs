// Scores pictures through the real npm package and its own bundled model.
//
//   node score.mjs FILE      FILE: raw RGB, 224 x 224 x 3 bytes a picture, one after the other
//
// Prints one JSON array with the scores of each picture by label. Pure JavaScript: tfjs on its
// "cpu" backend, no browser and nothing native.

import { readFile } from "node:fs/promises";

// nsfwjs and tfjs greet the reader on stdout, which belongs to the scores.
console.info = console.warn = console.log = console.error;

const tf = await import("@tensorflow/tfjs");
await tf.setBackend("cpu");
const nsfwjs = await import("nsfwjs");

const SIDE = 224;
const SIZE = SIDE * SIDE * 3;

const content = await readFile(process.argv[2]);
const model = await nsfwjs.load("MobileNetV2");
const answers = [];
for (let offset = 0; offset < content.length; offset += SIZE) {
  const image = tf.tensor3d(content.subarray(offset, offset + SIZE), [SIDE, SIDE, 3], "int32");
  const classes = await model.classify(image);
  image.dispose();
  answers.push(
    Object.fromEntries(classes.map((c) => [c.className.toLowerCase(), c.probability])),
  );
}
process.stdout.write(JSON.stringify(answers) + "\n");
