"use strict";
// The page works without: this picks the reader's language, keeps the document's language and title right, opens
// "#differing", and adds buttons that copy.
const choices = [...document.querySelectorAll(".languages input")];

function speak() {
  const chosen = choices.find((choice) => choice.checked);
  document.documentElement.lang = chosen.value;
  const title = document.querySelector("h1 .in-" + chosen.id.slice("show-".length)) || document.querySelector("h1");
  if (title) document.title = title.textContent;
}

const wanted = (navigator.languages || [navigator.language])
  .map((tag) => choices.find((choice) => choice.value.split("-")[0] === tag.toLowerCase().split("-")[0]))
  .find(Boolean);
if (wanted) wanted.checked = true;
for (const choice of choices) choice.addEventListener("change", speak);

document.addEventListener("DOMContentLoaded", () => {
  speak();
  const filter = document.getElementById("differing");
  const follow = () => { if (location.hash === "#differing") filter.checked = true; };
  follow();
  addEventListener("hashchange", follow);
  if (!navigator.clipboard) return;
  const made = document.getElementById("copy").content;
  for (const block of document.querySelectorAll("pre")) {
    const frame = document.createElement("div");
    frame.className = "command";
    block.replaceWith(frame);
    frame.append(block, made.cloneNode(true));
    const button = frame.querySelector("button");
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(block.textContent);
      button.classList.add("done");
      setTimeout(() => button.classList.remove("done"), 1500);
    });
  }
});
