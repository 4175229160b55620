// Shows each <time> in the reader's zone; UTC stays in its title. Runs again for what HTMX brings.
(() => {
  const now = new Date();
  const day = { day: "numeric", month: "short" };
  const minute = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  const show = (root) => {
    for (const element of root.querySelectorAll("time[datetime]:not([data-local])")) {
      const at = new Date(element.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      const short = "short" in element.dataset && at.getFullYear() === now.getFullYear();
      const date = short ? day : { ...day, year: "numeric" };
      const hour = "day" in element.dataset ? {} : minute;
      element.textContent = new Intl.DateTimeFormat("en-GB", { ...date, ...hour }).format(at);
      element.dataset.local = "";
    }
  };
  show(document);
  document.addEventListener("htmx:load", (event) => show(event.target.parentElement ?? document));
})();
