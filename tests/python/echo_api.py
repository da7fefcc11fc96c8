"""The tests' own API for the Python SDK, as a module author would write it: a base class, a service and a client.

The messages are made from the descriptors that the test build wrote (`ECHO_DESCRIPTORS`), so that there is one source
for both languages and no generated code to keep.
"""

import abc
import asyncio
import os

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpclib import GRPCError, Status
from grpclib.client import (
    Channel,
    StreamStreamMethod,
    StreamUnaryMethod,
    UnaryStreamMethod,
    UnaryUnaryMethod,
)
from grpclib.const import Cardinality, Handler
from viam.gen.common.v1 import common_pb2 as _common  # noqa: F401  registers the file that the API imports
from viam.components.component_base import ComponentBase
from viam.resource.registry import Registry, ResourceRegistration
from viam.resource.rpc_client_base import ReconfigurableResourceRPCClientBase
from viam.resource.rpc_service_base import ResourceRPCServiceBase
from viam.resource.types import API, RESOURCE_TYPE_COMPONENT

PACKAGE = "mainstay.tests.echo.v1"
SERVICE = f"{PACKAGE}.EchoService"


def _load():
    files = descriptor_pb2.FileDescriptorSet()
    with open(os.environ["ECHO_DESCRIPTORS"], "rb") as source:
        files.ParseFromString(source.read())
    pool = descriptor_pool.Default()
    for file in files.file:
        # Everything else is registered by the SDK itself.
        if file.package == PACKAGE:
            pool.Add(file)
    return pool


_POOL = _load()


def message(name):
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))


Stamp = message("Stamp")
SayRequest, SayResponse = message("SayRequest"), message("SayResponse")
CountRequest, CountResponse = message("CountRequest"), message("CountResponse")
SumRequest, SumResponse = message("SumRequest"), message("SumResponse")
ChatRequest, ChatResponse = message("ChatRequest"), message("ChatResponse")
MoveRequest, MoveResponse = message("MoveRequest"), message("MoveResponse")
StopRequest, StopResponse = message("StopRequest"), message("StopResponse")
ReportRequest, ReportResponse = message("ReportRequest"), message("ReportResponse")

METHODS = {
    "Say": (Cardinality.UNARY_UNARY, SayRequest, SayResponse),
    "Count": (Cardinality.UNARY_STREAM, CountRequest, CountResponse),
    "Sum": (Cardinality.STREAM_UNARY, SumRequest, SumResponse),
    "Chat": (Cardinality.STREAM_STREAM, ChatRequest, ChatResponse),
    "Move": (Cardinality.UNARY_UNARY, MoveRequest, MoveResponse),
    "Stop": (Cardinality.UNARY_UNARY, StopRequest, StopResponse),
    "Report": (Cardinality.UNARY_UNARY, ReportRequest, ReportResponse),
}


class Echo(ComponentBase):
    API = API("tests", RESOURCE_TYPE_COMPONENT, "echo")

    @abc.abstractmethod
    async def say(self, text: str) -> str: ...

    @abc.abstractmethod
    def stamp(self): ...

    async def counted(self, value):
        """Called after each number of a stream."""


class EchoService(ResourceRPCServiceBase):
    RESOURCE_TYPE = Echo

    def __mapping__(self):
        return {f"/{SERVICE}/{name}": Handler(getattr(self, name), *rest) for name, rest in METHODS.items()}

    async def Say(self, stream):
        request = await stream.recv_message()
        echo = self.get_resource(request.name)
        headers = {key: str(value) for key, value in stream.metadata.items()}
        await stream.send_message(SayResponse(text=await echo.say(request.text), stamp=echo.stamp(), headers=headers))

    async def Count(self, stream):
        request = await stream.recv_message()
        echo = self.get_resource(request.name)
        for value in range(1, request.until + 1):
            await stream.send_message(CountResponse(value=value, stamp=echo.stamp()))
            await echo.counted(value)
            await asyncio.sleep(request.pause_ms / 1000)

    async def Sum(self, stream):
        total, echo = 0, None
        async for request in stream:
            echo = echo or self.get_resource(request.name)
            total += request.value
        await stream.send_message(SumResponse(total=total, stamp=echo.stamp() if echo else None))

    async def Chat(self, stream):
        async for request in stream:
            echo = self.get_resource(request.name)
            await stream.send_message(ChatResponse(text=request.text.upper(), stamp=echo.stamp()))

    async def Move(self, stream):
        self.get_resource((await stream.recv_message()).name).moves += 1
        await stream.send_message(MoveResponse())

    async def Stop(self, stream):
        self.get_resource((await stream.recv_message()).name).stops += 1
        await stream.send_message(StopResponse())

    async def Report(self, stream):
        echo = self.get_resource((await stream.recv_message()).name)
        moving = echo.moves > echo.stops
        await stream.send_message(ReportResponse(moves=echo.moves, stops=echo.stops, moving=moving, stamp=echo.stamp()))


class EchoStub:
    def __init__(self, channel: Channel):
        kinds = {
            Cardinality.UNARY_UNARY: UnaryUnaryMethod,
            Cardinality.UNARY_STREAM: UnaryStreamMethod,
            Cardinality.STREAM_UNARY: StreamUnaryMethod,
            Cardinality.STREAM_STREAM: StreamStreamMethod,
        }
        for name, (kind, request, response) in METHODS.items():
            setattr(self, name, kinds[kind](channel, f"/{SERVICE}/{name}", request, response))


class EchoClient(Echo, ReconfigurableResourceRPCClientBase):
    def __init__(self, name: str, channel: Channel):
        self.channel = channel
        self.client = EchoStub(channel)
        super().__init__(name)

    async def say(self, text):
        return (await self.client.Say(SayRequest(name=self.name, text=text))).text

    def stamp(self):
        raise GRPCError(Status.UNIMPLEMENTED, "only the module has it")


Registry.register_api(ResourceRegistration(Echo, EchoService, lambda name, channel: EchoClient(name, channel)))
