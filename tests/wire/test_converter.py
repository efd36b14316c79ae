"""JSON to the real models: what is missing, what is null, what is of another type, and where."""

from collections.abc import Callable
from datetime import UTC, datetime

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.errors import ResponseDecodeError
from dexcmd.resources.command import Command, decode_commands
from dexcmd.resources.devices import Device
from dexcmd.resources.quota import Quota
from dexcmd.resources.requests import Pcap, SpeedTest, WarpDiag
from dexcmd.wire.converter import structure, structure_rows, unstructure_args

COMMAND_ROW = {
    "id": "c1",
    "type": "pcap",
    "status": "SUCCESS",
    "device_id": "d1",
    "registration_id": "r1",
    "user_email": "ada@example.com",
    "created_date": "2019-12-27T18:11:19.117Z",
    "completed_date": "2023-10-11 00:00:00+00",
    "filename": "c1.zip",
    "args": {"time-limit-min": "5"},
}
DEVICE_ROW = {
    "deviceId": "d1",
    "deviceName": "LON-1",
    "eligible": False,
    "ineligibleReason": "offline",
    "personEmail": "ada@example.com",
    "platform": "linux",
    "registrationId": "r1",
    "status": "connected",
    "timestamp": "2023-10-11 00:00:00+00",
    "version": "2026.1.2",
}
QUOTA = {"quota": 800, "quota_usage": 17, "reset_time": "2026-01-02T00:00:00Z"}


def decode_devices(result: object) -> list[Device]:
    return structure_rows(result, "devices", Device)


def decode_quota(result: object) -> Quota:
    return structure(result, Quota, "$.result")


def error_of(decode: Callable[[object], object], result: object) -> ResponseDecodeError:
    with pytest.raises(ResponseDecodeError) as caught:
        decode(result)
    assert len(str(caught.value).splitlines()) == 1
    return caught.value


class TestWhole:
    def test_a_command(self):
        assert decode_commands({"commands": [COMMAND_ROW]}) == [
            Command(
                id="c1",
                type="pcap",
                status="SUCCESS",
                device_id="d1",
                registration_id="r1",
                user_email="ada@example.com",
                created_date=datetime(2019, 12, 27, 18, 11, 19, 117000, tzinfo=UTC),
                completed_date=datetime(2023, 10, 11, tzinfo=UTC),
                filename="c1.zip",
                args={"time-limit-min": "5"},
            )
        ]

    def test_a_device(self):
        assert decode_devices({"devices": [DEVICE_ROW]}) == [
            Device(
                device_id="d1",
                device_name="LON-1",
                eligible=False,
                ineligible_reason="offline",
                person_email="ada@example.com",
                platform="linux",
                registration_id="r1",
                status="connected",
                timestamp=datetime(2023, 10, 11, tzinfo=UTC),
                version="2026.1.2",
            )
        ]

    def test_a_quota(self):
        assert decode_quota(QUOTA) == Quota(800, 17, datetime(2026, 1, 2, tzinfo=UTC))
        assert decode_quota(QUOTA).remaining == 783

    def test_the_samples_above_fill_every_field(self):
        for model, row in ((Command, COMMAND_ROW), (Device, DEVICE_ROW), (Quota, QUOTA)):
            assert len(attrs.fields(model)) == len(row)

    def test_no_rows(self):
        assert decode_commands({"commands": []}) == []


class TestAbsentAndNull:
    @pytest.mark.parametrize(("model", "row"), [(Command, COMMAND_ROW), (Device, DEVICE_ROW), (Quota, QUOTA)])
    def test_both_are_none(self, model: type, row: dict[str, object]):
        for value in ({}, dict.fromkeys(row), {"unknown": 1, "also-unknown": {"x": []}}):
            found = structure(value, model, "$.result")
            assert found == model()
            assert set(attrs.asdict(found).values()) == {None}

    @pytest.mark.parametrize("name", list(COMMAND_ROW))
    def test_one_field_missing_or_null_leaves_the_others(self, name: str):
        whole = decode_commands({"commands": [COMMAND_ROW]})[0]
        without = {key: value for key, value in COMMAND_ROW.items() if key != name}
        for row in (without, {**COMMAND_ROW, name: None}):
            assert decode_commands({"commands": [row]}) == [attrs.evolve(whole, **{name: None})]

    def test_unknown_fields_are_ignored(self):
        plain = decode_commands({"commands": [COMMAND_ROW]})
        more = {**COMMAND_ROW, "priority": 5, "deviceId": 7, "self": None}
        assert decode_commands({"commands": [more], "count": 1, "devices": 5}) == plain

    def test_wire_names_only(self):
        row = {"device_id": 5, "person_email": 6}
        assert decode_devices({"devices": [row]}) == [Device()]

    def test_what_remains_of_a_quota_that_is_not_told(self):
        assert decode_quota({"quota": 5}).remaining is None
        assert decode_quota({"quota_usage": 5}).remaining is None
        assert decode_quota({"quota": 5, "quota_usage": 7}).remaining == 0


class TestStringsPassThrough:
    @pytest.mark.parametrize("status", ["QUEUED", "", "success", "None", "\u00fc"])
    def test_status_and_type(self, status: str):
        found = decode_commands({"commands": [{"status": status, "type": status}]})[0]
        assert found.status == found.type == status
        assert not found.ended
        assert not found.succeeded

    @pytest.mark.parametrize(
        ("status", "ended", "succeeded"),
        [
            ("SUCCESS", True, True),
            ("FAILED", True, False),
            ("PENDING_EXEC", False, False),
            ("PENDING_UPLOAD", False, False),
            (None, False, False),
        ],
    )
    def test_which_ones_are_over(self, status: str | None, ended: bool, succeeded: bool):
        found = decode_commands({"commands": [{"status": status}]})[0]
        assert (found.ended, found.succeeded) == (ended, succeeded)

    @pytest.mark.parametrize("text", ["", "yesterday", "2023-10-11T00:00:00", "1697000000", "2023-10-11"])
    def test_a_timestamp_that_does_not_parse_stays_the_string(self, text: str):
        assert decode_devices({"devices": [{"timestamp": text}]})[0].timestamp == text


class TestTimes:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("2019-12-27T18:11:19.117Z", datetime(2019, 12, 27, 18, 11, 19, 117000, tzinfo=UTC)),
            ("2023-10-11 00:00:00+00", datetime(2023, 10, 11, tzinfo=UTC)),
            ("2023-10-11T05:30:00+05:30", datetime(2023, 10, 11, tzinfo=UTC)),
            (
                "2023-10-11T00:00:00.123456789Z",
                datetime(2023, 10, 11, microsecond=123456, tzinfo=UTC),
            ),
        ],
    )
    def test_both_forms_are_aware_and_in_utc(self, text: str, expected: datetime):
        command = decode_commands({"commands": [{"created_date": text, "completed_date": text}]})[0]
        device = decode_devices({"devices": [{"timestamp": text}]})[0]
        quota = decode_quota({"reset_time": text})
        for found in (command.created_date, command.completed_date, device.timestamp, quota.reset_time):
            assert isinstance(found, datetime)
            assert found == expected
            assert found.tzinfo is UTC


TEXT, WHOLE, YES_OR_NO = "expected a string, ", "expected a whole number, ", "expected a boolean, "
TIME, PAIRS = "expected a time with a time zone, ", "expected an object, "


class TestWrongTypes:
    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("id", 5, TEXT + "found 5 (int)"),
            ("id", True, TEXT + "found True (bool)"),
            ("type", ["pcap"], TEXT + "found ['pcap'] (list)"),
            ("status", {"a": 1}, TEXT + "found {'a': 1} (dict)"),
            ("device_id", 1.5, TEXT + "found 1.5 (float)"),
            ("registration_id", False, TEXT + "found False (bool)"),
            ("user_email", 0, TEXT + "found 0 (int)"),
            ("filename", [], TEXT + "found [] (list)"),
            ("created_date", "2023-10-11T00:00:00", TIME + "found '2023-10-11T00:00:00' (str)"),
            ("created_date", "soon", TIME + "found 'soon' (str)"),
            ("created_date", "", TIME + "found '' (str)"),
            ("created_date", 1697000000, TIME + "found 1697000000 (int)"),
            ("completed_date", {}, TIME + "found {} (dict)"),
            ("completed_date", True, TIME + "found True (bool)"),
            ("args", "x", PAIRS + "found 'x' (str)"),
            ("args", ["x"], PAIRS + "found ['x'] (list)"),
            ("args", 5, PAIRS + "found 5 (int)"),
            ("args", True, PAIRS + "found True (bool)"),
        ],
    )
    def test_in_a_command(self, name: str, value: object, message: str):
        rows: list[object] = [COMMAND_ROW, {}, COMMAND_ROW, {**COMMAND_ROW, name: value}]
        error = error_of(decode_commands, {"commands": rows})
        assert error.path == f"$.result.commands[3].{name}"
        assert error.message == message
        assert str(error) == f"{error.path}: {message}"

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("eligible", "false", YES_OR_NO + "found 'false' (str)"),
            ("eligible", 0, YES_OR_NO + "found 0 (int)"),
            ("eligible", 1.0, YES_OR_NO + "found 1.0 (float)"),
            ("eligible", [], YES_OR_NO + "found [] (list)"),
            ("platform", 5, TEXT + "found 5 (int)"),
            ("status", None, None),
            ("timestamp", 1697000000, TEXT + "found 1697000000 (int)"),
            ("timestamp", [], TEXT + "found [] (list)"),
            ("version", 2026.1, TEXT + "found 2026.1 (float)"),
        ],
    )
    def test_in_a_device(self, name: str, value: object, message: str | None):
        result = {"devices": [DEVICE_ROW, {**DEVICE_ROW, name: value}]}
        if message is None:
            assert len(decode_devices(result)) == 2
            return
        error = error_of(decode_devices, result)
        assert error.path == f"$.result.devices[1].{name}"
        assert error.message == message

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("quota", True, WHOLE + "found True (bool)"),
            ("quota", False, WHOLE + "found False (bool)"),
            ("quota", "100", WHOLE + "found '100' (str)"),
            ("quota", 1.5, WHOLE + "found 1.5 (float)"),
            ("quota", float("inf"), WHOLE + "found inf (float)"),
            ("quota", float("nan"), WHOLE + "found nan (float)"),
            ("quota_usage", [], WHOLE + "found [] (list)"),
            ("reset_time", "2026-01-02", TIME + "found '2026-01-02' (str)"),
            ("reset_time", 5, TIME + "found 5 (int)"),
        ],
    )
    def test_in_a_quota(self, name: str, value: object, message: str):
        error = error_of(decode_quota, {**QUOTA, name: value})
        assert error.path == f"$.result.{name}"
        assert error.message == message

    def test_json_has_one_kind_of_number(self):
        found = decode_quota({"quota": 100.0, "quota_usage": -0.0})
        assert found == Quota(100, 0)
        assert type(found.quota) is type(found.quota_usage) is int

    @pytest.mark.parametrize(("others", "more"), [([], ""), ([2], " (and 1 more)"), ([2, 3], " (and 2 more)")])
    def test_more_than_one_is_counted_and_the_first_is_told(self, others: list[int], more: str):
        rows = [{}, {"id": 1}, *({"status": other} for other in others)]
        error = error_of(decode_commands, {"commands": rows})
        assert error.path == "$.result.commands[1].id"
        assert error.message == f"expected a string, found 1 (int){more}"

    def test_a_long_value_is_cut(self):
        error = error_of(decode_commands, {"commands": [{"created_date": "x\n" * 5000}]})
        assert len(str(error)) < 200
        assert error.path == "$.result.commands[0].created_date"

    def test_an_at_sign_in_a_value_does_not_shift_the_path(self):
        error = error_of(decode_commands, {"commands": [{"created_date": "a @ $.result"}]})
        assert error.path == "$.result.commands[0].created_date"
        assert error.message == TIME + "found 'a @ $.result' (str)"

    @pytest.mark.parametrize("row", [5, None, True])
    def test_a_row_that_is_no_object(self, row: object):
        assert error_of(decode_commands, {"commands": [{}, row]}).path == "$.result.commands[1]"

    @pytest.mark.parametrize(
        ("result", "path", "message"),
        [
            ([], "$.result", "expected an object, found [] (list)"),
            ("x", "$.result", "expected an object, found 'x' (str)"),
            (5, "$.result", "expected an object, found 5 (int)"),
            ({}, "$.result.commands", "expected a list, found None (NoneType)"),
            ({"commands": None}, "$.result.commands", "expected a list, found None (NoneType)"),
            ({"commands": {}}, "$.result.commands", "expected a list, found {} (dict)"),
            ({"commands": "[]"}, "$.result.commands", "expected a list, found '[]' (str)"),
            ({"devices": []}, "$.result.commands", "expected a list, found None (NoneType)"),
        ],
    )
    def test_no_list_of_rows(self, result: object, path: str, message: str):
        error = error_of(decode_commands, result)
        assert (error.path, error.message) == (path, message)

    @pytest.mark.parametrize("result", [[], "x", 5, True, None])
    def test_no_object(self, result: object):
        assert error_of(decode_quota, result).path == "$.result"


class TestEchoedArgs:
    def test_strings_as_they_are(self):
        row = {"args": {"max-file-size-mb": "5", "note": "", "none": "None"}}
        assert decode_commands({"commands": [row]})[0].args == row["args"]

    def test_a_command_that_has_them_can_be_a_key(self):
        first, second = decode_commands({"commands": [{"id": "c1", "args": {"a": "b"}}] * 2})
        assert hash(first) == hash(second)
        assert first == second

    def test_numbers_as_python_writes_them(self):
        found = decode_commands({"commands": [{"args": {"a": 5, "b": 1.5}}]})[0]
        assert found.args == {"a": "5", "b": "1.5"}

    @pytest.mark.parametrize("rows", [1, 2])
    def test_nested_so_deep_that_they_can_not_be_text_again(self, rows: int):
        nested: object = {}
        for _ in range(100_000):
            nested = {"a": nested}
        with pytest.raises(ResponseDecodeError, match="recursion") as caught:
            decode_commands({"commands": [{"id": "c1"}] * (rows - 1) + [{"id": "c2", "args": {"a": nested}}]})
        assert caught.value.path == f"$.result.commands[{rows - 1}].args"


class TestUnstructureArgs:
    @pytest.mark.parametrize(
        ("args", "expected"),
        [
            (Pcap(), {}),
            (
                Pcap(max_file_size_mb=1, packet_size_bytes=2, time_limit_min=3.5),
                {"max-file-size-mb": 1, "packet-size-bytes": 2, "time-limit-min": 3.5},
            ),
            (WarpDiag(), {}),
            (WarpDiag(test_all_routes=False), {"test-all-routes": False}),
            (SpeedTest(), {}),
            (SpeedTest(interfaces=("default", "tunnel")), {"interfaces": ["default", "tunnel"]}),
        ],
    )
    def test_table(self, args: object, expected: dict[str, object]):
        assert unstructure_args(args) == expected


# What JSON can hold, except what a row that is no object decodes to, for which there is a test of its own.
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=200)
@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys((*COMMAND_ROW, *DEVICE_ROW, *QUOTA), json_values)),
)
def test_any_object_is_a_model_of_the_right_types_or_a_typed_error(value: dict[str, object]):
    kinds: list[tuple[type, tuple[type, ...]]] = [
        (Command, (str, datetime, dict)),
        (Device, (str, bool, datetime)),
        (Quota, (int, datetime)),
    ]
    for model, types in kinds:
        try:
            found = structure(value, model, "$.result")
        except ResponseDecodeError as error:
            path = error.path or ""
        else:
            path = ""
            held = [item for item in attrs.asdict(found).values() if item is not None]
            assert all(isinstance(item, types) for item in held)
            assert all(item.tzinfo is UTC for item in held if isinstance(item, datetime))
        # By which of its two names a field is told has a test of its own.
        assert path == "" or path.removeprefix("$.result.") in {*value, *attrs.fields_dict(model)}
