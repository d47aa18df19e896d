"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (!("sort" in head.dataset)) return;
    head.tabIndex = 0;
    const sort = () => {
      const old = head.getAttribute("aria-sort");
      const falling = old ? old === "ascending" : head.dataset.sort === "1";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const value = (row) => row.cells[column].dataset.v;
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        const gone = ["", "None"];
        if (gone.includes(x) || gone.includes(y)) return gone.includes(x) - gone.includes(y);
        return falling ? y - x : x - y;
      });
      body.append(...rows);
      table.classList.toggle("sorted", column !== 0 || falling);
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        sort();
      }
    });
  });
}
