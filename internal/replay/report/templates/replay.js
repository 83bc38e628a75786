// Sorts the tables of a replay's report. One listener for the document, so that a table that is put in anew sorts as well.
document.addEventListener("click", function (event) {
  var button = event.target.closest && event.target.closest("table.sorts thead button");
  if (!button) return;
  var th = button.closest("th"), table = th.closest("table"), body = table.tBodies[0];
  var column = Array.prototype.indexOf.call(th.parentNode.children, th);
  var up = th.getAttribute("aria-sort") === "ascending" ? false : th.getAttribute("aria-sort") === "descending" ? true : !th.classList.contains("n");
  th.parentNode.querySelectorAll("th").forEach(function (other) { other.removeAttribute("aria-sort"); });
  th.setAttribute("aria-sort", up ? "ascending" : "descending");
  var value = function (row) {
    var cell = row.children[column], v = cell.dataset.value;
    return v === undefined ? cell.textContent.trim() : Number(v);
  };
  Array.prototype.slice.call(body.rows).map(function (row) { return { row: row, value: value(row) }; }).sort(function (a, b) {
    var order = a.value < b.value ? -1 : a.value > b.value ? 1 : 0;
    return up ? order : -order;
  }).forEach(function (entry) { body.appendChild(entry.row); });
});
// A link to a finding opens it.
function openTarget() {
  var target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  if (target && target.tagName === "DETAILS") target.open = true;
}
window.addEventListener("hashchange", openTarget);
document.addEventListener("DOMContentLoaded", openTarget);
