// The switch between the system's theme, light and dark.

const next = { auto: "light", light: "dark", dark: "auto" };

export function startTheme(button) {
  const root = document.documentElement;
  const show = () => {
    const theme = root.dataset.theme ?? "auto";
    button.textContent = "\u25d0 " + theme;
    button.setAttribute("aria-label", `Theme: ${theme}. Change to ${next[theme]}`);
  };
  button.addEventListener("click", () => {
    const theme = next[root.dataset.theme ?? "auto"];
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
    try {
      localStorage.setItem("theme", theme);
    } catch {
      // It lasts as long as the page, then.
    }
    show();
  });
  show();
}
