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
