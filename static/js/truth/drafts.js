// What is not saved yet, kept in this browser: one draft for each person and inference. A draft
// knows on which version of the ground truth it was begun, and whether it was sent to be saved.
const PREFIX = "draft:";

export function keep(key, draft) {
  try {
    localStorage.setItem(PREFIX + key, JSON.stringify(draft));
  } catch {
    // The storage is full or switched off. The question before leaving remains.
  }
}

export function drop(key) { localStorage.removeItem(PREFIX + key); }

// The draft of an inference whose ground truth has this version. One that was sent is saved if
// the version is another one since.
export function find(key, version) {
  const draft = JSON.parse(localStorage.getItem(PREFIX + key) ?? "null");
  if (!draft?.isSent || draft.version === version) return draft;
  drop(key);
  return null;
}
