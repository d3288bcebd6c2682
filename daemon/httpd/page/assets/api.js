// The daemon's read-only API and its events.

const base = "api/v1"; // below the page, which may be one of several

// get fetches JSON; its error is the daemon's own sentence.
export async function get(path) {
  let answer;
  try {
    answer = await fetch(base + path, { headers: { Accept: "application/json" } });
  } catch {
    throw new Error("the daemon does not answer");
  }
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw new Error(body?.error ?? `the daemon answered ${answer.status} to ${path}`);
  return body;
}

export async function getText(path) {
  const answer = await fetch(base + path);
  if (!answer.ok) throw new Error(`the daemon answered ${answer.status} to ${path}`);
  return answer.text();
}

// listen calls status(data), trial(id) and open(whether) as events come. The
// browser connects again by itself, except after an answer that is no stream.
export function listen({ status, trial, open }) {
  const source = new EventSource(base + "/events");
  source.addEventListener("open", () => open(true));
  source.addEventListener("error", () => {
    open(false);
    if (source.readyState === EventSource.CLOSED) setTimeout(() => listen({ status, trial, open }), 5000);
  });
  source.addEventListener("status", (e) => status(JSON.parse(e.data)));
  source.addEventListener("trial", (e) => trial(JSON.parse(e.data).id));
}
