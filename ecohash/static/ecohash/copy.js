// Copy buttons: data-copy names the element whose text is copied. Without scripts they stay hidden.
(() => {
  const reveal = (root) => {
    for (const button of root.querySelectorAll("[data-copy][hidden]")) button.hidden = false;
  };
  const copy = async (text, element) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Clipboards are closed to pages without https: select the text, so that Ctrl-C takes it.
      getSelection().selectAllChildren(element);
      return false;
    }
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const element = document.getElementById(button.dataset.copy);
    const before = button.textContent;
    button.textContent = (await copy(element.textContent, element)) ? "Copied" : "Press Ctrl-C";
    setTimeout(() => { button.textContent = before; }, 1600);
  });
  reveal(document);
  document.addEventListener("htmx:load", (event) => reveal(event.target.parentElement ?? document));
})();
