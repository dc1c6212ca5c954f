// The review page of one recording.

import { render } from "preact";
import { App } from "./app.ts";
import { load } from "./data.ts";
import { bind } from "./keys.ts";
import { Page } from "./ui/Page.tsx";

async function main(): Promise<void> {
  const root = document.getElementById("app");
  if (!root) return;
  try {
    const app = new App(await load(root));
    render(<Page app={app} />, root);
    bind(app, document);
    addEventListener("beforeunload", (event) => {
      if (app.saving.waiting) event.preventDefault();
    });
    document.documentElement.dataset.ready = "true";
  } catch (error) {
    root.textContent = `The page cannot be shown: ${error instanceof Error ? error.message : String(error)}`;
    throw error;
  }
}

void main();
