"""Several sandboxes at one address."""

from contextlib import AsyncExitStack

import pytest

from dexcmd import DexClient, Pcap, PermissionDeniedError
from dexcmd.sandbox import Behaviour, Sandbox


@pytest.mark.anyio
async def test_one_address_for_several_accounts():
    one, other = (Sandbox(5, seed=seed, behaviour=Behaviour.instant()) for seed in (0, 1))
    one.also_serve(other)
    async with AsyncExitStack() as stack:
        for sandbox in (other, one):
            await stack.enter_async_context(sandbox)

        def client(account: Sandbox, token: str) -> DexClient:
            return DexClient(api_token=token, account_id=account.account_id, base_url=one.base_url)

        for sandbox in (one, other):
            async with client(sandbox, sandbox.token) as dex:
                devices = [device async for device in dex.devices.list() if device.eligible]
                assert {device.device_id for device in devices} <= {each.device_id for each in sandbox.state.devices}
                [command] = await dex.commands.create([devices[0].request(Pcap())])
            assert list(sandbox.state.commands) == [command.id]
            assert {request.origin for request in sandbox.requests} == {one.base_url.removesuffix("/client/v4")}
        async with client(other, one.token) as dex:
            with pytest.raises(PermissionDeniedError):
                await dex.quota.get()
        async with client(Sandbox(1), one.token) as dex:
            with pytest.raises(PermissionDeniedError):
                await dex.quota.get()


def test_an_account_is_served_once():
    sandbox, other = Sandbox(1), Sandbox(1)
    sandbox.also_serve(other)
    for served in (sandbox, other):
        with pytest.raises(ValueError, match=f"account {served.account_id} is served already"):
            sandbox.also_serve(served)
