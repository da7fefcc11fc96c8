"""What every client script does: connect as the SDK's users do, and print results for the test to judge."""

import asyncio
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from grpclib import GRPCError  # noqa: E402
from viam.robot.client import RobotClient  # noqa: E402
from viam.rpc.dial import DialOptions  # noqa: E402


async def connect(address):
    dial = DialOptions(disable_webrtc=True, insecure=True)
    return await RobotClient.at_address(address, RobotClient.Options(disable_sessions=False, dial_options=dial))


def tell(what, value):
    """One result per line."""
    print(json.dumps({"what": what, "value": value}), flush=True)


async def refusal(call):
    """The code and text with which a call fails; None if it does not."""
    try:
        await call
    except GRPCError as error:
        return [error.status.name, error.message]
    except NotImplementedError:
        return ["UNIMPLEMENTED", ""]
    return None


def run(main):
    asyncio.run(main(*sys.argv[1:]))
