"""What the models can do by themselves: identities, and a request for a device."""

import pytest

from dexcmd.errors import ConfigurationError
from dexcmd.resources.command import Command, command_id_of, identity
from dexcmd.resources.devices import Device
from dexcmd.resources.requests import CommandRequest, Pcap


class TestCommand:
    def test_the_id_tells_rows_apart_where_there_is_one(self):
        assert identity(Command(id="c1", status="SUCCESS")) == identity(Command(id="c1", status="FAILED"))
        assert identity(Command(id="c1")) != identity(Command(id="c2"))

    def test_without_an_id_all_of_the_row_does(self):
        assert identity(Command(device_id="d1")) == identity(Command(device_id="d1"))
        assert identity(Command(device_id="d1")) != identity(Command(device_id="d2"))

    @pytest.mark.parametrize("given", ["c1", Command(id="c1")])
    def test_a_command_or_its_id(self, given: Command | str):
        assert command_id_of(given) == "c1"

    @pytest.mark.parametrize("given", ["", None, 5, Command(), Command(id="")])
    def test_neither(self, given: object):
        with pytest.raises(ConfigurationError, match="expected a command or its id, not "):
            command_id_of(given)

    @pytest.mark.parametrize(
        "given", [".", "..", "../x", "a\\b", " ", "c1 c2", "c1\n", "c\udcff", "\ufffd1", "\u202ec1", "a/" * 5000]
    )
    def test_what_can_be_no_id_is_the_mistake_of_whoever_gave_it(self, given: str):
        with pytest.raises(ConfigurationError, match=r" can't be the id of a command$") as caught:
            command_id_of(given)
        assert len(str(caught.value)) < 200

    def test_what_the_service_calls_a_command_is_no_mistake_of_the_caller(self):
        assert command_id_of(Command(id="../x")) == "../x"


class TestDevice:
    def test_a_request_for_it(self):
        device = Device(device_id="d1", person_email="ada@example.com", registration_id="r1", eligible=False)
        assert device.request(Pcap(time_limit_min=1)) == CommandRequest(
            device_id="d1",
            user_email="ada@example.com",
            registration_id="r1",
            args=Pcap(time_limit_min=1),
        )

    def test_without_a_registration(self):
        made = Device(device_id="d1", person_email="ada@example.com").request(Pcap())
        assert made.registration_id is None

    @pytest.mark.parametrize(
        "device",
        [
            Device(),
            Device(device_id="d1"),
            Device(person_email="ada@example.com"),
            Device(device_id="", person_email="ada@example.com"),
            Device(device_id="d1", person_email=" "),
        ],
    )
    def test_what_is_missing(self, device: Device):
        with pytest.raises(ConfigurationError):
            device.request(Pcap())
