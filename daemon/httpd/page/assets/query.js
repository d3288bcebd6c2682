// The part of the address after "#": the view, and what it is asked to show.

export function address() {
  const [path, query] = location.hash.replace(/^#/, "").split("?");
  return { path: path || "/", query: new URLSearchParams(query ?? "") };
}

// amend changes what the view is asked to show; "" and null take a parameter
// away. The change is one step for the back button, or, with replace, none.
export function amend(changes, replace) {
  const { path, query } = address();
  for (const [name, value] of Object.entries(changes)) {
    if (value === "" || value === null || value === undefined) query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  const hash = "#" + path + (text ? "?" + text : "");
  if (hash === location.hash) return;
  history[replace ? "replaceState" : "pushState"](null, "", hash);
  dispatchEvent(new HashChangeEvent("hashchange"));
}
