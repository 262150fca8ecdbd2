// htmx would write a style sheet into each page, and evaluate what stands in attributes; the content
// security policy forbids the one, and nothing here needs the other.
htmx.config.includeIndicatorStyles = false;
htmx.config.allowEval = false;
