"""What can be asked of a device: checked before it is sent, and encoded as the service wants it."""

import json
import math
import warnings

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.errors import ConfigurationError, DexWarning
from dexcmd.resources.requests import (
    MAX_PER_POST,
    CommandArgs,
    CommandRequest,
    Pcap,
    SpeedTest,
    WarpDiag,
    check_batch,
    check_targets,
    encode_batch,
)

DOCUMENTED = {"max_file_size_mb": 50, "packet_size_bytes": 1500, "time_limit_min": 10}


def request(device_id: str = "d1", args: CommandArgs | None = None, **more: str | None) -> CommandRequest:
    return CommandRequest(
        device_id=device_id, user_email="ada@example.com", args=Pcap() if args is None else args, **more
    )


class TestPcap:
    @pytest.mark.parametrize("field", DOCUMENTED)
    @pytest.mark.parametrize("value", [None, 1, 1.0, 1.5, 10])
    def test_what_is_documented_passes_in_silence(self, field: str, value: float | None):
        assert getattr(Pcap(**{field: value}), field) == value

    @pytest.mark.parametrize(("field", "most"), DOCUMENTED.items())
    def test_the_maximum_itself_is_no_reason_to_warn(self, field: str, most: int):
        assert getattr(Pcap(**{field: most}), field) == most

    @pytest.mark.parametrize(("field", "most"), DOCUMENTED.items())
    @pytest.mark.parametrize("above", [0.5, 1, 10**6])
    def test_above_the_maximum_warns_and_passes(self, field: str, most: int, above: float):
        with pytest.warns(DexWarning) as caught:
            args = Pcap(**{field: most + above})
        assert getattr(args, field) == most + above
        assert [str(warning.message) for warning in caught] == [
            f"{field}={most + above!r} is above the documented maximum of {most}"
        ]

    @pytest.mark.parametrize("field", DOCUMENTED)
    @pytest.mark.parametrize("value", [0, 0.99, -1, -5.0])
    def test_below_1(self, field: str, value: float):
        with pytest.raises(ConfigurationError, match=f"^{field} must be at least 1, not {value!r}$"):
            Pcap(**{field: value})

    @pytest.mark.parametrize("field", DOCUMENTED)
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, False, "5", [5], b"5"])
    def test_no_number(self, field: str, value: object):
        with pytest.raises(ConfigurationError, match=f"^{field} must be a finite number"):
            Pcap(**{field: value})

    def test_one_warning_for_each_value(self):
        with pytest.warns(DexWarning) as caught:
            Pcap(max_file_size_mb=51, packet_size_bytes=1501, time_limit_min=11)
        assert len(caught) == 3

    def test_by_name_only_and_frozen(self):
        with pytest.raises(TypeError):
            Pcap(5)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            Pcap().time_limit_min = 5
        with pytest.raises(TypeError):
            Pcap(test_all_routes=True)


class TestOtherArgs:
    @pytest.mark.parametrize("value", [None, True, False])
    def test_warp_diag(self, value: bool | None):
        assert WarpDiag(test_all_routes=value).test_all_routes is value

    @pytest.mark.parametrize("value", [0, 1, "true", "false", [], 1.0])
    def test_warp_diag_takes_booleans_only(self, value: object):
        with pytest.raises(ConfigurationError, match=r"^test_all_routes must be True or False, not "):
            WarpDiag(test_all_routes=value)

    @pytest.mark.parametrize(
        ("value", "kept"),
        [
            (None, None),
            (["default"], ("default",)),
            (("tunnel",), ("tunnel",)),
            (["default", "tunnel"], ("default", "tunnel")),
        ],
    )
    def test_speed_test(self, value: object, kept: tuple[str, ...] | None):
        assert SpeedTest(interfaces=value).interfaces == kept

    @pytest.mark.parametrize(
        "value",
        [[], (), "default", ["wifi"], ["default", 5], [None], [["default"]], {"default": 1}, 5, True],
    )
    def test_speed_test_takes_known_interfaces_only(self, value: object):
        expected = "^interfaces must be a list of default and tunnel, not "
        with pytest.raises(ConfigurationError, match=expected):
            SpeedTest(interfaces=value)

    def test_a_list_is_not_shared(self):
        interfaces = ["default"]
        args = SpeedTest(interfaces=interfaces)
        interfaces.append("wifi")
        assert args.interfaces == ("default",)

    def test_types(self):
        assert [kind.type for kind in (Pcap, WarpDiag, SpeedTest)] == ["pcap", "warp-diag", "speed-test"]


class TestCommandRequest:
    def test_target(self):
        made = request("d1", WarpDiag(), registration_id="r1")
        assert made.type == "warp-diag"
        assert made.target == ("d1", "r1", "warp-diag")
        assert request().target == ("d1", None, "pcap")

    @pytest.mark.parametrize("field", ["device_id", "user_email", "registration_id"])
    @pytest.mark.parametrize("value", ["", "  ", 5, b"d1", True, ["d1"]])
    def test_identifiers(self, field: str, value: object):
        good = {"device_id": "d1", "user_email": "a@example.com", "args": Pcap()}
        with pytest.raises(ConfigurationError, match=f"^{field} must be a non-blank string"):
            CommandRequest(**{**good, field: value})

    @pytest.mark.parametrize("field", ["device_id", "user_email"])
    def test_none_only_for_the_registration(self, field: str):
        good = {"device_id": "d1", "user_email": "a@example.com", "args": Pcap(), "registration_id": None}
        assert CommandRequest(**good).registration_id is None
        with pytest.raises(ConfigurationError, match=field):
            CommandRequest(**{**good, field: None})

    @pytest.mark.parametrize("args", [None, "pcap", {}, Pcap, {"type": "pcap"}])
    def test_args(self, args: object):
        with pytest.raises(ConfigurationError, match=r"^args must be Pcap\(\), WarpDiag\(\) or SpeedTest\(\)"):
            CommandRequest(device_id="d1", user_email="a@example.com", args=args)

    def test_it_can_be_a_key(self):
        assert len({request("d1"), request("d1"), request("d2"), request("d1", SpeedTest())}) == 3


class TestCheckTargets:
    def test_none_and_many(self):
        assert check_targets([]) == ()
        many = [request(f"d{index}") for index in range(500)]
        assert check_targets(iter(many)) == tuple(many)

    def test_another_registration_or_type_is_another_target(self):
        different = (
            request(registration_id="r1"),
            request(registration_id="r2"),
            request(args=WarpDiag()),
            request(args=SpeedTest()),
            request("d2"),
        )
        assert check_targets(different) == different

    @pytest.mark.parametrize(
        "again",
        [
            request(),
            request(args=Pcap(time_limit_min=1)),
            attrs.evolve(request(), user_email="bob@example.com"),
            request("D1"),
        ],
    )
    def test_the_same_target_twice(self, again: CommandRequest):
        with pytest.raises(ConfigurationError, match=r"the same target twice: pcap on device [dD]1, registration None"):
            check_targets([request(), request("d2"), again])

    @pytest.mark.parametrize("wrong", [None, "d1", {"device_id": "d1"}, Pcap(), CommandRequest])
    def test_what_is_no_request(self, wrong: object):
        with pytest.raises(ConfigurationError, match=f"expected a CommandRequest, not {type(wrong).__name__}"):
            check_targets([request(), wrong])


class TestCheckBatch:
    @pytest.mark.parametrize("count", [1, 2, MAX_PER_POST])
    def test_from_1_to_10(self, count: int):
        batch = [request(f"d{index}") for index in range(count)]
        assert check_batch(iter(batch)) == tuple(batch)

    @pytest.mark.parametrize("count", [0, 11, 20, 21])
    def test_other_sizes(self, count: int):
        with pytest.raises(ConfigurationError, match=f"takes 1 to 10 commands, not {count}; create_many"):
            check_batch(request(f"d{index}") for index in range(count))

    def test_duplicates_and_wrong_types(self):
        with pytest.raises(ConfigurationError, match="the same target twice"):
            check_batch([request(), request()])
        with pytest.raises(ConfigurationError, match="expected a CommandRequest, not str"):
            check_batch(["d1"])  # type: ignore[list-item]
        with pytest.raises(ConfigurationError, match="requests must be an iterable of CommandRequests, not 'd1'"):
            check_batch("d1")


class TestEncodeBatch:
    @pytest.mark.parametrize(
        ("args", "encoded"),
        [
            (Pcap(), None),
            (Pcap(time_limit_min=2), {"time-limit-min": 2}),
            (
                Pcap(max_file_size_mb=5.5, packet_size_bytes=160, time_limit_min=2.0),
                {"max-file-size-mb": 5.5, "packet-size-bytes": 160, "time-limit-min": 2.0},
            ),
            (WarpDiag(), None),
            (WarpDiag(test_all_routes=True), {"test-all-routes": True}),
            (WarpDiag(test_all_routes=False), {"test-all-routes": False}),
            (SpeedTest(), None),
            (SpeedTest(interfaces=["default"]), {"interfaces": ["default"]}),
            (SpeedTest(interfaces=("default", "tunnel")), {"interfaces": ["default", "tunnel"]}),
        ],
    )
    @pytest.mark.parametrize("registration", [None, "r1"])
    def test_exactly(self, args: CommandArgs, encoded: object, registration: str | None):
        command = {"device_id": "d1", "type": args.type, "user_email": "ada@example.com"}
        if registration is not None:
            command["registration_id"] = registration
        if encoded is not None:
            command["args"] = encoded
        found = json.loads(encode_batch([request("d1", args, registration_id=registration)]))
        assert found == {"commands": [command]}

    def test_the_bytes(self):
        batch = [request(args=Pcap(time_limit_min=1)), request("d2", WarpDiag(test_all_routes=False))]
        assert encode_batch(batch) == (
            b'{"commands": ['
            b'{"device_id": "d1", "type": "pcap", "user_email": "ada@example.com",'
            b' "args": {"time-limit-min": 1}},'
            b' {"device_id": "d2", "type": "warp-diag", "user_email": "ada@example.com",'
            b' "args": {"test-all-routes": false}}]}'
        )

    @settings(deadline=None, max_examples=100)
    @given(
        st.lists(
            st.tuples(st.text(min_size=1).filter(str.strip), st.none() | st.just("r1")),
            min_size=1,
            max_size=10,
            unique_by=lambda target: target[0],
        )
    )
    def test_any_identifiers_arrive(self, targets: list[tuple[str, str | None]]):
        batch = check_batch(request(device, registration_id=registration) for device, registration in targets)
        found = json.loads(encode_batch(batch))["commands"]
        assert [(row["device_id"], row.get("registration_id")) for row in found] == targets


def test_nothing_warns_that_should_not():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Pcap(max_file_size_mb=50, packet_size_bytes=1500, time_limit_min=10)
        WarpDiag(test_all_routes=True)
        SpeedTest(interfaces=["default"])
