"""Connects with API keys through the SDK's own core: an owner, a viewer, a wrong key, none."""

from common import RobotClient, refusal, run, tell
from viam.components.motor import Motor
from viam.rpc.dial import DialOptions


async def connect(address, key_id=None, key=None):
    if key_id is None:
        options = RobotClient.Options(dial_options=DialOptions(insecure=True, timeout=5))
    else:
        options = RobotClient.Options.with_api_key(key, key_id)
        options.dial_options.insecure = True
        options.dial_options.timeout = 5
    return await RobotClient.at_address(address, options)


async def attempt(what, connecting):
    try:
        machine = await connecting
        await machine.get_version()
        await machine.close()
        tell(what, "")
    except Exception as error:  # noqa: BLE001
        tell(what, repr(error))


async def main(address, owner_id, owner_key, viewer_id, viewer_key):
    async with await connect(address, owner_id, owner_key) as owner:
        motor = Motor.from_robot(owner, "left")
        tell("owner moves", await refusal(motor.set_power(0.5)))
        tell("owner sees it move", await motor.is_powered())
        from viam.proto.robot import GetSessionsRequest, RobotServiceStub

        sessions = await RobotServiceStub(owner._channel).GetSessions(GetSessionsRequest(), metadata=[])
        tell("sessions", len(sessions.sessions))
        async with await connect(address, viewer_id, viewer_key) as viewer:
            watched = Motor.from_robot(viewer, "left")
            tell("viewer sees it move", await watched.is_powered())
            tell("viewer moves", await refusal(watched.set_power(0.1)))
            tell("viewer stops it", await refusal(watched.stop()))
            tell("viewer sees it stand", await watched.is_powered())
    await attempt("wrong key", connect(address, owner_id, "wrong"))
    await attempt("no key", connect(address))


run(main)
