"""Calls modules that are written with the same SDK, in other processes."""

from grpclib.client import UnaryUnaryMethod

from common import connect, refusal, run, tell
from echo_api import ChatRequest, CountRequest, Echo, SayRequest, SumRequest
from viam.components.generic.client import do_command
from viam.components.sensor import Sensor
from viam.proto.common import GetReadingsRequest, GetReadingsResponse


class MetadataForHelper(list):
    """The helper of SDK 0.85.1 unwraps its metadata twice."""

    @property
    def proto(self):
        return self


async def main(address):
    async with await connect(address) as machine:
        thermometer = Sensor.from_robot(machine, "thermometer")
        tell("thermometer", await thermometer.get_readings(extra={"unit": "C"}))
        # A method that this module's SDK does not have yet.
        path = "/viam.component.sensor.v1.SensorService/NotYet"
        method = UnaryUnaryMethod(machine._channel, path, GetReadingsRequest, GetReadingsResponse)
        tell("method", await refusal(method(GetReadingsRequest(name="thermometer"))))
        tell("command", await thermometer.do_command({"hello": [1, 2]}))

        tachometer = Sensor.from_robot(machine, "tachometer")
        await tachometer.do_command({"power": 0.4})
        tell("tachometer", await tachometer.get_readings())
        await tachometer.do_command({"power": 0})

        parrot = Echo.from_robot(machine, "parrot")
        tell("say", await parrot.say("hello"))
        stub = parrot.client
        answer = await stub.Say(SayRequest(name="parrot", text="who"))
        tell("stamp", [answer.stamp.nonce, answer.stamp.pid])
        answers = await stub.Count(CountRequest(name="parrot", until=4))
        tell("count", [answer.value for answer in answers])
        total = await stub.Sum([SumRequest(name="parrot", value=value) for value in (1, 2, 39)])
        tell("sum", total.total)
        async with stub.Chat.open() as stream:
            said = []
            for text in ("a", "b"):
                await stream.send_message(ChatRequest(name="parrot", text=text))
                said.append((await stream.recv_message()).text)
            await stream.end()
            tell("chat", said)

        # The helper of the SDK for a custom resource addresses the generic service.
        helped = await do_command(machine._channel, "parrot", {"polly": "cracker"}, metadata=MetadataForHelper())
        tell("helper", helped)
        tell("unknown", await refusal(stub.Say(SayRequest(name="nobody", text="?"))))
        models = await machine.get_models_from_modules()
        tell("models", sorted([m.module_name, m.model, m.api, m.from_local_module] for m in models))


run(main)
