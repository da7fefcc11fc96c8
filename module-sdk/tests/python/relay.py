"""Calls every method of the Viam SDK's typed clients at one socket, and serves its typed components at another.

What stands between the two passes calls on; values must arrive as they were given, and so must results. Values are made
from the annotations of the methods, another one each time. Prints one JSON object: how many methods were called, and
what went wrong with which.
"""

import asyncio
import collections.abc
import dataclasses
import importlib
import inspect
import json
import sys
import types
import typing
from datetime import timedelta

from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from grpclib.client import Channel
from grpclib.server import Server
from viam.media.video import CameraMimeType, ViamImage
from viam.resource.manager import ResourceManager
from viam.resource.registry import Registry
from viam.streams import StreamWithIterator

MODULES = [
    "components.arm", "components.audio_in", "components.audio_out", "components.base", "components.board", "components.button",
    "components.camera", "components.encoder", "components.gantry", "components.generic", "components.gripper",
    "components.input", "components.motor", "components.movement_sensor", "components.pose_tracker",
    "components.power_sensor", "components.sensor", "components.servo", "components.switch", "services.discovery",
    "services.generic", "services.motion", "services.navigation", "services.slam", "services.vision",
    "services.worldstatestore",
]

# Not called here, and why. `mlmodel` needs numpy, which the tests do without.
BY_OTHERS = {
    "board.analog_by_name": "makes no call",
    "board.digital_interrupt_by_name": "makes no call",
    "board.gpio_pin_by_name": "makes no call",
    "board.stream_ticks": "takes the objects that it makes; the machine's tests do",
    "arm.move_through_joint_positions_streamed": "answers differ by who acknowledges; the table in Rust does",
    "input_controller.get_controls": "knows fixed names alone; the machine's tests do",
    "input_controller.get_events": "knows fixed names alone; the machine's tests do",
    "input_controller.trigger_event": "knows fixed names alone; the machine's tests do",
    "camera.get_images": "makes its own objects of pictures; the machine's tests do",
    "vision.capture_all_from_camera": "makes its own objects of pictures",
}
# Shared methods that not every API has on the wire.
NO_GEOMETRIES = {"button", "power_sensor", "switch"}
# Arguments that the SDK's own server does not pass on.
NOT_PASSED_ON = {("gripper.is_holding_something", "extra")}
# Results of which a number is one of an enum.
RESULTS = {"encoder.get_position": "position_type"}
# Numbers of enums, which annotations call int.
ENUMS = {"mode": 2, "position_type": 2, "format": 1}


class Maker:
    """Makes values, each another."""

    def __init__(self):
        self.count = 0

    def number(self):
        self.count += 1
        return self.count

    def text(self):
        return f"text {self.number()}"

    def of(self, kind, name=""):
        origin, inner = typing.get_origin(kind), typing.get_args(kind)
        if origin in (typing.Union, types.UnionType):
            kinds = [k for k in inner if k is not type(None)]
            if typing.SupportsFloat in kinds:
                return self.number() + 0.5
            # Of several tuples the longest says all.
            return self.of(max(kinds, key=lambda k: len(typing.get_args(k))), name)
        if origin in (list, collections.abc.Sequence):
            return [self.of(inner[0], name), self.of(inner[0], name)]
        if origin is tuple:
            return tuple(self.of(k, name) for k in inner)
        if origin in (dict, collections.abc.Mapping):
            return {self.text(): self.of(inner[1], name), self.text(): self.of(inner[1], name)}
        if origin in (collections.abc.AsyncIterable, collections.abc.AsyncIterator):
            return [self.of(inner[0], name), self.of(inner[0], name)]
        if kind is typing.Any:
            return self.number() + 0.5
        if kind is bool:
            return True
        if kind is int:
            return ENUMS.get(name) or self.number()
        if kind is float:
            return self.number() + 0.5
        if kind is str:
            return self.text()
        if kind is bytes:
            return self.text().encode()
        if kind is timedelta:
            return timedelta(seconds=self.number())
        if kind is ViamImage:
            # Two pixels; the SDK wants to know the size.
            header = b"RGBA" + (2).to_bytes(4, "big") + (1).to_bytes(4, "big")
            pixels = bytes([self.number() % 256, 1, 2, 255, 3, 4, 5, 255])
            return ViamImage(header + pixels, CameraMimeType.VIAM_RGBA)
        if inspect.isclass(kind) and issubclass(kind, Message):
            return self.message(kind)
        if dataclasses.is_dataclass(kind):
            hints = typing.get_type_hints(kind)
            return kind(**{f.name: self.of(hints[f.name], f.name) for f in dataclasses.fields(kind)})
        if hasattr(kind, "__supertype__"):
            return self.of(kind.__supertype__, name)
        if hasattr(kind, "_fields"):
            hints = typing.get_type_hints(kind)
            return kind(**{f: self.of(hints[f], f) for f in kind._fields})
        raise TypeError(f"no value of {kind}")

    def message(self, kind):
        message = kind()
        if kind is Struct:
            message.update({self.text(): self.number(), self.text(): [True, None, self.text()]})
            return message
        if kind is Value:
            return Value(number_value=self.number())
        if kind is ListValue:
            message.extend([self.number()])
            return message
        seen = set()
        for field in kind.DESCRIPTOR.fields:
            one_of = field.containing_oneof
            if one_of is not None and (one_of.name in seen or field.name.endswith("_deprecated")):
                continue
            if unused(field):
                continue
            if one_of is not None:
                seen.add(one_of.name)
            self.fill(message, field)
        if kind.DESCRIPTOR.full_name == "viam.app.v1.ComponentConfig":
            message.namespace, message.type, message.api = "rdk", "arm", "rdk:component:arm"
        return message

    def fill(self, message, field):
        if field.message_type and field.message_type.GetOptions().map_entry:
            value = field.message_type.fields_by_name["value"]
            for _ in range(2):
                if value.message_type:
                    getattr(message, field.name)[self.text()].CopyFrom(self.message(value.message_type._concrete_class))
                else:
                    getattr(message, field.name)[self.text()] = self.scalar(value)
        elif field.is_repeated:
            for _ in range(2):
                if field.message_type:
                    getattr(message, field.name).append(self.message(field.message_type._concrete_class))
                else:
                    getattr(message, field.name).append(self.scalar(field))
        elif field.message_type:
            getattr(message, field.name).CopyFrom(self.message(field.message_type._concrete_class))
        else:
            setattr(message, field.name, self.scalar(field))

    def scalar(self, field):
        if field.enum_type:
            numbers = [v.number for v in field.enum_type.values if v.number]
            return numbers[self.number() % len(numbers)]
        return {
            field.CPPTYPE_BOOL: lambda: True,
            field.CPPTYPE_STRING: lambda: self.text().encode() if field.type == field.TYPE_BYTES else self.text(),
            field.CPPTYPE_DOUBLE: lambda: self.number() + 0.5,
            field.CPPTYPE_FLOAT: lambda: self.number() + 0.5,
        }.get(field.cpp_type, self.number)()


def unused(field):
    """Fields that are not carried, for a reason: see the table in Rust."""
    return field.name.endswith("_deprecated") or field.full_name in (
        "viam.app.v1.ComponentConfig.service_configs",
        "viam.app.v1.ComponentConfig.log_configuration",
        "viam.app.v1.ComponentConfig.frame",
        "viam.common.v1.Mesh.original_file_source_path_diagnostic",
    )


def plain(value):
    """A value that can be compared: types of the wire and of the SDK may differ."""
    if isinstance(value, Message):
        if "request_id" in value.DESCRIPTOR.fields_by_name:
            # Each client makes its own.
            bare = type(value)()
            bare.CopyFrom(value)
            bare.ClearField("request_id")
            value = bare
        return value.SerializeToString(deterministic=True).hex()
    if dataclasses.is_dataclass(value) or hasattr(value, "_asdict"):
        return plain(vars(value) if dataclasses.is_dataclass(value) else value._asdict())
    if isinstance(value, ViamImage):
        # Its client calls every picture a JPEG.
        return value.data.hex()
    if isinstance(value, dict) or isinstance(value, collections.abc.Mapping):
        return {str(k): plain(v) for k, v in sorted(value.items())}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple)) or isinstance(value, collections.abc.Sequence) and not isinstance(value, str):
        return [plain(v) for v in value]
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool):
        return value
    return float(value) if isinstance(value, (int, float)) else value


async def collected(value):
    """A stream as the list of its items."""
    if hasattr(value, "__aiter__"):
        return [item async for item in value]
    return value


def hints_of(function):
    """Annotations of a method. One kind of value names itself, where it is not known."""
    return typing.get_type_hints(function, localns={"ValueTypes": typing.Any})


class Call:
    """The method under test: what it is given, what arrived, what it gives back."""

    def __init__(self):
        self.arrived = None
        self.gives = None


CALL = Call()


def method(name, hints, signature):
    """A method of the served component: keeps its arguments, returns what it is told."""
    streams = "Stream" in str(hints.get("return")) or "Async" in str(hints.get("return"))

    async def answer(self, *args, **kwargs):
        bound = signature.bind(self, *args, **kwargs)
        CALL.arrived = {k: await collected(v) for k, v in bound.arguments.items() if k not in ("self", "kwargs")}
        CALL.arrived.update(bound.arguments.get("kwargs", {}))
        if not streams:
            return CALL.gives

        async def items():
            for item in CALL.gives:
                yield item

        return StreamWithIterator(items())

    async def generate(self, *args, **kwargs):
        async for item in await answer(self, *args, **kwargs):
            yield item

    # The SDK's own server iterates over this one without awaiting it.
    return generate if name == "stream_transform_changes" else answer


def methods_of(kind):
    for name, function in inspect.getmembers(kind, inspect.isfunction):
        if inspect.iscoroutinefunction(function) and not name.startswith("_") and name != "close":
            yield name, function


def served(kind):
    made = {}
    for name, function in methods_of(kind):
        made[name] = method(name, hints_of(function), inspect.signature(function))
    for name in kind.__abstractmethods__ - made.keys():
        made[name] = lambda self, *args, **kwargs: None
    return type("Served" + kind.__name__, (kind,), made)


async def check(client, api, name, function):
    maker, hints, signature = Maker(), hints_of(function), inspect.signature(function)
    given = {}
    for parameter in list(signature.parameters.values())[1:]:
        if parameter.name in ("timeout", "kwargs"):
            continue
        given[parameter.name] = {"extra": maker.number()} if parameter.name == "extra" else maker.of(hints[parameter.name], parameter.name)
    result = hints.get("return", type(None))
    streams = "Stream" in str(result) or "AsyncGenerator" in str(result)
    if streams:
        CALL.gives = [maker.of(typing.get_args(result)[0]), maker.of(typing.get_args(result)[0])]
    else:
        CALL.gives = None if result is type(None) else maker.of(result, RESULTS.get(f"{api}.{name}", name))
    CALL.arrived = None
    sent = dict(given)
    for key, value in given.items():
        if "AsyncItera" in str(hints.get(key)):
            sent[key] = iterate(value)
    made = getattr(client, name)(**sent)
    got = await asyncio.wait_for(collected(await made if inspect.isawaitable(made) else made), 10)
    if CALL.arrived is None:
        return "it did not arrive"
    for key, value in given.items():
        if (f"{api}.{name}", key) not in NOT_PASSED_ON and plain(CALL.arrived.get(key)) != plain(value):
            return f"{key} was {value!r}, arrived as {CALL.arrived.get(key)!r}"
    if streams:
        empty = type(CALL.gives[0])()
        got = [item for item in got if not (isinstance(item, Message) and item == empty)]
    if plain(got) != plain(CALL.gives):
        return f"result was {CALL.gives!r}, came as {got!r}"
    return None


async def iterate(values):
    for value in values:
        yield value


async def main(near, far):
    for module in MODULES:
        importlib.import_module(f"viam.{module}")
    registered = {api: entry for api, entry in Registry.REGISTERED_APIS().items()}
    kinds = {api: entry for api, entry in registered.items() if entry.resource_type.__module__.split(".")[2] in {m.split(".")[1] for m in MODULES}}
    manager = ResourceManager([served(entry.resource_type)("far") for entry in kinds.values()])
    server = Server([entry.rpc_service(manager) for entry in kinds.values()])
    await server.start(path=far)
    print("ready", flush=True)
    await asyncio.get_event_loop().run_in_executor(None, sys.stdin.readline)
    channel = Channel(path=near)
    wrong, called = {}, 0
    for api, entry in kinds.items():
        subtype = str(api).rsplit(":", 1)[1]
        client = entry.create_rpc_client("near" if near != far else "far", channel)
        for name, function in methods_of(entry.resource_type):
            full = f"{subtype}.{name}"
            if full in BY_OTHERS or name == "get_geometries" and subtype in NO_GEOMETRIES:
                continue
            called += 1
            try:
                error = await check(client, subtype, name, function)
            except Exception as failure:  # noqa: BLE001
                error = f"{type(failure).__name__}: {failure}"
            if error:
                wrong[full] = error
    print(json.dumps({"called": called, "wrong": wrong}), flush=True)
    channel.close()
    server.close()


asyncio.run(main(*sys.argv[1:]))
