// htmx would write a style sheet into each page, and evaluate what stands in attributes; the content
// security policy forbids the one, and nothing here needs the other.
htmx.config.includeIndicatorStyles = false;
htmx.config.allowEval = false;

// The words of a chart in the colour of quiet words elsewhere, which is another in the dark: the one of
// the theme is too pale to be read on white.
window.addEventListener("DOMContentLoaded", () => {
  if (window.Chart) {
    Object.defineProperty(Chart.defaults, "color", {
      get: () => getComputedStyle(document.documentElement).getPropertyValue("--engagement-quiet").trim(),
    });
  }
});

// What the theme lets a click open or switch, the keyboard reaches too, and goes on in what was opened.
const SWITCHES = "[x-on\\:click]:not(button, #changelist-filter-close)";
const NAMES = { close: "Close the side bar", dock_to_right: "Side bar", more_horiz: "More", visibility: "Show" };

window.addEventListener("DOMContentLoaded", () => {
  for (const element of document.querySelectorAll(SWITCHES)) {
    const name = NAMES[element.textContent.trim()];
    element.tabIndex = 0;
    element.role = "button";
    if (name) {
      element.ariaLabel = name;
    }
  }
});

window.addEventListener("keydown", (event) => {
  if (!event.target.matches(SWITCHES) || !["Enter", " "].includes(event.key)) {
    return;
  }
  event.preventDefault();
  const closed = [...document.querySelectorAll("[x-show], #nav-sidebar")].filter((panel) => !panel.checkVisibility());
  event.target.click();
  // Alpine.js shows what was opened in one of the next frames.
  setTimeout(() => {
    const opened = closed.find((panel) => panel.checkVisibility());
    opened?.querySelector("input:not([type=hidden]), [role=button], a[href], button")?.focus();
  }, 100);
});
