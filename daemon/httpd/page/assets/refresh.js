// Views that are fetched anew when a trial is recorded.

import { failure } from "./router.js";
import { watch } from "./store.js";

// fresh opens a view of what fetched comes to, and draws it again after every
// trial, or when again is called. draw(data) returns an element.
export async function fresh(fetched, draw) {
  let root = draw(await fetched());
  async function again() {
    const next = await fetched().then(draw, (e) => failure(e).root);
    root.replaceWith(next);
    root = next;
  }
  const end = watch((what) => what === "trials" && again());
  return { root, end, again };
}
