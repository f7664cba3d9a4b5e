// Before anything is drawn, so that nothing flashes: how somebody chose that pages look. A script and no module, since
// those come later.
"use strict";
try {
  const theme = localStorage.getItem("theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch { /* not allowed to remember: then as the system is */ }
