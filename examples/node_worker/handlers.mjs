// The handlers of workflow.yaml, by the names that it calls them: (input, context) -> output.

import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

class NoTextError extends Error {
  name = "NoTextError";
  retryable = false; // trying again gives no other text
}

function paragraphs({ text }) {
  const found = String(text ?? "").split(/\n\s*\n/).map((one) => one.trim()).filter(Boolean);
  if (!found.length) throw new NoTextError("there is no text in the input");
  return { paragraphs: found };
}

function countWords({ paragraphs }) {
  return { words: paragraphs.map((one) => one.split(/\s+/).length) };
}

function fingerprint({ paragraphs }, { set }) {
  const digest = createHash("sha256").update(paragraphs.join("\n\n")).digest("hex");
  set("digest", digest); // the workflow's shared context
  return { digest };
}

// Takes its time, says how far it is, and stops when it is told to.
async function proofread({ paragraphs, seconds = 0 }, { signal, progress }) {
  const doubled = [];
  for (const [index, paragraph] of paragraphs.entries()) {
    await sleep((seconds * 1000) / paragraphs.length, null, { signal });
    doubled.push(...Array.from(paragraph.matchAll(/\b(\w+)\s+\1\b/gi), (found) => found[0]));
    progress({ done: index + 1, of: paragraphs.length });
  }
  return { doubled };
}

function report({ words, digest, doubled }) {
  const total = words.reduce((sum, count) => sum + count, 0);
  return { summary: `${words.length} paragraphs, ${total} words, ${doubled.length} doubled`, digest, doubled };
}

export const handlers = {
  "text.paragraphs": paragraphs,
  "text.count_words": countWords,
  "text.fingerprint": fingerprint,
  "text.proofread": proofread,
  "text.report": report,
};
