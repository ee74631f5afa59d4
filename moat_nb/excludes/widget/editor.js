// The page of the excludes editor. It holds no rules: each state comes from Python, and all text
// is set as text, never as HTML, for names come from directories that a sandbox can write to.

let counter = 0;

/** An element with properties, attributes (names with a dash, and role) and children. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** One mount: its excludes, suggestions, and the field for another. */
class Mount {
  constructor(model, mount) {
    this.model = model;
    this.target = mount.target;
    const id = `moat-excludes-${(counter += 1)}`;
    this.list = make("ul", { role: "list", "aria-label": `Excludes of ${mount.target}` });
    this.suggestions = make("ul", { role: "list", "aria-label": `Suggestions for ${mount.target}` });
    this.suggested = make("div", {}, make("h4", {}, "Suggestions"), this.suggestions);
    this.error = make("p", { id: `${id}-error`, className: "moat-error", role: "status" });
    this.input = make("input", {
      id,
      type: "text",
      spellcheck: false,
      autocomplete: "off",
      placeholder: "node_modules, or **/__pycache__",
      "aria-describedby": `${id}-error`,
    });
    this.button = make("button", { type: "button" }, "Add");
    this.consent = make("div", { className: "moat-consent" });
    this.element = make(
      "fieldset",
      {},
      make(
        "legend",
        {},
        make("code", {}, mount.target),
        ` from ${mount.source}${mount.read_only ? ", read-only" : ""}`,
      ),
      this.list,
      this.suggested,
      make("div", { className: "moat-add" }, make("label", { for: id }, "Another path or glob"), this.input, this.button),
      this.error,
      this.consent,
    );
    this.input.addEventListener("input", () => this.type());
    this.input.addEventListener("keydown", (event) => {
      // Jupyter has shortcuts of its own for keys that reach it.
      event.stopPropagation();
      if (event.key === "Enter") this.add();
    });
    this.button.addEventListener("click", () => this.add());
  }

  type() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.send_typed(), 150);
  }

  send_typed() {
    this.model.set("typed", { ...this.model.get("typed"), [this.target]: this.input.value });
    this.model.save_changes();
  }

  add() {
    clearTimeout(this.timer);
    this.send_typed();
    this.model.send({ do: "add", target: this.target, pattern: this.input.value });
  }

  added() {
    this.input.value = "";
    this.input.focus();
  }

  set(pattern, wanted) {
    const all = this.model.get("excludes");
    const others = (all[this.target] ?? []).filter((path) => path !== pattern);
    // One that was taken out comes back where it was.
    const saved = this.mount.saved;
    const listed = wanted ? [...others, pattern] : others;
    const place = (path) => (saved.includes(path) ? saved.indexOf(path) : saved.length);
    listed.sort((one, other) => place(one) - place(other));
    this.model.set("excludes", { ...all, [this.target]: listed });
    this.model.save_changes();
  }

  row(pattern, notes, kind) {
    const asked = (this.model.get("excludes")[this.target] ?? []).includes(pattern);
    const saved = this.mount.saved.includes(pattern);
    const id = `moat-excludes-${(counter += 1)}`;
    const box = make("input", { type: "checkbox", checked: asked, "aria-describedby": id });
    box.dataset.key = `${this.target} ${pattern}`;
    box.addEventListener("change", () => this.set(pattern, box.checked));
    box.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter") box.click();
    });
    const state = asked === saved ? "" : asked ? "will be excluded" : "will be seen again";
    return make(
      "li",
      { className: kind },
      make("label", {}, box, make("code", {}, pattern)),
      make(
        "span",
        { id, className: "moat-notes" },
        state && make("strong", {}, state, notes ? "; " : ""),
        notes,
      ),
    );
  }

  update(mount) {
    this.mount = mount;
    const facts = this.model.get("facts")[this.target] ?? {};
    const suggestions = this.model.get("suggestions")[this.target] ?? [];
    const suggested = new Set(suggestions.map((one) => one.pattern));
    const asked = this.model.get("excludes")[this.target] ?? [];
    const listed = [...new Set([...mount.saved, ...asked])].filter((path) => !suggested.has(path));
    const rows = listed.map((path) => this.row(path, facts[path] ?? "", "moat-exclude"));
    this.list.replaceChildren(
      ...(rows.length ? rows : [make("li", { className: "moat-notes" }, "Nothing is excluded.")]),
    );
    this.suggestions.replaceChildren(
      ...suggestions.map((one) =>
        this.row(
          one.pattern,
          `${facts[one.pattern] ?? ""}; ${one.reason}`,
          one.secret ? "moat-secret" : "moat-exclude",
        ),
      ),
    );
    this.suggested.hidden = suggestions.length === 0;
    const words = this.model.get("typed_problems")[this.target] ?? "";
    if (this.error.textContent !== words) this.error.textContent = words;
    this.input.setAttribute("aria-invalid", String(words !== ""));
    this.ask_consent();
  }

  ask_consent() {
    const words = this.model.get("consent_needed")[this.target];
    const consent = this.model.get("consent");
    if (!words) return this.consent.replaceChildren();
    const box = make("input", { type: "checkbox", checked: consent.includes(this.target) });
    box.dataset.key = `consent ${this.target}`;
    box.addEventListener("keydown", (event) => event.stopPropagation());
    box.addEventListener("change", () => {
      const others = consent.filter((target) => target !== this.target);
      this.model.set("consent", box.checked ? [...others, this.target] : others);
      this.model.save_changes();
    });
    this.consent.replaceChildren(
      make("p", {}, words),
      make("label", {}, box, "Rewrite this mount as an object"),
    );
  }
}

/** Lines of a diff, each with a class for its colour; its sign is read out as it stands. */
function lines(diff) {
  const kinds = { "+": "moat-added", "-": "moat-removed", "@": "moat-place" };
  return diff
    .split("\n")
    .slice(0, -1)
    .map((line) => make("span", { className: kinds[line[0]] ?? "" }, `${line}\n`));
}

class Editor {
  constructor(model, root) {
    this.model = model;
    this.mounts = [];
    const send = (what) => () => model.send({ do: what });
    const button = (label, what, className = "") => {
      const made = make("button", { type: "button", className }, label);
      made.addEventListener("click", send(what));
      return made;
    };
    this.path = make("code");
    this.body = make("div");
    this.looking = make("span", { role: "status", className: "moat-notes" });
    this.look = button("Look again", "look");
    this.stop = button("Stop looking", "cancel");
    this.diff = make("pre", { tabIndex: 0, role: "region", "aria-label": "What saving changes" });
    this.save = button("Save", "save", "moat-primary");
    this.discard = button("Discard changes", "discard");
    this.reload = button("Read the file again", "reload");
    this.undo = button("Undo the last save", "undo");
    this.apply = button("Apply…", "ask_apply");
    this.loss = make("p", { id: `moat-excludes-${(counter += 1)}` });
    this.confirm = button("Restart the sandbox", "apply", "moat-primary");
    this.confirm.setAttribute("aria-describedby", this.loss.id);
    this.refrain = make("button", { type: "button" }, "Not now");
    this.refrain.addEventListener("click", () => this.close_question());
    this.question = make(
      "div",
      { role: "group", "aria-label": "Apply", className: "moat-question", hidden: true },
      this.loss,
      this.confirm,
      this.refrain,
    );
    this.message = make("p", { role: "status", "aria-live": "polite", className: "moat-message" });
    this.problem = make("p", { role: "alert", className: "moat-error" });
    this.element = make(
      "section",
      { className: "moat-excludes", "aria-label": "Excludes editor" },
      make("h3", {}, "Excludes of ", this.path),
      this.body,
      make("p", {}, this.looking, " ", this.look, this.stop),
      this.diff,
      make(
        "div",
        { className: "moat-buttons", role: "group", "aria-label": "The file" },
        ...[this.save, this.discard, this.reload, this.undo, this.apply],
      ),
      this.question,
      this.problem,
      this.message,
    );
    // Enter and the space bar belong to the buttons here, not to Jupyter's command mode.
    this.element.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !this.question.hidden) this.close_question();
      event.stopPropagation();
    });
    root.append(this.element);
    this.update();
  }

  close_question() {
    this.model.set("loss", "");
    this.model.save_changes();
    this.apply.focus();
  }

  later() {
    // Python sets traits one by one; the page is drawn once for all that come together.
    if (this.drawing) return;
    this.drawing = setTimeout(() => {
      this.drawing = null;
      this.update();
    }, 0);
  }

  update() {
    const key = document.activeElement?.dataset?.key;
    const get = (name) => this.model.get(name);
    this.path.textContent = get("path");
    this.update_mounts(get("mounts"));
    const state = get("state");
    this.looking.textContent = {
      looking: "Looking at the directory for what could be excluded…",
      done: "The whole directory was looked at.",
      part: "Only a part of the directory was looked at.",
    }[get("looking")];
    this.look.hidden = get("looking") === "looking";
    this.stop.hidden = !this.look.hidden;
    this.diff.replaceChildren(...lines(get("diff")));
    this.diff.hidden = get("diff") === "";
    this.enable(this.save, state === "changed");
    this.enable(this.discard, !["unchanged", "applying"].includes(state));
    this.reload.hidden = state !== "stale";
    this.enable(this.undo, get("can_undo"));
    this.apply.hidden = !get("can_apply");
    this.enable(this.apply, state !== "applying");
    this.ask(get("loss"));
    const refused = get("problems").map((one) => `${one.target}: ${one.words}`);
    this.say(this.problem, [get("problem"), ...refused].filter(Boolean).join("\n"));
    this.say(this.message, state === "applying" ? "The sandbox is being restarted…" : get("message"));
    if (key && document.activeElement?.dataset?.key !== key) {
      this.element.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
    }
  }

  update_mounts(mounts) {
    const targets = mounts.map((mount) => mount.target).join("\n");
    if (this.targets !== targets) {
      this.targets = targets;
      this.mounts = mounts.map((mount) => new Mount(this.model, mount));
      this.body.replaceChildren(...this.mounts.map((mount) => mount.element));
    }
    mounts.forEach((mount, index) => this.mounts[index].update(mount));
  }

  /** A button that cannot be used now stays where the keyboard finds it. */
  enable(button, enabled) {
    button.setAttribute("aria-disabled", String(!enabled));
  }

  ask(loss) {
    const opened = this.question.hidden && loss !== "";
    const closed = !this.question.hidden && loss === "";
    const inside = this.question.contains(document.activeElement);
    this.loss.textContent = loss;
    this.question.hidden = loss === "";
    if (opened) this.confirm.focus();
    if (closed && inside) this.apply.focus();
  }

  /** Set only when it differs, or a screen reader would say it again. */
  say(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  added(target) {
    this.mounts.find((mount) => mount.target === target)?.added();
  }
}

const TRAITS = [
  ...["path", "mounts", "excludes", "consent", "consent_needed", "suggestions", "facts"],
  ...["problems", "problem", "message", "diff", "state", "looking", "typed_problems"],
  ...["can_undo", "can_apply", "loss"],
];

export default {
  render({ model, el }) {
    const editor = new Editor(model, el);
    const later = () => editor.later();
    const heard = (content) => content.added && editor.added(content.added);
    TRAITS.forEach((name) => model.on(`change:${name}`, later));
    model.on("msg:custom", heard);
    return () => {
      TRAITS.forEach((name) => model.off(`change:${name}`, later));
      model.off("msg:custom", heard);
    };
  },
};
