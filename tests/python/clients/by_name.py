"""Connects to machines by their names on the local network, as the SDK's users do: its own core looks them up by mDNS."""

from common import RobotClient, run, tell
from viam.rpc.dial import DialOptions


async def main(_address, *names):
    for name in names:
        options = RobotClient.Options(dial_options=DialOptions(insecure=True))
        async with await RobotClient.at_address(name, options) as machine:
            tell(name, sorted(resource.name for resource in machine.resource_names))


run(main)
