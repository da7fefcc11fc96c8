#!/usr/bin/env python3
"""Writes to standard output, as an encoded `google.protobuf.FileDescriptorSet`, every file that the `viam-sdk` package
registers, and every file that those import: what a real client puts on the wire.

usage: descriptors.py VERSION        fails if another version of `viam-sdk` is installed
"""

import importlib
import importlib.metadata
import os
import sys


def main(version):
    try:
        installed = importlib.metadata.version("viam-sdk")
    except importlib.metadata.PackageNotFoundError:
        installed = "no"
    if installed != version:
        sys.exit(f"{sys.executable} has {installed} viam-sdk, the test is against {version}: pip install viam-sdk=={version}")

    # Only now: what is missing should be named by the check above.
    import viam.gen
    from google.protobuf import descriptor_pb2

    found = {}

    def add(file):
        """Adds a file after its imports, each once."""
        if file.name not in found:
            for imported in file.dependencies:
                add(imported)
            found[file.name] = descriptor_pb2.FileDescriptorProto.FromString(file.serialized_pb)

    for folder in viam.gen.__path__:
        # The generated folders are no packages everywhere, so the files are searched, not the packages.
        for base, _, names in os.walk(folder):
            for name in sorted(names):
                if name.endswith("_pb2.py"):
                    path = os.path.relpath(os.path.join(base, name[: -len(".py")]), folder)
                    module = importlib.import_module("viam.gen." + path.replace(os.sep, "."))
                    add(module.DESCRIPTOR)
    sys.stdout.buffer.write(descriptor_pb2.FileDescriptorSet(file=found.values()).SerializeToString())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
