#!/usr/bin/env python3
"""Prints `.proto` files from the wire tables: the facts only, without a comment.

usage: from_tables.py TABLES OUT [FILE...]

TABLES  a folder with one plain-text table per protobuf package (services, methods, field numbers, enums)
OUT     where the files go, under the paths that the tables' `file` lines give
FILE    only these, for example `component/motor/v1/motor.proto`; default: every file of a machine (below)

It was run once for the bulk of `proto/proto/`. Those files now carry comments and options that no table
holds (tags, reserved names), so a file that exists is never overwritten. When the tables grow, print into
an empty folder and carry the differences over by hand: `diff -ru proto/proto OUT`. The conformance test
says whether something was forgotten.

Lines of a table (two blanks before what belongs to a service, an enum or a message):
    file PATH | import PATH | extend MESSAGE NUMBER NAME TYPE
    service FULL      NAME unary|server-stream|client-stream|bidi REQUEST -> RESPONSE [safety_heartbeat_monitored] [deprecated]
    enum FULL         NUMBER NAME
    message FULL      NUMBER NAME [repeated|optional] TYPE [(oneof NAME)] | reserved FIRST..LAST
"""

import re
import sys
from pathlib import Path

# The packages that a machine speaks, as patterns on the table's name.
PACKAGES = [
    r"viam\.(common|robot|module)\.v1",
    r"viam\.(component|service)\..*",
    r"viam\.app\.(datasync|packages)\.v1",
    r"(tagger|proto\.stream|proto\.rpc|proto\.rpc\.webrtc)\.v1",
    r"opentelemetry\..*",
]
# Files of which a machine needs only some messages, and what those use: the rest is spoken with the cloud alone.
PARTS = {
    "app/v1/robot.proto": ["viam.app.v1.ComponentConfig"],
    "app/data/v1/data.proto": ["viam.app.data.v1.Annotations"],
}
# Imports that only serve `google.api.http` options, which the tables do not hold: `http_rules.py` writes both.
DROPPED_IMPORTS = {"google/api/annotations.proto"}
# Where the types of other packages live, to leave out imports that a shortened file has no use for.
WELL_KNOWN = {
    "google/protobuf/any.proto": ["google.protobuf.Any"],
    "google/protobuf/duration.proto": ["google.protobuf.Duration"],
    "google/protobuf/field_mask.proto": ["google.protobuf.FieldMask"],
    "google/protobuf/struct.proto": ["google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue"],
    "google/protobuf/timestamp.proto": ["google.protobuf.Timestamp"],
}
SCALARS = set(
    "double float int32 int64 uint32 uint64 sint32 sint64 fixed32 fixed64 sfixed32 sfixed64 bool string bytes".split()
)
STREAMS = {"unary": ("", ""), "server-stream": ("", "stream "), "client-stream": ("stream ", ""), "bidi": ("stream ",) * 2}
FIELD = re.compile(r"(\d+) (\w+) (?:(repeated|optional) )?(map<.*>|[\w.]+)(?:  \(oneof (\w+)\))?$")


class File:
    """One `.proto` file: the lines of its items, in the order of the table."""

    def __init__(self, path, package):
        self.path, self.package = path, package
        self.imports, self.extends = [], []
        self.items = []  # (kind, full name, lines)

    def types(self):
        return {name for kind, name, _ in self.items if kind != "service"}


def read_table(path):
    """The files that one table describes."""
    files = []
    for line in path.read_text().splitlines():
        if line.startswith("  "):
            files[-1].items[-1][2].append(line.strip())
            continue
        kind, rest = line.split(" ", 1)
        if kind == "file":
            files.append(File(rest, path.stem))
        elif kind == "import":
            files[-1].imports.append(rest)
        elif kind == "extend":
            files[-1].extends.append(rest.split())
        else:
            files[-1].items.append((kind, rest, []))
    return files


def used_types(lines):
    """Every type that the lines of an item name."""
    return {word for line in lines for word in re.findall(r"[\w.]+", line) if "." in word}


def closure(file, roots):
    """What the roots use inside their file, themselves included."""
    items = {name: lines for _, name, lines in file.items}
    wanted, todo = set(), list(roots)
    while todo:
        name = todo.pop()
        if name in wanted or name not in items:
            continue
        wanted.add(name)
        todo += used_types(items[name])
        if name.count(".") > file.package.count(".") + 1:
            todo.append(name.rsplit(".", 1)[0])
    return wanted


class Printer:
    """Prints one file."""

    def __init__(self, file, homes):
        self.file, self.homes, self.out = file, homes, []
        self.types = file.types()

    def name(self, full, scope):
        """A type as seen from inside the message `scope`: short in its own package, else in full."""
        prefix = self.file.package + "."
        if scope and full.startswith(scope + "."):
            return full[len(scope) + 1 :]
        if full in SCALARS or not full.startswith(prefix):
            return full
        short = full[len(prefix) :]
        head = short.split(".")[0]
        # A nested type of the same name would be taken first.
        while scope and scope != self.file.package:
            if f"{scope}.{head}" in self.types and f"{scope}.{head}" != prefix + head:
                return "." + full
            scope = scope.rsplit(".", 1)[0]
        return short

    def line(self, depth, text):
        self.out.append("  " * depth + text)

    def service(self, full, lines):
        self.line(0, f"service {full.rsplit('.', 1)[1]} {{")
        for line in lines:
            name, kind, request, _, response, *options = line.split()
            take, give = STREAMS[kind]
            head = f"rpc {name}({take}{self.name(request, '')}) returns ({give}{self.name(response, '')})"
            own = self.file.package == "viam.common.v1"
            known = {
                "safety_heartbeat_monitored": f"({'' if own else 'viam.common.v1.'}safety_heartbeat_monitored) = true",
                "deprecated": "deprecated = true",
            }
            if not options:
                self.line(1, head + ";")
                continue
            self.line(1, head + " {")
            for option in options:
                self.line(2, f"option {known[option]};")
            self.line(1, "}")
        self.line(0, "}")

    def enum(self, full, lines, depth):
        self.line(depth, f"enum {full.rsplit('.', 1)[1]} {{")
        for line in lines:
            number, name = line.split()
            self.line(depth + 1, f"{name} = {number};")
        self.line(depth, "}")

    def message(self, full, lines, depth):
        nested = [item for item in self.file.items if item[0] != "service" and item[1].rsplit(".", 1)[0] == full]
        fields = [FIELD.match(line) for line in lines if not line.startswith("reserved")]
        if not lines and not nested:
            self.line(depth, f"message {full.rsplit('.', 1)[1]} {{}}")
            return
        self.line(depth, f"message {full.rsplit('.', 1)[1]} {{")
        for line in lines:
            if line.startswith("reserved"):
                first, last = line.split()[1].split("..")
                self.line(depth + 1, f"reserved {first};" if first == last else f"reserved {first} to {last};")
        for kind, name, inner in nested:
            (self.enum if kind == "enum" else self.message)(name, inner, depth + 1)
            self.line(0, "")
        begun = set()
        for field in fields:
            oneof = field[5]
            if oneof is None:
                self.field(field, full, depth + 1)
            elif oneof not in begun:
                begun.add(oneof)
                self.line(depth + 1, f"oneof {oneof} {{")
                for member in fields:
                    if member[5] == oneof:
                        self.field(member, full, depth + 2)
                self.line(depth + 1, "}")
        self.line(depth, "}")

    def field(self, field, scope, depth):
        number, name, label, kind, _ = field.groups()
        kind = re.sub(r"[\w.]+", lambda word: word[0] if word[0] == "map" else self.name(word[0], scope), kind)
        self.line(depth, f"{label + ' ' if label else ''}{kind} {name} = {number};")

    def print(self):
        file = self.file
        used = set().union(*(used_types(lines) for _, _, lines in file.items)) if file.items else set()
        monitored = any("safety_heartbeat_monitored" in line for _, _, lines in file.items for line in lines)
        imports = []
        for path in sorted(set(file.imports) - DROPPED_IMPORTS):
            needed = used & self.homes.get(path, set())
            if needed or (path == "common/v1/common.proto" and monitored) or path not in self.homes:
                imports.append(path)
        self.line(0, f'syntax = "proto3";\n\npackage {file.package};\n')
        for path in imports:
            self.line(0, f'import "{path}";')
        if imports:
            self.line(0, "")
        for extendee, number, name, kind in file.extends:
            # No table says whether the label was written; descriptors do, so the conformance test tells.
            self.line(0, f"extend {extendee} {{\n  optional {kind} {name} = {number};\n}}\n")
        for kind, full, lines in file.items:
            if full.rsplit(".", 1)[0] != file.package:
                continue  # Printed inside its parent.
            if kind == "service":
                self.service(full, lines)
            elif kind == "enum":
                self.enum(full, lines, 0)
            else:
                self.message(full, lines, 0)
            self.line(0, "")
        return "\n".join(self.out).rstrip() + "\n"


def main(tables, out, only):
    wanted, homes = [], {path: set(types) for path, types in WELL_KNOWN.items()}
    for table in sorted(Path(tables).glob("*.txt")):
        machine = any(re.fullmatch(pattern, table.stem) for pattern in PACKAGES)
        for file in read_table(table):
            homes[file.path] = file.types()
            if file.path in PARTS:
                keep = closure(file, PARTS[file.path])
                file.items = [item for item in file.items if item[1] in keep]
                wanted.append(file)
            elif machine:
                wanted.append(file)
    for file in wanted:
        path = Path(out) / file.path
        if only and file.path not in only:
            continue
        if path.exists():
            print(f"kept, since it exists: {path}", file=sys.stderr)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Printer(file, homes).print())


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], set(sys.argv[3:]))
