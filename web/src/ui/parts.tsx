// Small parts that several others show.

import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { Person } from "../app.ts";

/** Colour, pattern and initials of a speaker; nobody: a dashed frame. */
export function Badge({ person }: { person: Person | null }) {
  if (!person) return <span class="badge nobody" aria-hidden="true">?</span>;
  return (
    <span class={`badge ${person.look.pattern}`} style={{ "--colour": person.look.colour, "--on": person.look.ink }} aria-hidden="true">
      <b>{person.initials}</b>
    </span>
  );
}

export function Kbd({ children }: { children: ComponentChildren }) {
  return <kbd>{children}</kbd>;
}

/** A modal dialog; Escape and the button close it. */
export function Modal({ title, close, children, wide }: { title: string; close: () => void; children: ComponentChildren; wide?: boolean }) {
  const element = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    const dialog = element.current!;
    const before = document.activeElement as HTMLElement | null;
    dialog.showModal();
    return () => before?.focus?.();
  }, []);
  return (
    <dialog ref={element} class={wide ? "wide" : ""} onClose={close} aria-label={title}>
      <header>
        <h2>{title}</h2>
        <button type="button" class="plain" onClick={close} aria-label="Close">×</button>
      </header>
      {children}
    </dialog>
  );
}
