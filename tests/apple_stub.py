"""A stand-in for Apple's ``container`` command, for machines that are not a Mac.

It accepts what the ``container run`` section of apple/container's docs/command-reference.md
(1.0.0) documents, with the value checks of its Parser.swift, and refuses everything else; then it
runs the container's command as a plain process, its environment that of ``--env`` alone. Run as
``python apple_stub.py LOG WORDS...``; each call is appended to the file LOG as a JSON line.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

FLAGS = {"--rm", "--interactive", "--init", "--no-dns", "--read-only"}
ULIMITS = {"core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile"}
ULIMITS |= {"nproc", "rss", "rtprio", "rttime", "sigpending", "stack"}
PATTERNS = {
    "--name": r"[a-zA-Z0-9][a-zA-Z0-9_.-]+",
    "--progress": r"none|ansi",
    "--network": r"none",
    "--user": r"\d+:\d+",
    "--workdir": r"/.*",
    "--cap-drop": r"ALL|(CAP_)?[A-Z_]+",
    "--memory": r"[1-9]\d*[KMGTP]?",
    "--shm-size": r"[1-9]\d*[KMGTP]?",
    "--cpus": r"[1-9]\d*",
    "--ulimit": rf"({'|'.join(sorted(ULIMITS))})=(\d+|unlimited)(:(\d+|unlimited))?",
    "--env": r"[^=]+=[\s\S]*",
    "--label": r"[^=]+=.*",
    "--entrypoint": r".+",
}
REPEATED = {"--cap-drop", "--ulimit", "--env", "--label", "--mount"}


class Refused(Exception):
    pass


def check_mount(text):
    keys = {}
    for part in text.split(","):
        key, *value = part.split("=")
        key = {"src": "source", "dst": "destination", "target": "destination"}.get(key, key)
        key = "ro" if key == "readonly" else key
        if key not in ("type", "source", "destination", "ro", "size", "mode") or key in keys:
            raise Refused(f"unknown directive {key} when parsing mount {text}")
        if len(value) != (0 if key == "ro" else 1):
            raise Refused(f"invalid directive format {part} in {text}")
        keys[key] = "".join(value)
    expected = {"tmpfs": {"type", "destination", "size", "mode", "ro"}}
    expected["bind"] = {"type", "source", "destination", "ro"}
    kind = keys.get("type")
    if kind not in expected or not set(keys) <= expected[kind] or "destination" not in keys:
        raise Refused(f"unsupported mount {text}")
    if kind == "bind" and not Path(keys["source"]).is_dir():
        raise Refused(f"path '{keys['source']}' is not a directory")
    if "size" in keys and not re.fullmatch(PATTERNS["--memory"], keys["size"]):
        raise Refused(f"invalid size in {text}")
    if "mode" in keys and not re.fullmatch(r"[0-7]{3,4}", keys["mode"]):
        raise Refused(f"invalid mode in {text}")


def parse(words):
    """``(options, image, arguments)``; Refused for anything undocumented."""
    options = {}
    words = list(words)
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option in FLAGS:
            value = True
        elif option != "--mount" and option not in PATTERNS:
            raise Refused(f"Unknown option '{option}'")
        elif not words:
            raise Refused(f"Missing value for '{option}'")
        else:
            value = words.pop(0)
            if option == "--mount":
                check_mount(value)
            elif not re.fullmatch(PATTERNS[option], value):
                raise Refused(f"The value '{value}' is invalid for '{option}'")
        if option not in REPEATED and option in options:
            raise Refused(f"'{option}' is given twice")
        options.setdefault(option, []).append(value)
    ulimits = [value.split("=")[0] for value in options.get("--ulimit", [])]
    if len(ulimits) != len(set(ulimits)):
        raise Refused("duplicate ulimit type")
    if not words:
        raise Refused("Missing expected argument '<image>'")
    return options, words[0], words[1:]


def run(words):
    options, _, arguments = parse(words)
    env = dict(value.split("=", 1) for value in options.get("--env", []))
    command = [*options.get("--entrypoint", []), *arguments]
    stdin = None if "--interactive" in options else subprocess.DEVNULL
    return subprocess.run(command, env=env, stdin=stdin, check=False).returncode


def main(log, *words):
    with Path(log).open("a") as file:
        file.write(json.dumps(words) + "\n")
    answers = json.loads(os.environ.get("APPLE_STUB", "{}"))
    if words == ("--version",):
        print(answers.get("version", "container CLI version 1.0.0 (build: release, commit: abc)"))
        return 0
    if words == ("system", "status"):
        return answers.get("status", 0)
    if words[:2] == ("delete", "--force") and len(words) == 3:
        return 0
    if words[:1] == ("run",):
        return run(words[1:])
    raise Refused(f"Unexpected argument '{' '.join(words)}'")


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except Refused as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(64)
