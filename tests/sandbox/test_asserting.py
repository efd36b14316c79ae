"""What was requested, compared with what was expected, and told."""

from typing import Any

import pytest

from dexcmd.clock import ManualClock
from dexcmd.sandbox import Behaviour, Fault, RecordedRequest, Sandbox
from dexcmd.sandbox.asserting import Expected, explain, request_table
from tests.sandbox.sandbox_api import Api

pytestmark = pytest.mark.anyio

ACCOUNT = "/client/v4/accounts/0123/dex"


def request(method: str = "GET", path: str = "/commands", **fields: Any) -> RecordedRequest:
    settings: dict[str, Any] = {"at": 0.0, "operation": "unknown", "query": {}, "headers": {}, "status": 200}
    return RecordedRequest(**{**settings, "method": method, "path": f"{ACCOUNT}{path}", **fields})


BODY = {"commands": [{"type": "pcap", "device_id": "d", "args": {"time-limit-min": 2}}]}


@pytest.mark.parametrize(
    ("expected", "came"),
    [
        (Expected(method="GET", path="/commands"), request()),
        (Expected(method="GET", path=f"{ACCOUNT}/commands"), request()),
        (Expected(method="GET", path="/commands/*/downloads/*"), request(path="/commands/a/downloads/b%20c.zip")),
        (Expected(method="GET", path="/commands/a/downloads/b c.zip"), request(path="/commands/a/downloads/b%20c.zip")),
        (Expected(method="GET", path="/artifacts/a/*"), request(path="", operation="storage")),
        (Expected(method="GET", path="/commands", query={"page": 2}), request(query={"page": "2", "per_page": "50"})),
        (Expected(method="POST", path="/commands", json={}), request("POST", body=BODY)),
        (Expected(method="POST", path="/commands", json={"commands": [{}]}), request("POST", body=BODY)),
        (Expected(method="POST", path="/commands", json=BODY), request("POST", body=BODY)),
        (
            Expected(method="POST", path="/commands", json={"commands": (BODY["commands"][0],)}),
            request("POST", body=BODY),
        ),
        (Expected(method="GET", path="/commands", status=503), request(status=503)),
    ],
    ids=str,
)
def test_a_match(expected: Expected, came: RecordedRequest):
    if came.operation == "storage":
        came.path = "/artifacts/a/b.zip"
    assert expected.differences(came) == []
    assert expected.distance(came) == 0


@pytest.mark.parametrize(
    ("expected", "came", "differences"),
    [
        (Expected(method="POST", path="/commands"), request(), ["GET, not POST"]),
        (Expected(method="GET", path="/commands/*"), request(path="/commands/a/downloads/b"), ["another path"]),
        (Expected(method="GET", path="/command."), request(), ["another path"]),
        (Expected(method="GET", path="/commands", query={"page": 2}), request(query={"page": "1"}), ["page=1, not 2"]),
        (Expected(method="GET", path="/commands", query={"page": 2, "to": 1}), request(), ["no page", "no to"]),
        (Expected(method="POST", path="/commands", json={}), request("POST"), ["no body"]),
        (
            Expected(method="POST", path="/commands", json={"commands": [{"type": "warp-diag"}]}),
            request("POST", body=BODY),
            ['$.commands[0].type is "pcap", not "warp-diag"'],
        ),
        (
            Expected(method="POST", path="/commands", json={"commands": [{"user_email": "a@example.com"}]}),
            request("POST", body=BODY),
            ["no $.commands[0].user_email"],
        ),
        (
            Expected(method="POST", path="/commands", json={"commands": []}),
            request("POST", body=BODY),
            ["$.commands has a length of 1, not 0"],
        ),
        (
            Expected(method="POST", path="/commands", json=[1]),
            request("POST", body=b"\xff"),
            [r"""$ is "b'\\xff'", not [1]"""],
        ),
        (Expected(method="GET", path="/commands", status=503), request(), ["status 200, not 503"]),
        (Expected(method="GET", path="/commands", status=503), request(status=None), ["status none, not 503"]),
    ],
    ids=str,
)
def test_what_differs(expected: Expected, came: RecordedRequest, differences: list[str]):
    assert expected.differences(came) == differences


@pytest.mark.parametrize("path", ["commands", "", "/commands?page=1"])
def test_paths_of_another_form(path: str):
    with pytest.raises(ValueError, match="path must begin with a slash"):
        Expected(method="GET", path=path)


def test_a_method_of_another_form():
    with pytest.raises(ValueError, match="method must be in upper case, as it is sent, not 'get'"):
        Expected(method="get", path="/commands")


def test_what_is_told_has_the_closest_first():
    requests = [
        request(path="/commands/devices", query={"page": "1"}, at=5.0),
        request("POST", body=BODY, at=6.0, status=None, fault="drop"),
        request(query={"page": "1"}, at=7.5),
        request("POST", body={"commands": []}, at=8.0),
    ]
    expected = Expected(method="POST", path="/commands", json={"commands": [{"type": "warp-diag"}]}, status=200)
    assert explain(expected, 2, requests).splitlines() == [
        'POST /commands with {"commands":[{"type":"warp-diag"}]} answered with 200 was never requested,'
        " and should have been twice; the log, with what comes closest first:",
        "",
        "#  at      request                       status  fault  what differs",
        "4  +3.0 s  POST /commands (no commands)  200            $.commands has a length of 0, not 1",
        "2  +1.0 s  POST /commands (1 pcap)       -       drop"
        '   $.commands[0].type is "pcap", not "warp-diag"; status none, not 200',
        "3  +2.5 s  GET /commands page=1          200            GET, not POST; no body",
        "1  +0.0 s  GET /commands/devices page=1  200            GET, not POST; another path; no body",
    ]


def test_the_right_method_and_path_are_closest_whatever_else_differs():
    requests = [request("POST", query={"a": "1", "b": "1"}), request(), request()]
    told = explain(Expected(method="GET", path="/commands", query={"a": 1, "b": 1}), None, requests).splitlines()
    assert [line.split()[0] for line in told[3:]] == ["2", "3", "1"]


def test_what_came_too_often_is_marked():
    told = explain(Expected(method="GET", path="/commands", query={"page": 1}), 0, [request(query={"page": "1"})] * 3)
    assert told.startswith("GET /commands with page=1 was requested 3 times, and should not have been; the log")
    assert told.count("(as expected)") == 3


def test_nothing_came():
    told = explain(Expected(method="GET", path="/commands"), None, [])
    assert told == "GET /commands was never requested; there was no request at all"
    assert request_table([]) == "no requests"


def test_a_long_log_is_cut():
    requests = [request(query={"page": str(number)}) for number in range(100)]
    told = explain(Expected(method="GET", path="/commands", query={"page": 77}), 2, requests).splitlines()
    assert told[3].startswith("78 ")
    assert told[-1] == "(70 more)"
    # What failed is nearer to the end.
    table = request_table(requests).splitlines()
    assert table[1].startswith("71 ")
    assert table[-2].startswith("100 ")
    assert table[-1] == "(70 more)"


def test_what_is_long_is_cut():
    table = request_table([request("POST", body="x" * 1000)])
    assert f'POST /commands "{"x" * 58}…' in table


async def test_a_sandbox_is_asked(api: Api):
    api.sandbox.faults.add(Fault.error(503), on="get_quota")
    for _ in range(2):
        await api.quota()
    failed, fine = api.sandbox.assert_requested("GET", "/commands/quota")
    assert api.sandbox.assert_requested("GET", "/commands/quota", times=2) == [failed, fine]
    assert api.sandbox.assert_requested("GET", "/commands/quota", status=503, times=1) == [failed]
    assert api.sandbox.assert_requested("GET", "/commands", times=0) == []
    assert (failed.fault, fine.fault) == ("error", None)
    with pytest.raises(AssertionError, match=r"was requested twice, and should have been once; the log"):
        api.sandbox.assert_requested("GET", "/commands/quota", times=1)
    await api.list(2)
    assert len(api.sandbox.assert_requested("GET", "/commands", query={"page": 2})) == 1
    with pytest.raises(AssertionError, match="GET /commands with page=1 was never requested"):
        api.sandbox.assert_requested("GET", "/commands", query={"page": 1})
    with pytest.raises(AssertionError, match="was never requested"):
        api.sandbox.assert_requested("POST", "/commands")


def test_rules_that_have_missed():
    sandbox = Sandbox(1)
    struck = sandbox.faults.add(Fault.drop(), on=["get_quota", "list_commands"])
    sandbox.faults.add(Fault.drop(), times=0)
    sandbox.faults.add_random(rate=0.5, mix=[Fault.drop(), Fault.garbage()], on="get_quota")
    assert [rule.missed for rule in sandbox.faults.rules] == [True, False, False]
    assert [str(rule) for rule in sandbox.faults.rules][::2] == [
        "drop on get_quota, list_commands",
        "drop or garbage on get_quota",
    ]
    sandbox.faults.take(request(operation="get_quota"))
    assert not struck.missed


def test_a_thread_of_its_own():
    sandbox = Sandbox(3, clock=ManualClock(), behaviour=Behaviour.instant())
    with sandbox.in_thread() as running:
        assert running is sandbox
        assert sandbox.base_url.startswith("http://127.0.0.1:")
    with pytest.raises(RuntimeError, match="not running"):
        _ = sandbox.base_url
    with pytest.raises(RuntimeError, match="entered only once"), sandbox.in_thread():
        pass
