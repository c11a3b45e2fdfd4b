"use strict";
const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];

// A click on the head of a column sorts its table by it, a second click the other way round.
for (const button of all("th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th");
    const table = head.closest("table");
    const column = [...head.parentNode.children].indexOf(head);
    const down = head.getAttribute("aria-sort") === "ascending";
    const key = (row) => row.children[column].dataset.value ?? row.children[column].textContent;
    const rows = all("tbody tr", table).sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      const numbers = Number(x) - Number(y);
      return Number.isNaN(numbers) ? x.localeCompare(y) : numbers;
    });
    for (const other of all("th", table)) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    table.tBodies[0].append(...(down ? rows.reverse() : rows));
  });
}

// One of several parts of the page is shown, the one that is chosen by a list.
for (const list of all("select[data-shows]")) {
  list.addEventListener("change", () => {
    for (const part of all("[data-part]")) part.classList.toggle("off", part.dataset.part !== list.value);
  });
}

// Boxes hide the layers of a class in all pictures.
for (const box of all("input[data-layer]")) {
  const apply = () => {
    for (const layer of all("[data-of]")) {
      if (layer.dataset.of === box.dataset.layer) layer.classList.toggle("off", !box.checked);
    }
  };
  box.addEventListener("change", apply);
  apply();
}

for (const button of all("button[data-all]")) {
  button.addEventListener("click", () => {
    const boxes = all("input[data-layer]");
    const checked = !boxes.some((box) => box.checked);
    for (const box of boxes) box.checked = checked;
    for (const box of boxes) box.dispatchEvent(new Event("change"));
  });
}

for (const slider of all("input[data-alpha]")) {
  slider.addEventListener("input", () => document.documentElement.style.setProperty("--alpha", slider.value));
}

// Sliders show one slice of a volume's view in all its columns.
for (const slider of all("input[data-slices]")) {
  slider.addEventListener("input", () => {
    for (const slice of all("[data-slice]", slider.closest(".volume"))) {
      slice.classList.toggle("off", slice.dataset.slice !== slider.value);
    }
  });
}
