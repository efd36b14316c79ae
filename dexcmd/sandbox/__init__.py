"""A faithful fake of the service, over a real socket, with faults on demand.

```python
from dexcmd.sandbox import Behaviour, Fault, Sandbox

async with Sandbox(devices=200, behaviour=Behaviour.instant()) as sandbox:
    sandbox.faults.add(Fault.drop(processed=True), on="create_commands")
    ...  # point a client at sandbox.base_url, with sandbox.token and sandbox.account_id
    assert len(sandbox.state.commands) == 1
```
"""

from dexcmd.sandbox.artifacts import Artifact
from dexcmd.sandbox.behaviour import ArtifactSize, Behaviour, RowAlteration
from dexcmd.sandbox.devices import SandboxDevice, make_devices
from dexcmd.sandbox.faults import BodyForm, Fault, Framing
from dexcmd.sandbox.requestlog import Operation, RecordedRequest
from dexcmd.sandbox.script import FaultRule, FaultScript
from dexcmd.sandbox.server import Sandbox
from dexcmd.sandbox.state import CommandFilter, NewCommand, Quota, SandboxState, StoredCommand
from dexcmd.sandbox.timeline import Timeline

__all__ = [
    "Artifact",
    "ArtifactSize",
    "Behaviour",
    "BodyForm",
    "CommandFilter",
    "Fault",
    "FaultRule",
    "FaultScript",
    "Framing",
    "NewCommand",
    "Operation",
    "Quota",
    "RecordedRequest",
    "RowAlteration",
    "Sandbox",
    "SandboxDevice",
    "SandboxState",
    "StoredCommand",
    "Timeline",
    "make_devices",
]
