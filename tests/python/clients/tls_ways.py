"""Connects over TLS in the ways of the SDK: with its default options (which trust what the system trusts), and without its core."""

from common import RobotClient, run, tell
from viam.components.motor import Motor
from viam.rpc.dial import DialOptions

WAYS = {"default": {}, "direct": {"disable_webrtc": True}}


async def main(port):
    for way, options in WAYS.items():
        dial = DialOptions(timeout=3, max_reconnect_attempts=0, **options)
        try:
            async with await RobotClient.at_address(f"localhost:{port}", RobotClient.Options(dial_options=dial)) as machine:
                motor = Motor.from_robot(machine, "left")
                await motor.set_power(0.5)
                tell(way, await motor.is_powered())
                await motor.stop()
        except Exception as error:
            tell(way, str(error))


run(main)
