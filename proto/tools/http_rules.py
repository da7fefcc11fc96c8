#!/usr/bin/env python3
"""Writes the `google.api.http` option of each method into the `.proto` files, from the descriptors of the `viam-sdk` package.

usage: http_rules.py PROTOS        PROTOS is `proto/proto`; run it with the Python that has viam-sdk

Run it again when the package changes: an option that is there is replaced, and a file without a change is left as it is.
The conformance test says whether something was forgotten.
"""

import importlib
import os
import re
import sys
from pathlib import Path

IMPORT = 'import "google/api/annotations.proto";'
VERBS = ["get", "put", "post", "delete", "patch"]
SERVICE = re.compile(r"service (\w+) {$")
RPC = re.compile(r"  rpc (\w+)\(.*\) returns \(.*\)( {|;)$")


def rules():
    """The rule of each method by file, service and method."""
    import viam.gen

    found = {}
    for folder in viam.gen.__path__:
        for base, _, names in os.walk(folder):
            for name in sorted(names):
                if name.endswith("_pb2.py"):
                    path = os.path.relpath(os.path.join(base, name[: -len(".py")]), folder)
                    file = importlib.import_module("viam.gen." + path.replace(os.sep, ".")).DESCRIPTOR
                    for service in file.services_by_name.values():
                        for method in service.methods:
                            for option, value in method.GetOptions().ListFields():
                                if option.full_name == "google.api.http":
                                    found[file.name, service.name, method.name] = value
    return found


def text(rule):
    """The option as it is written."""
    verb = rule.WhichOneof("pattern")
    if verb not in VERBS or rule.additional_bindings or rule.response_body:
        sys.exit(f"no way to write this rule is known here: {rule}")
    body = f', body: "{rule.body}"' if rule.body else ""
    return f'    option (google.api.http) = {{{verb}: "{getattr(rule, verb)}"{body}}};'


def with_import(lines):
    """The lines of a file with the import in its place among the others."""
    imports = [line for line in lines if line.startswith("import ")]
    if IMPORT in imports:
        return lines
    first = lines.index(imports[0]) if imports else next(at for at, line in enumerate(lines) if line.startswith("package ")) + 2
    rest = [line for line in lines[first:] if not line.startswith("import ")]
    return lines[:first] + sorted([*imports, IMPORT]) + ([] if imports else [""]) + rest


def edit(lines, rules):
    """The lines of a file with these rules, by service and method."""
    edited, service, at = [], None, 0
    while at < len(lines):
        line, at = lines[at], at + 1
        if found := SERVICE.match(line):
            service = found[1]
        rpc = RPC.match(line)
        if not rpc or service is None:
            edited.append(line)
            continue
        options = []
        if rpc[2] == " {":
            while lines[at] != "  }":
                options.append(lines[at])
                at += 1
            at += 1
        options = [option for option in options if "(google.api.http)" not in option]
        if rule := rules.get((service, rpc[1])):
            options.append(text(rule))
        head = line.removesuffix(rpc[2])
        edited += [head + " {", *options, "  }"] if options else [head + ";"]
    return edited


def main(protos):
    by_file = {}
    for (file, service, method), rule in rules().items():
        by_file.setdefault(file, {})[service, method] = rule
    for name, rules_of_file in by_file.items():
        path = Path(protos) / name
        if path.exists():
            before = path.read_text()
            lines = edit(before.splitlines(), rules_of_file)
            if any("(google.api.http)" in line for line in lines):
                lines = with_import(lines)
            after = "\n".join(lines) + "\n"
            if after != before:
                path.write_text(after)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
