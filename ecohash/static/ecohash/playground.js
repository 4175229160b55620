// What the playground does beyond HTML and HTMX: Ctrl-Enter, the dice, and words for those who cannot see.
(() => {
  const SEEDS = 2 ** 32;
  const lost = document.getElementById("connection-lost");
  const said = document.getElementById("run-said");

  const reveal = () => {
    for (const button of document.querySelectorAll("[data-dice][hidden]")) button.hidden = false;
  };
  const announce = () => {
    const text = document.getElementById("run")?.dataset.said;
    if (text && said.textContent !== text) said.textContent = text;
  };

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    const form = document.getElementById("playground-form");
    if (!form.querySelector("button.draw").disabled) form.requestSubmit();
  });

  document.addEventListener("click", (event) => {
    const dice = event.target.closest("[data-dice]");
    if (!dice) return;
    const roll = crypto.getRandomValues(new Uint32Array(1))[0] % SEEDS;
    document.getElementById(dice.dataset.dice).value = roll;
  });

  // What was wrong last time may be right now; the answer says it again where it is not.
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.target.id !== "playground-form") return;
    for (const error of event.target.querySelectorAll(".error")) error.remove();
    for (const field of event.target.querySelectorAll(".wrong")) field.classList.remove("wrong");
  });

  // On a phone the picture is below the form: bring what was started into view, and only then.
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.requestConfig?.verb === "post") {
      document.getElementById("run").scrollIntoView({ block: "nearest" });
    }
  });

  // A session that ended answers with the sign-in page: open it instead of putting it into this one.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const address = new URL(event.detail.xhr.responseURL || location.href);
    if (!address.pathname.startsWith("/playground")) {
      event.detail.shouldSwap = false;
      location.reload();
    }
  });
  // A poll that failed is the last one unless somebody asks again.
  const retry = () => {
    lost.hidden = false;
    const run = document.querySelector("#run[hx-get]");
    if (run) setTimeout(() => htmx.ajax("GET", run.getAttribute("hx-get"), { target: "#run", swap: "outerHTML" }), 2000);
  };
  document.addEventListener("htmx:sendError", retry);
  document.addEventListener("htmx:responseError", retry);
  document.addEventListener("htmx:afterOnLoad", () => { lost.hidden = true; });
  document.addEventListener("htmx:load", () => { reveal(); announce(); });

  reveal();
})();
