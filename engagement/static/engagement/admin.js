// htmx would add a style sheet to each page, which the content security policy forbids, and evaluate
// attributes, which nothing here needs.
htmx.config.includeIndicatorStyles = false;
htmx.config.allowEval = false;

// The text of a chart has the colour of secondary text, in light and dark mode. The theme's own colour
// is too pale on white.
window.addEventListener("DOMContentLoaded", () => {
  if (window.Chart) {
    Object.defineProperty(Chart.defaults, "color", {
      get: () => getComputedStyle(document.documentElement).getPropertyValue("--engagement-quiet").trim(),
    });
  }
});

// The keyboard reaches what the theme opens on a click, and the focus moves into it.
const SWITCHES = "[x-on\\:click]:not(button, #changelist-filter-close)";
const NAMES = document.documentElement.lang.startsWith("pt")
  ? { close: "Fechar a barra lateral", dock_to_right: "Barra lateral", more_horiz: "Mais", visibility: "Mostrar" }
  : { close: "Close the side bar", dock_to_right: "Side bar", more_horiz: "More", visibility: "Show" };

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
  // Alpine.js shows the panel in one of the next frames.
  setTimeout(() => {
    const opened = closed.find((panel) => panel.checkVisibility());
    opened?.querySelector("input:not([type=hidden]), [role=button], a[href], button")?.focus();
  }, 100);
});

// A button that copies what is beside it. Without a secure connection there is no clipboard, and no button.
window.addEventListener("DOMContentLoaded", () => {
  for (const button of navigator.clipboard ? document.querySelectorAll("[data-copy]") : []) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).innerText);
      button.textContent = button.dataset.copied;
    });
  }
});

// The pickers of permissions name a picture on an element that has no role. Django makes them on this event.
window.addEventListener("load", () => {
  setTimeout(() => {
    for (const picture of document.querySelectorAll(".help-tooltip[aria-label]")) {
      picture.role = "img";
    }
  });
});
