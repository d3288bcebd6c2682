// What the page knows, and who wants to be told when it changes.

import { get, listen } from "./api.js";

export const store = {
  status: null, // as /status, kept current by events
  candidates: [], // of /staircase, each with a delta to the champion that it had to beat
  steps: [], // of the champions' line
  baseline: null,
  connected: null, // null before the first attempt
  fault: "", // why there is nothing to show
};

const watchers = new Set();

// watch calls fn(what) after a change of "status" or, when a trial was recorded,
// of "trials"; it returns what ends that.
export function watch(fn) {
  watchers.add(fn);
  return () => watchers.delete(fn);
}

function tell(what) {
  for (const fn of [...watchers]) fn(what);
}

function read({ baseline, candidates, steps }) {
  store.baseline = baseline;
  store.steps = steps;
  store.candidates = candidates;
  for (const c of candidates) {
    c.description ??= c.label;
    c.delta = c.val_bpb === null || c.against === null ? null : c.val_bpb - c.against;
  }
}

// Two changes at once fetch once more, not twice.
function once(work) {
  let running = null;
  let again = false;
  return function run() {
    if (running) {
      again = true;
      return running;
    }
    running = work().finally(() => {
      running = null;
      if (again) {
        again = false;
        run();
      }
    });
    return running;
  };
}

const refreshStatus = once(async () => {
  try {
    store.status = await get("/status");
    store.fault = "";
  } catch (e) {
    store.fault = e.message;
  }
  tell("status");
});

const refreshCandidates = once(async () => {
  try {
    read(await get("/staircase"));
    store.fault = "";
    tell("trials");
  } catch (e) {
    store.fault = e.message;
    tell("status");
  }
});

// running are the trials in progress, those that get ready among them.
export const running = (status) => (status?.seats ?? []).flatMap((s) => [s.trial, s.next]).filter(Boolean);

// follow carries the curve of a running trial on, where an event has its last
// point only.
function follow(before, now) {
  if (now.curve) return;
  now.curve = before?.curve ?? [];
  const last = now.curve.at(-1)?.[0] ?? -1;
  if (now.loss && now.progress > last) now.curve.push([now.progress, now.loss]);
}

// merge takes in the moving part of the status.
function merge(moving) {
  if (!store.status) return;
  const champion = moving.champion?.id !== store.status.champion?.id;
  const before = new Map(running(store.status).map((r) => [r.id, r]));
  for (const r of running(moving)) follow(before.get(r.id), r);
  Object.assign(store.status, moving);
  tell("status");
  if (champion) refreshStatus(); // the claim and its curve are not in the event
}

let begun = Promise.resolve();

// ready is resolved when the first answers are in, or have failed.
export const ready = () => begun;

export function start() {
  listen({
    status: merge,
    trial: () => Promise.all([refreshStatus(), refreshCandidates()]),
    open(connected) {
      const back = connected && store.connected === false;
      store.connected = connected;
      tell("status");
      if (back) Promise.all([refreshStatus(), refreshCandidates()]);
    },
  });
  begun = Promise.all([refreshStatus(), refreshCandidates()]);
}
