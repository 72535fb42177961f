"use strict";
// Sorts and filters the matrix. The page is complete without this script.
(() => {
  const table = document.getElementById("matrix-table");
  if (!table || !table.tBodies.length) return;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const heads = Array.from(table.tHead.rows[0].cells);
  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
  };
  // Numbers first, then text.
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return a.localeCompare(b, "en", { numeric: true });
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const order = down ? -1 : 1;
      rows.sort((a, b) => order * compare(key(a, column), key(b, column)));
      body.append(...rows);
    });
  });

  const filters = document.createElement("form");
  filters.className = "filters";
  filters.setAttribute("role", "search");
  filters.setAttribute("aria-label", "Filter rows of the matrix");
  const labelled = (text, control) => {
    const label = document.createElement("label");
    label.append(text, control);
    filters.append(label);
    return control;
  };
  const search = labelled("Filter ", document.createElement("input"));
  search.type = "search";
  search.placeholder = "text in a row";
  const column = heads.findIndex((head) => head.textContent === "Metric");
  const metric = labelled("Metric ", document.createElement("select"));
  const names = Array.from(new Set(rows.map((row) => row.cells[column].textContent)));
  for (const name of ["all", ...names]) metric.append(new Option(name, name));
  const incomplete = document.createElement("input");
  incomplete.type = "checkbox";
  const label = document.createElement("label");
  label.append(incomplete, " only with missing values");
  filters.append(label);
  const shown = document.createElement("output");
  filters.append(shown);
  const filter = () => {
    const terms = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const fits = terms.every((term) => text.includes(term))
        && (metric.value === "all" || row.cells[column].textContent === metric.value)
        && (!incomplete.checked || row.classList.contains("incomplete"));
      row.hidden = !fits;
      if (fits) count += 1;
    }
    shown.textContent = `${count} of ${rows.length} rows`;
  };
  filters.addEventListener("input", filter);
  filters.addEventListener("submit", (event) => event.preventDefault());
  table.parentElement.before(filters);
  filter();
})();
