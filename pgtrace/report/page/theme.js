// Before anything is drawn: the theme that was chosen on this page, else that of the system.
(() => {
  const kept = (() => { try { return localStorage.getItem("pgtrace-theme"); } catch { return null; } })();
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const choose = () => { document.documentElement.dataset.theme = kept ?? (dark.matches ? "dark" : "light"); };
  choose();
  if (!kept) dark.addEventListener("change", () => { if (!document.documentElement.dataset.chosen) choose(); });
})();
