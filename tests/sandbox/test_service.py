"""Lists, creates and quota over a real socket: every validation, every switch of the answers."""

import json
from datetime import timedelta
from typing import Any

import aiohttp
import anyio
import attrs
import pytest

from dexcmd.clock import ManualClock
from dexcmd.sandbox import Behaviour, Fault, NewCommand, Sandbox, SandboxDevice
from tests.sandbox.sandbox_api import Api, order, until

pytestmark = pytest.mark.anyio


def switch(api: Api, **changes: Any) -> None:
    api.sandbox.behaviour = attrs.evolve(api.sandbox.behaviour, **changes)


def fill(api: Api, count: int) -> list[str]:
    """Create commands behind the service's back, a second apart; return their ids, newest first."""
    made = []
    for number in range(count):
        made.append(api.sandbox.state.create(NewCommand(api.sandbox.state.devices[number % 7], "warp-diag")).id)
        api.sandbox.clock.advance(1)
    return made[::-1]


class TestSandbox:
    async def test_what_it_tells_of_itself(self, api: Api):
        sandbox = api.sandbox
        assert sandbox.base_url.startswith("http://127.0.0.1:")
        assert sandbox.base_url.endswith("/client/v4")
        assert sandbox.environment == {
            "CLOUDFLARE_API_TOKEN": sandbox.token,
            "CLOUDFLARE_ACCOUNT_ID": sandbox.account_id,
            "CLOUDFLARE_BASE_URL": sandbox.base_url,
        }
        assert len(sandbox.account_id) == 32
        assert sandbox.token not in repr(sandbox)
        await api.make(2)
        assert repr(sandbox) == f"<Sandbox {sandbox.base_url} devices=200 commands=2>"

    async def test_two_have_different_tokens(self):
        assert Sandbox().token != Sandbox().token

    async def test_it_has_no_address_unless_it_runs(self):
        sandbox = Sandbox()
        with pytest.raises(RuntimeError, match="async with"):
            _ = sandbox.base_url
        assert "not running" in repr(sandbox)
        async with sandbox:
            pass
        with pytest.raises(RuntimeError, match="async with"):
            _ = sandbox.environment

    async def test_it_is_entered_once(self):
        async with Sandbox() as sandbox:
            with pytest.raises(RuntimeError, match="once"):
                await sandbox.__aenter__()

    def test_sync_with_says_what_to_write(self):
        with pytest.raises(TypeError, match="async with"), Sandbox():
            pass

    @pytest.mark.parametrize("wrong", [{"account_id": "abc"}, {"account_id": "A" * 32}, {"token": "a b"}])
    def test_what_it_is_given_is_checked(self, wrong: dict[str, str]):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must"):
            Sandbox(**wrong)

    async def test_it_closes_in_a_cancelled_scope(self, session):
        with anyio.CancelScope() as scope:
            async with Sandbox(1) as sandbox:
                await Api(sandbox, session).quota()
                address = sandbox.base_url
                scope.cancel()
                await anyio.sleep(1)
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(address)

    async def test_given_token_account_and_port(self, api: Api):
        port = int(api.sandbox.base_url.split(":")[2].partition("/")[0])
        with pytest.raises(OSError, match="address"):
            async with Sandbox(port=port):
                pass
        async with Sandbox(0, token="t" * 40, account_id="a" * 32) as sandbox:
            assert (sandbox.token, sandbox.account_id) == ("t" * 40, "a" * 32)
            port = int(sandbox.base_url.split(":")[2].partition("/")[0])
        # Just left, so it is free; the storage takes another one.
        async with Sandbox(0, port=port) as sandbox:
            assert sandbox.base_url == f"http://127.0.0.1:{port}/client/v4"
            assert sandbox.storage_origin != f"http://127.0.0.1:{port}"

    async def test_all_that_is_made_up_follows_from_the_seed(self, clock: ManualClock):
        one, same, other = (Sandbox(30, clock=clock, seed=seed) for seed in (5, 5, 6))
        assert one.state.devices == same.state.devices != other.state.devices
        made = [sandbox.state.create(NewCommand(one.state.devices[0], "pcap")) for sandbox in (one, same, other)]
        assert (made[0].id, made[0].timeline) == (made[1].id, made[1].timeline)
        assert made[2].id != made[0].id
        assert made[2].timeline != made[0].timeline

    async def test_connections_are_counted_with_those_of_the_storage(self, api: Api, command: str):
        switch(api, download_redirect=302)
        location = (await api.download(command)).headers["Location"]
        await until(lambda: api.sandbox.open_connections == 0)
        async with aiohttp.ClientSession() as session:
            async with session.get(location) as response:
                await response.read()
            assert api.sandbox.open_connections == 1

    async def test_ipv6(self):
        try:
            async with Sandbox(host="::1") as sandbox:
                assert sandbox.base_url.startswith("http://[::1]:")
        except OSError:
            pytest.skip("no IPv6 here")

    async def test_every_answer_has_a_ray_and_the_time_of_the_service(self, api: Api):
        switch(api, clock_skew=300.0)
        first, second = await api.quota(), await api.request("GET", f"{api.sandbox.base_url}/nothing")
        assert first.headers["Date"] == second.headers["Date"] == "Thu, 01 Jan 2026 12:05:00 GMT"
        assert len(first.headers["cf-ray"]) == 20
        assert first.headers["cf-ray"] != second.headers["cf-ray"]

    async def test_requests_are_recorded(self, api: Api, clock: ManualClock):
        clock.advance(5)
        await api.list(2, 10, status="SUCCESS")
        await api.create({"type": "pcap"})
        await api.request("POST", api.commands_url, data=b"{no json")
        await api.request("POST", api.commands_url, data=b"", chunked=True)
        await api.request("PUT", f"{api.sandbox.base_url}/accounts/%2F/dex")
        listed, refused, garbled, empty, unknown = api.sandbox.requests
        assert (listed.operation, listed.status, listed.processed, listed.at) == (
            "list_commands",
            200,
            True,
            5.0,
        )
        assert listed.query == {"page": "2", "per_page": "10", "status": "SUCCESS"}
        assert listed.headers["authorization"] == f"Bearer {api.sandbox.token}"
        assert api.sandbox.token not in repr(listed)
        assert (refused.operation, refused.status, refused.processed) == ("create_commands", 400, False)
        assert refused.body == {"commands": [{"type": "pcap"}]}
        assert garbled.body == b"{no json"
        assert empty.body is None
        assert (unknown.operation, unknown.method, unknown.status) == ("unknown", "PUT", 405)
        assert unknown.path == "/client/v4/accounts/%2F/dex"
        assert unknown.params == {"account_id": "/"}

    async def test_an_error_of_the_test_is_recorded(self, api: Api):
        api.sandbox.faults.add(Fault.drop(), where=lambda request: request.body["commands"])
        assert (await api.quota()).status == 500
        api.sandbox.faults.clear()
        api.sandbox.faults.add(Fault.slow(1.0, processed=False))
        (command_id,) = await api.make(1, "warp-diag")
        api.sandbox.state.commands[command_id].size = 1
        assert (await api.download(command_id)).status == 500
        assert [request.status for request in api.sandbox.requests] == [500, 200, 500]


class TestAccess:
    @pytest.mark.parametrize("header", ["", "Bearer", "Basic abc", "Bearer two words", "Bearer naïve"])
    async def test_malformed_token(self, api: Api, header: str):
        answer = await api.request("GET", api.commands_url, headers={"Authorization": header})
        assert (answer.status, answer.codes) == (400, [6003])
        assert answer.json["errors"][0]["error_chain"][0]["code"] == 6111
        assert answer.result is None
        assert answer.json["success"] is False

    async def test_refused_token(self, api: Api):
        answer = await api.request("GET", api.commands_url, headers={"Authorization": "Bearer wrong"})
        assert (answer.status, answer.codes) == (403, [10000])

    async def test_the_scheme_is_read_without_regard_to_case(self, api: Api):
        answer = await api.request("GET", api.commands_url, headers={"Authorization": f"bearer {api.sandbox.token}"})
        assert answer.codes == [2001] * 2

    async def test_another_account(self, api: Api):
        url = api.commands_url.replace(api.sandbox.account_id, "0" * 32)
        answer = await api.request("GET", url)
        assert (answer.status, answer.codes) == (403, [10000])

    async def test_read_only_token(self, api: Api):
        switch(api, read_only_token=True)
        answer = await api.create(order(api.sandbox.state.devices[0]))
        assert (answer.status, answer.codes) == (403, [10000])
        assert (await api.list()).status == 200

    @pytest.mark.parametrize(
        "path",
        [
            "/x",
            "/accounts/xyz/dex/commands",
            "/accounts/{}/dex/nothing",
            "/accounts/{}/dex/commands/a/downloads",
        ],
    )
    async def test_unknown_routes(self, api: Api, path: str):
        answer = await api.request("GET", api.sandbox.base_url + path.format(api.sandbox.account_id))
        assert (answer.status, answer.codes) == (404, [7003])
        assert not api.sandbox.requests[0].processed

    @pytest.mark.parametrize(("method", "status"), [("POST", 404), ("DELETE", 405)])
    async def test_methods(self, api: Api, method: str, status: int):
        answer = await api.request(method, f"{api.commands_url}/quota")
        assert (answer.status, answer.json["success"]) == (status, False)


class TestLists:
    async def test_a_row(self, api: Api):
        target = api.sandbox.state.devices[0]
        (command_id,) = await api.make(1)
        answer = await api.list()
        assert answer.result["commands"] == [
            {
                "id": command_id,
                "type": "pcap",
                "status": "SUCCESS",
                "device_id": target.device_id,
                "registration_id": target.registration_id,
                "user_email": target.user_email,
                "created_date": "2026-01-01T12:00:00.000Z",
                "completed_date": "2026-01-01T12:00:00.000Z",
                "filename": f"{command_id}.zip",
            }
        ]
        assert answer.json["result_info"] == {
            "count": 1,
            "page": 1,
            "per_page": 50,
            "total_count": 1,
            "total_pages": 1,
        }
        assert (answer.json["errors"], answer.json["messages"]) == ([], [])

    async def test_a_row_in_progress(self, api: Api, clock: ManualClock):
        switch(api, run_seconds=(10.0, 10.0), upload_seconds=(5.0, 5.0), filename_delay=3.0)
        await api.make(1)
        seen = []
        for seconds in (0, 10, 5, 3):
            clock.advance(seconds)
            (row,) = (await api.list()).result["commands"]
            seen.append((row["status"], row["completed_date"] is not None, row["filename"] is not None))
        assert seen == [
            ("PENDING_EXEC", False, False),
            ("PENDING_UPLOAD", False, False),
            ("SUCCESS", True, False),
            ("SUCCESS", True, True),
        ]

    async def test_pages_newest_first(self, api: Api):
        made = fill(api, 120)
        pages = [(await api.list(page)).result["commands"] for page in (1, 2, 3, 4)]
        assert [len(page) for page in pages] == [50, 50, 20, 0]
        assert [row["id"] for page in pages for row in page] == made

    @pytest.mark.parametrize(
        ("query", "complaints"),
        [
            ({}, 2),
            ({"page": "1"}, 1),
            ({"page": "0", "per_page": "10"}, 1),
            ({"page": "1", "per_page": "51"}, 1),
            ({"page": "1.5", "per_page": "x"}, 2),
            ({"page": "\u0663", "per_page": "1e1"}, 2),
            ({"page": "1", "per_page": "50", "status": "DONE"}, 1),
            ({"page": "1", "per_page": "50", "command_type": "tcpdump"}, 1),
            ({"page": "1", "per_page": "50", "from": "yesterday", "to": "2026-02-30T00:00:00Z"}, 2),
            ({"page": "1", "per_page": "50", "from": "2026-01-01T00:00:00"}, 1),
            (
                {"page": "1", "per_page": "50", "from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
                1,
            ),
        ],
    )
    async def test_bad_queries(self, api: Api, query: dict[str, str], complaints: int):
        answer = await api.request("GET", api.commands_url, params=query)
        assert answer.status == 400
        assert len(answer.json["errors"]) == complaints
        assert not any("source" in error for error in answer.json["errors"])

    async def test_filters(self, api: Api):
        fill(api, 20)
        state = api.sandbox.state
        target = state.devices[0]
        made = await api.make(1)
        for query, ids in [
            ({"command_type": "pcap"}, made),
            ({"device_id": target.device_id, "command_type": "pcap"}, made),
            ({"user_email": target.user_email, "status": "SUCCESS", "command_type": "pcap"}, made),
            ({"status": "FAILED"}, []),
            ({"device_id": "nobody"}, []),
        ]:
            answer = await api.list(**query)
            assert [row["id"] for row in answer.result["commands"]] == ids
            assert answer.json["result_info"]["total_count"] == 21
        switch(api, total_count_ignores_filters=False)
        assert (await api.list(command_type="pcap")).json["result_info"]["total_count"] == 1

    @pytest.mark.parametrize(
        ("since", "until"),
        [
            ("2026-01-01T12:00:05Z", "2026-01-01T12:00:07.999999999Z"),
            ("2026-01-01 12:00:05+00", "2026-01-01 12:00:07+00"),
            ("2026-01-01T14:00:05+02:00", "2026-01-01t12:00:07z"),
        ],
    )
    async def test_times(self, api: Api, since: str, until: str):
        made = fill(api, 20)
        answer = await api.list(**{"from": since, "to": until})
        assert [row["id"] for row in answer.result["commands"]] == made[12:15]

    async def test_a_moment_is_a_time_as_well(self, api: Api):
        made = fill(api, 3)
        answer = await api.list(**{"from": "2026-01-01T12:00:01Z", "to": "2026-01-01T12:00:01Z"})
        assert [row["id"] for row in answer.result["commands"]] == [made[1]]

    async def test_each_status_can_be_asked_for(self, api: Api, clock: ManualClock):
        switch(api, run_seconds=(10.0, 10.0), upload_seconds=(5.0, 5.0))
        (command_id,) = await api.make(1, "warp-diag")
        for seconds, status in ((0, "PENDING_EXEC"), (10, "PENDING_UPLOAD"), (5, "SUCCESS")):
            clock.advance(seconds)
            assert [row["id"] for row in (await api.list(status=status)).result["commands"]] == [command_id]
        switch(api, failure_rate=1.0, run_seconds=(0.0, 0.0), upload_seconds=(0.0, 0.0))
        failed = await api.make(1, "warp-diag")
        assert [row["id"] for row in (await api.list(status="FAILED")).result["commands"]] == failed

    async def test_list_lag(self, api: Api, clock: ManualClock):
        switch(api, list_lag=4.0)
        await api.make(1)
        assert (await api.list()).result["commands"] == []
        assert (await api.list(to="2030-01-01T00:00:00Z")).result["commands"] == []
        clock.advance(4)
        assert len((await api.list()).result["commands"]) == 1

    async def test_result_info(self, api: Api):
        fill(api, 3)
        full = (await api.list(1, 2)).json["result_info"]
        assert full == {"count": 2, "page": 1, "per_page": 2, "total_count": 3, "total_pages": 2}
        switch(api, result_info="without-total-pages")
        assert (await api.list(1, 2)).json["result_info"].keys() == full.keys() - {"total_pages"}
        switch(api, result_info="missing")
        assert "result_info" not in (await api.list(1, 2)).json
        switch(api, result_info="wrong")
        for page in (1, 2, 3):
            wrong = (await api.list(page, 2)).json["result_info"]
            assert not any(wrong[key] == full[key] for key in ("per_page", "total_count", "total_pages"))
            assert wrong["page"] != page
            assert wrong["count"] != len((await api.list(page, 2)).result["commands"])
        switch(api, total_count_ignores_filters=False)
        nothing = (await api.list(1, 2, device_id="nobody")).json["result_info"]
        assert 0 not in (nothing["count"], nothing["total_count"], nothing["total_pages"])

    async def test_the_last_page_forever(self, api: Api):
        fill(api, 5)
        switch(api, repeat_last_page=True)
        last = (await api.list(3, 2)).result
        assert len(last["commands"]) == 1
        assert (await api.list(9, 2)).result == last
        devices = (await api.devices(4)).result["devices"]
        assert (await api.devices(400)).result["devices"] == devices
        assert (await api.list(7, 2, status="FAILED")).result == {"commands": []}

    async def test_filters_without_effect(self, api: Api):
        made = fill(api, 5)
        switch(api, ignored_filters={"status", "from"})
        answer = await api.list(**{"status": "FAILED", "from": "2030-01-01T00:00:00Z", "to": "2026-01-01T12:00:01Z"})
        assert [row["id"] for row in answer.result["commands"]] == made[-2:]

    async def test_null_when_empty(self, api: Api):
        switch(api, null_when_empty=True)
        assert (await api.list()).result is None
        assert (await api.devices(search="nobody")).result is None

    async def test_forms_of_rows(self, api: Api, clock: ManualClock):
        clock.advance(0.75)
        switch(api, date_format="postgres", unknown_fields=True, null_fields={"user_email"})
        await api.make(1)
        answer = await api.list()
        (row,) = answer.result["commands"]
        assert row["created_date"] == "2026-01-01 12:00:00+00"
        assert row["user_email"] is None
        assert "sandbox_extra" in row
        assert "sandbox_extra" in answer.json
        assert "sandbox_extra" in answer.result
        assert "sandbox_extra" in (await api.create(order(api.sandbox.state.devices[0]))).result
        assert "sandbox_extra" in (await api.devices()).result
        quota = (await api.quota()).result
        assert quota["reset_time"] == "2026-01-02 00:00:00+00"
        # Where a row has no such field, it gets none.
        assert quota.keys() == {"quota", "quota_usage", "reset_time", "sandbox_extra"}
        switch(api, omit_absent=True, omit_fields=["created_date", "absent"], run_seconds=(9.0, 9.0))
        await api.make(1)
        row = (await api.list()).result["commands"][0]
        assert row.keys() == {"id", "type", "status", "device_id", "registration_id", "sandbox_extra"}

    async def test_other_words_for_statuses(self, api: Api):
        switch(api, status_names={"SUCCESS": "DONE"})
        answer = await api.create(order(api.sandbox.state.devices[0]))
        assert answer.result["commands"][0]["status"] == "DONE"
        assert (await api.list(status="SUCCESS")).result["commands"][0]["status"] == "DONE"

    async def test_forms_of_filenames(self, api: Api):
        (command_id,) = await api.make(1)
        switch(api, filename_style="url")
        url = (await api.list()).result["commands"][0]["filename"]
        assert url == f"{api.sandbox.storage_origin}/artifacts/{command_id}/{command_id}.zip"
        assert not url.startswith(api.sandbox.base_url.partition("/client")[0])
        switch(api, filename_style="null")
        assert (await api.list()).result["commands"][0]["filename"] is None


class TestDevices:
    async def test_a_row(self, api: Api):
        answer = await api.devices(1, 1)
        target = api.sandbox.state.devices[0]
        assert answer.result["devices"] == [
            {
                "deviceId": target.device_id,
                "deviceName": target.name,
                "eligible": True,
                "ineligibleReason": None,
                "personEmail": target.user_email,
                "platform": target.platform,
                "registrationId": target.registration_id,
                "status": "connected",
                "timestamp": "2026-01-01T12:00:00.000Z",
                "version": target.version,
            }
        ]
        assert answer.json["result_info"]["total_count"] == 200

    async def test_pages_and_search(self, api: Api):
        pages = [(await api.devices(page, 30)).result["devices"] for page in range(1, 9)]
        assert [len(page) for page in pages] == [30, 30, 30, 30, 30, 30, 20, 0]
        target = api.sandbox.state.devices[11]
        for search in (target.user_email, target.name.lower()):
            found = await api.devices(search=search)
            assert [row["deviceId"] for row in found.result["devices"]] == [target.device_id]
            assert found.json["result_info"]["total_count"] == 200
        switch(api, total_count_ignores_filters=False)
        assert (await api.devices(search=target.name)).json["result_info"]["total_count"] == 1

    async def test_unhealthy_rows(self, api: Api):
        switch(api, device_timestamp="words")
        rows = [row for page in (1, 2, 3, 4) for row in (await api.devices(page)).result["devices"]]
        assert len([row for row in rows if row["ineligibleReason"]]) == 4
        assert [row["status"] for row in rows].count("disconnected") == 4
        assert rows[0]["timestamp"] == "0 minutes ago"

    async def test_when_a_device_was_there(self, session: aiohttp.ClientSession, clock: ManualClock):
        away = SandboxDevice(name="LON-1", user_email="ada@example.com", connected=False, last_seen=150.0)
        async with Sandbox([away], clock=clock) as sandbox:
            api = Api(sandbox, session)
            seen = []
            for form in ("date", "words"):
                switch(api, device_timestamp=form)
                seen.append((await api.devices()).result["devices"][0]["timestamp"])
            assert seen == ["2026-01-01T11:57:30.000Z", "2 minutes ago"]

    async def test_query_is_checked(self, api: Api):
        answer = await api.devices(0, 99)
        assert (answer.status, len(answer.json["errors"])) == (400, 2)


# What is wrong with the second of two orders, and where the service says that it is.
BAD_ORDERS = [
    ("text", [""]),
    ({"device_id": None}, ["/device_id"]),
    ({"device_id": "", "type": 5, "user_email": []}, ["/device_id", "/type", "/user_email"]),
    ({"registration_id": 7}, ["/registration_id"]),
    ({"type": "tcpdump"}, ["/type"]),
    ({"device_id": "unknown"}, ["/device_id"]),
    ({"registration_id": "unknown"}, ["/registration_id"]),
    ({"user_email": "eve@example.com"}, ["/user_email"]),
    ({"args": []}, ["/args"]),
    ({"args": {"nonsense": 1}}, ["/args/nonsense"]),
    ({"args": {"a/b~c": 1}}, ["/args/a~1b~0c"]),
    ({"args": {"test-all-routes": True}}, ["/args/test-all-routes"]),
    ({"args": {"time-limit-min": 0}}, ["/args/time-limit-min"]),
    ({"args": {"time-limit-min": "5"}}, ["/args/time-limit-min"]),
    ({"args": {"time-limit-min": True}}, ["/args/time-limit-min"]),
    ({"args": {"time-limit-min": float("nan")}}, ["/args/time-limit-min"]),
    (
        {"args": {"max-file-size-mb": 0.5, "packet-size-bytes": None}},
        ["/args/max-file-size-mb", "/args/packet-size-bytes"],
    ),
    ({"type": "warp-diag", "args": {"test-all-routes": "yes"}}, ["/args/test-all-routes"]),
    ({"type": "speed-test", "args": {"interfaces": ["eth0"]}}, ["/args/interfaces"]),
    ({"type": "speed-test", "args": {"interfaces": "default"}}, ["/args/interfaces"]),
    ({"type": "nonsense", "device_id": "unknown"}, ["/type", "/device_id"]),
]


class TestCreating:
    async def test_rows_and_quota(self, api: Api):
        first, second = api.sandbox.state.devices[:2]
        args = {"time-limit-min": 1, "packet-size-bytes": 96.5}
        answer = await api.create(
            order(first, args=args),
            order(second, "speed-test", args={"interfaces": ["default"]}),
            {**order(second, "warp-diag", args={"test-all-routes": False}), "registration_id": None},
        )
        assert answer.status == 200
        commands = list(api.sandbox.state.commands.values())
        assert answer.result["commands"][0] == {
            "id": commands[0].id,
            "args": {"time-limit-min": "1", "packet-size-bytes": "96.5"},
            "device_id": first.device_id,
            "registration_id": first.registration_id,
            "status": "SUCCESS",
            "type": "pcap",
        }
        assert [row["args"] for row in answer.result["commands"][1:]] == [
            {"interfaces": '["default"]'},
            {"test-all-routes": "false"},
        ]
        assert [each.type for each in commands] == ["pcap", "speed-test", "warp-diag"]
        assert api.sandbox.requests[0].created == tuple(each.id for each in commands)
        quota = (await api.quota()).result
        assert quota == {"quota": 800, "quota_usage": 3, "reset_time": "2026-01-02T00:00:00.000Z"}

    @pytest.mark.parametrize("digits", [400, 5000])
    async def test_large_numbers(self, api: Api, digits: int):
        """Of 400 digits it is more than a float takes, of 5000 more than Python reads."""
        body = json.dumps({"commands": [order(api.sandbox.state.devices[0], args={"packet-size-bytes": 7})]})
        answer = await api.request("POST", api.commands_url, data=body.replace("7}", f"1{'0' * digits}}}").encode())
        assert answer.status == (200 if digits == 400 else 400)
        for command_id in api.sandbox.state.commands:
            assert (await api.download(command_id)).status == 200

    @pytest.mark.parametrize(
        "body", [b"", b"{", b"[" * 100_000, b"[]", b'"x"', b"{}", b'{"commands": {}}', b'{"commands": []}']
    )
    async def test_bad_bodies(self, api: Api, body: bytes):
        answer = await api.request("POST", api.commands_url, data=body)
        assert (answer.status, answer.pointers) == (400, ["/commands"])

    async def test_at_most_ten(self, api: Api):
        orders = [order(each) for each in api.sandbox.state.devices[:20]]
        answer = await api.create(*orders[:11])
        assert (answer.status, answer.pointers) == (400, ["/commands"])
        assert (await api.create(*orders[:10])).status == 200
        switch(api, max_commands=20)
        assert (await api.create(*orders)).status == 200
        assert len(api.sandbox.state.commands) == 30

    @pytest.mark.parametrize(("changes", "pointers"), BAD_ORDERS, ids=json.dumps)
    async def test_bad_orders_point_at_the_culprit(self, api: Api, changes: Any, pointers: list[str]):
        good = order(api.sandbox.state.devices[0])
        bad = {**order(api.sandbox.state.devices[1]), **changes} if isinstance(changes, dict) else changes
        answer = await api.create(good, bad)
        assert answer.status == 400
        assert answer.pointers == [f"/commands/1{pointer}" for pointer in pointers]
        assert not api.sandbox.state.commands
        assert not api.sandbox.requests[0].processed

    async def test_maximums_are_enforced_on_request(self, api: Api):
        too_much = order(api.sandbox.state.devices[0], args={"time-limit-min": 11})
        assert (await api.create(too_much)).status == 200
        switch(api, enforce_maximums=True)
        assert (await api.create(too_much)).pointers == ["/commands/0/args/time-limit-min"]
        most = {"max-file-size-mb": 50, "packet-size-bytes": 1500, "time-limit-min": 10}
        assert (await api.create(order(api.sandbox.state.devices[1], args=most))).status == 200
        above = {name: value + 0.5 for name, value in most.items()}
        refused = await api.create(order(api.sandbox.state.devices[1], args=above))
        assert refused.pointers == [f"/commands/0/args/{name}" for name in most]

    async def test_ineligible_devices(self, api: Api):
        target = next(each for each in api.sandbox.state.devices if not each.eligible)
        answer = await api.create(order(target))
        assert answer.pointers == ["/commands/0/device_id"]
        assert target.ineligible_reason in answer.json["errors"][0]["message"]

    async def test_shared_devices_need_a_registration(self, api: Api):
        shared = next(each for each in api.sandbox.state.devices if each.user_email.startswith("second."))
        nameless = {key: value for key, value in order(shared).items() if key != "registration_id"}
        assert (await api.create(nameless)).pointers == ["/commands/0/registration_id"]
        answer = await api.create(order(shared))
        assert answer.result["commands"][0]["registration_id"] == shared.registration_id
        switch(api, registration_required=False)
        answer = await api.create(nameless)
        assert answer.result["commands"][0]["registration_id"] == shared.registration_id

    async def test_how_errors_are_told(self, api: Api):
        bad = {**order(api.sandbox.state.devices[0]), "device_id": "unknown"}
        assert (await api.create(bad, bad)).pointers == ["/commands/0/device_id", "/commands/1/device_id"]
        switch(api, every_error=False)
        assert (await api.create(bad, bad)).pointers == ["/commands/0/device_id"]
        switch(api, error_pointers=False)
        assert "source" not in (await api.create(bad, bad)).json["errors"][0]

    async def test_partial_acceptance(self, api: Api):
        switch(api, target_acceptance="partial")
        first, second = api.sandbox.state.devices[:2]
        bad = {**order(first), "device_id": "unknown"}
        answer = await api.create(order(first), bad, order(second))
        assert (answer.status, answer.json["success"]) == (200, True)
        assert answer.pointers == ["/commands/1/device_id"]
        assert [row["device_id"] for row in answer.result["commands"]] == [first.device_id, second.device_id]
        assert (await api.create(bad)).status == 400
        # What is wrong with the body is no command's fault.
        assert (await api.create(*[order(first)] * 11)).status == 400
        switch(api, error_pointers=False)
        assert "source" not in (await api.create(order(first), bad)).json["errors"][0]

    async def test_altered_rows(self, api: Api):
        switch(api, create_rows=("partial",))
        targets = api.sandbox.state.devices[:4]
        ids = [each.device_id for each in targets]

        async def shown(*alterations: str) -> list[str]:
            switch(api, create_rows=alterations)
            answer = await api.create(*(order(each) for each in targets))
            return [row["device_id"] for row in answer.result["commands"]]

        assert await shown("partial") == ids[:2]
        assert await shown("reordered") == ids[::-1]
        assert await shown("duplicated") == [*ids, ids[0]]
        with_foreign = await shown("foreign", "reordered")
        assert with_foreign[1:] == ids[::-1]
        assert with_foreign[0] not in {each.device_id for each in api.sandbox.state.devices}
        assert len(api.sandbox.state.commands) == 16
        targets = targets[:3]
        assert await shown("partial") == ids[:1]


class TestQuota:
    async def test_refused_as_a_whole(self, clock: ManualClock, api: Api):
        api.sandbox.state.quota.limit = 5
        await api.make(3)
        answer = await api.create(*(order(each) for each in api.sandbox.state.devices[:3]))
        assert (answer.status, answer.codes) == (403, [2012])
        switch(api, quota_status=429, quota_code=77, quota_message="too many")
        answer = await api.create(*(order(each) for each in api.sandbox.state.devices[:3]))
        assert (answer.status, answer.codes) == (429, [77])
        assert answer.json["errors"][0]["message"] == "too many"
        assert (await api.quota()).result["quota_usage"] == 3
        assert len(await api.make(2)) == 2
        clock.advance(86400)
        assert len(await api.make(3)) == 3

    async def test_it_resets_by_the_clock_of_the_service(self, api: Api, clock: ManualClock):
        switch(api, clock_skew=300.0)
        await api.make(1)
        clock.advance(12 * 3600 - 301)
        assert (await api.quota()).result["quota_usage"] == 1
        clock.advance(1)
        quota = (await api.quota()).result
        assert (quota["quota_usage"], quota["reset_time"]) == (0, "2026-01-03T00:00:00.000Z")

    async def test_accepted_in_part(self, api: Api):
        api.sandbox.state.quota.limit = 5
        switch(api, quota_acceptance="partial")
        await api.make(3)
        answer = await api.create(*(order(each) for each in api.sandbox.state.devices[:3]))
        assert (answer.status, len(answer.result["commands"]), answer.codes) == (200, 2, [2012])
        answer = await api.create(order(api.sandbox.state.devices[0]))
        assert answer.status == 403


class TestRateLimit:
    async def test_headers_and_refusal(self, api: Api, clock: ManualClock):
        switch(api, rate_limit=3, rate_window=100.0)
        answers = [await api.quota() for _ in range(4)]
        assert [each.status for each in answers] == [200, 200, 200, 429]
        assert [each.headers["Ratelimit"] for each in answers[:2]] == [
            '"default";r=2;t=100',
            '"default";r=1;t=100',
        ]
        assert answers[0].headers["Ratelimit-Policy"] == '"default";q=3;w=100'
        assert answers[3].codes == [971]
        assert answers[3].headers["Ratelimit"] == '"default";r=0;t=100'
        assert {"Date", "cf-ray"} <= set(answers[3].headers)
        clock.advance(30.5)
        refused = await api.create({})
        assert refused.headers["Retry-After"] == "70"
        assert (api.sandbox.requests[-1].status, api.sandbox.requests[-1].processed) == (429, False)
        switch(api, retry_after=False, ratelimit_headers=False)
        refused = await api.quota()
        assert not {"Retry-After", "Ratelimit", "Ratelimit-Policy"} & set(refused.headers)
        clock.advance(69.5)
        assert (await api.quota()).status == 200

    async def test_other_users(self, api: Api):
        api.sandbox.consume_rate_limit(1199)
        assert (await api.quota()).headers["Ratelimit"] == '"default";r=0;t=300'
        assert (await api.quota()).status == 429

    async def test_it_is_none_of_the_storage(self, api: Api, command: str):
        switch(api, download_redirect=302)
        location = (await api.download(command)).headers["Location"]
        api.sandbox.consume_rate_limit(2000)
        assert (await api.download(command)).status == 429
        async with api.session.get(location) as response:
            assert response.status == 200
            assert "Ratelimit" not in response.headers

    async def test_no_limit(self, api: Api):
        switch(api, rate_limit=None)
        assert "Ratelimit" not in (await api.quota()).headers


async def test_exact_devices(session, clock: ManualClock):
    device = SandboxDevice(
        device_id="not a uuid/at all",
        registration_id="r1",
        name="MINE",
        user_email="me@example.com",
        connected=False,
    )
    async with Sandbox([device], clock=clock) as sandbox:
        api = Api(sandbox, session)
        (row,) = (await api.devices()).result["devices"]
        assert (row["deviceId"], row["status"]) == ("not a uuid/at all", "disconnected")
        await api.create(order(device))
        clock.advance(599)
        assert (await api.list()).result["commands"][0]["status"] == "PENDING_EXEC"
        clock.advance(1)
        (row,) = (await api.list()).result["commands"]
        assert (row["status"], row["filename"]) == ("FAILED", None)
        assert sandbox.state.now() == clock.now()
        assert clock.now() - sandbox.state.commands[row["id"]].created == timedelta(minutes=10)


async def test_behaviour_makes_up_the_fleet():
    sandbox = Sandbox(100, behaviour=Behaviour(ineligible_share=0.1, disconnected_share=0, multi_user_share=0))
    assert [each.eligible for each in sandbox.state.devices].count(False) == 10
    assert all(each.connected for each in sandbox.state.devices)
    assert len({each.device_id for each in sandbox.state.devices}) == 100
