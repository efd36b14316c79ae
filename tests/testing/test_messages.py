"""What somebody is told whose test fails, and how tests are marked."""

import pytest

HEAD = """
import asyncio
import pytest
from dexcmd import DexClient
from dexcmd.sandbox import Fault

async def quota():
    async with DexClient() as dex:
        await dex.quota.get()

"""


def test_a_failed_test_shows_what_was_requested(runs: pytest.Pytester):
    runs.makepyfile(
        HEAD
        + """
def test_it(dex_sandbox):
    dex_sandbox.faults.add(Fault.error(503), on="get_quota")
    asyncio.run(quota())
    assert dex_sandbox.state.commands
"""
    )
    result = runs.runpytest("-p", "no:asyncio")
    # That there is a fault which ended it is told by the test itself.
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*- Requests to dex_sandbox -*",
            "#  at      request              status  fault",
            "1  +0.0 s  GET /commands/quota  503     error",
            "2  +0.* s  GET /commands/quota  200",
        ]
    )


def test_a_fixture_that_fails_shows_what_was_requested(runs: pytest.Pytester):
    runs.makepyfile(
        HEAD
        + """
@pytest.fixture
def first(dex_sandbox):
    asyncio.run(quota())
    raise RuntimeError("it")

@pytest.fixture
def last(dex_sandbox):
    yield
    asyncio.run(quota())
    dex_sandbox.state.commands["nobody"]

def test_it(first):
    pass

def test_another(last):
    pass
"""
    )
    result = runs.runpytest("-p", "no:asyncio")
    result.assert_outcomes(passed=1, errors=2)
    for when in ("setup of test_it", "teardown of test_another"):
        result.stdout.fnmatch_lines(
            [
                f"*ERROR at {when}*",
                "*- Requests to dex_sandbox -*",
                "#  at      request              status  fault",
                "1  +0.0 s  GET /commands/quota  200",
            ]
        )


def test_nothing_of_a_test_is_kept(runs: pytest.Pytester):
    runs.makepyfile(
        HEAD
        + """
import gc
import weakref

seen = []

def test_it(dex_sandbox, dex_client):
    asyncio.run(quota())
    seen.append(weakref.ref(dex_sandbox))

def test_that_is_later():
    gc.collect()
    assert [sandbox() for sandbox in seen] == [None]
"""
    )
    runs.runpytest("-p", "no:asyncio").assert_outcomes(passed=2)


def test_a_failed_assertion_on_requests_shows_them_once(runs: pytest.Pytester):
    runs.makepyfile(
        HEAD
        + """
def test_it(dex_sandbox):
    asyncio.run(quota())
    dex_sandbox.assert_requested("POST", "/commands", times=1)
"""
    )
    result = runs.runpytest("-p", "no:asyncio")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            ">*dex_sandbox.assert_requested(*",
            "E*POST /commands was never requested, and should have been once; the log, with what comes closest first:",
            "E*#  at      request              status  fault  what differs",
            "E*1  +0.0 s  GET /commands/quota  200            GET, not POST; another path",
        ]
    )
    result.stdout.no_fnmatch_line("*Requests to dex_sandbox*")
    # It is about the test and not about the kit.
    result.stdout.no_fnmatch_line("*server.py*")


def test_a_fault_that_struck_nothing_fails_a_test_that_passed(runs: pytest.Pytester):
    runs.makepyfile(
        HEAD
        + """
def test_it(dex_sandbox):
    dex_sandbox.faults.add(Fault.drop(), on=["get_quota", "list_devices"], skip=1)
    asyncio.run(quota())

def test_that_failed(dex_sandbox):
    dex_sandbox.faults.add(Fault.drop(), on="get_quota")
    raise RuntimeError("it")

def test_that_was_skipped(dex_sandbox):
    dex_sandbox.faults.add(Fault.drop(), on="get_quota")
    pytest.skip("no")

@pytest.mark.dex_sandbox(unstruck_faults=True)
def test_that_may(dex_sandbox):
    dex_sandbox.faults.add(Fault.drop(), on="get_quota")

def test_by_chance(dex_sandbox):
    dex_sandbox.faults.add_random(rate=0.5, mix=[Fault.drop()], on="list_devices")
"""
    )
    result = runs.runpytest("-p", "no:asyncio")
    result.assert_outcomes(passed=3, failed=1, skipped=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_it*",
            "scripted, but no request was struck by: drop on get_quota, list_devices",
            "*unstruck_faults=True*",
            "*- Requests to dex_sandbox -*",
            "#  at *",
            "1  +0.0 s  GET /commands/quota  200",
        ]
    )


def test_a_test_that_was_not_run_misses_nothing(runs: pytest.Pytester):
    runs.makepyfile(
        HEAD
        + """
@pytest.fixture(autouse=True)
def bad_day(dex_sandbox):
    dex_sandbox.faults.add(Fault.drop(), on="get_quota")

def test_it():
    asyncio.run(quota())
"""
    )
    runs.runpytest("-p", "no:asyncio").assert_outcomes(passed=1)
    runs.runpytest("-p", "no:asyncio", "--setup-only").assert_outcomes()


@pytest.mark.parametrize(
    ("mark", "told"),
    [
        ("3", "*UsageError: @pytest.mark.dex_sandbox takes keyword arguments only*"),
        ("clock=None", "*UsageError: @pytest.mark.dex_sandbox takes no clock: override the fixture dex_clock"),
        ("device=3", "*TypeError: *unexpected keyword argument 'device'*"),
        ("account_id='x'", "*ValueError: account_id must be 32 hex digits, not 'x'*"),
        ("devices='3'", "*TypeError: devices must be a number, or SandboxDevices in a sequence, not '3'*"),
        ("devices=3.0", "*TypeError: devices must be a number, or SandboxDevices in a sequence, not 3.0*"),
        ("devices=['a']", "*TypeError: devices must be a number, or SandboxDevices in a sequence, not ?'a'?*"),
        ("devices=-1", "*ValueError: devices must not be negative, not -1*"),
        ("quota='3'", "*TypeError: quota must be an integer, not '3'*"),
        ("quota=-1", "*ValueError: quota must not be negative, not -1*"),
        ("behaviour={}", "*TypeError: behaviour must be a Behaviour, not {}*"),
    ],
)
def test_marks_that_say_nothing(runs: pytest.Pytester, mark: str, told: str):
    runs.makepyfile(
        f"""
import pytest

@pytest.mark.dex_sandbox({mark})
def test_it(dex_sandbox):
    pass
"""
    )
    result = runs.runpytest("-p", "no:asyncio")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"E*{told}"])


def test_it_tells_of_itself(runs: pytest.Pytester):
    shown = runs.runpytest("-p", "no:asyncio", "--markers").stdout
    shown.fnmatch_lines(["@pytest.mark.dex_sandbox(*): what `dex_sandbox` is made with, *"])
    shown = runs.runpytest("-p", "no:asyncio", "--fixtures").stdout
    for name, told in (
        ("dex_clock", "Return the clock of `dex_sandbox` and its clients"),
        ("dex_sandbox", "Run a sandbox for this test"),
        ("dex_client", "Return a client for `dex_sandbox`"),
    ):
        shown.fnmatch_lines([f"{name} *", f"*{told}*"])
