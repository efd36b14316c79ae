"""Campaign files: read, or refused with every mistake at once."""

import pwd
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dexcmd import Pcap, SpeedTest, WarpDiag
from dexcmd.campaign.file import parse_campaign, read_campaign_file
from dexcmd.campaign.named import Named
from dexcmd.campaign.namescsv import read_csv
from dexcmd.campaign.spec import (
    AbortRule,
    AccountSpec,
    ArtifactsSpec,
    CampaignSpec,
    Pace,
    Retries,
    Share,
    Targeting,
    Waves,
)
from dexcmd.errors import CampaignFileError, ConfigurationError
from dexcmd.transfer.template import FIELDS
from tests.campaign.specs import ACCOUNT_ID, OTHER_ID, campaign

DOCS = Path(__file__).parent.parent.parent / "docs" / "campaigns.md"
EXAMPLE = "".join(re.findall(r"^```toml\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))
TOKEN = "s3cr3t-t0k3n"

MINIMAL = f"""
name = "x"
[[accounts]]
account_id = "{ACCOUNT_ID}"
[command]
type = "pcap"
"""


def mistakes(text: str, **environ: str) -> list[str]:
    """Return the mistakes of a file."""
    with pytest.raises(CampaignFileError) as caught:
        parse_campaign(text, environ=environ)
    assert TOKEN not in str(caught.value)
    assert str(caught.value) == f"campaign: {'; '.join(caught.value.mistakes)}"
    return list(caught.value.mistakes)


def with_table(name: str, lines: str) -> str:
    return f"{MINIMAL}\n[{name}]\n{lines}"


class TestExample:
    def test_the_documented_file(self, tmp_path: Path):
        (tmp_path / "devices.csv").write_text("device_id\nd1\n")
        file = tmp_path / "london.toml"
        file.write_text(EXAMPLE, encoding="utf-8")
        assert read_campaign_file(file, {}) == CampaignSpec(
            name="london-slow-vpn",
            leave_quota=50,
            deadline=datetime(2026, 12, 1, 18, tzinfo=UTC),
            accounts=(
                AccountSpec(account_id=ACCOUNT_ID, name="emea", token_env="EMEA_TOKEN"),
                AccountSpec(account_id=OTHER_ID, name="apac", token_env="APAC_TOKEN"),
            ),
            targets=Targeting(
                search=("london", "paris"),
                emails=("ada@example.com",),
                csv=str(tmp_path / "devices.csv"),
                platforms=("windows", "mac"),
                version=">=2024.6, <2025.12",
                exclude=("boss@example.com",),
                sample=Share(percent=10),
                seed=7,
            ),
            command=Pcap(max_file_size_mb=5, packet_size_bytes=160, time_limit_min=2),
            waves=Waves(
                sizes=(Share(count=5), Share(percent=10), Share(percent=100)),
                min_succeeded_percent=90,
                soak=timedelta(minutes=10),
            ),
            pace=Pace(),
            abort=(AbortRule(failed_percent=30, of_at_least=20, failure="device"),),
            retries=Retries(),
            artifacts=ArtifactsSpec(into=str(tmp_path / "captures")),
        )

    def test_it_names_every_key(self):
        keys = set(re.findall(r"^(\w+) = ", EXAMPLE, re.MULTILINE))
        tables = set(re.findall(r"^\[\[?(\w+)\]", EXAMPLE, re.MULTILINE))
        kinds = (AccountSpec, Targeting, Waves, Pace, AbortRule, Retries, ArtifactsSpec, CampaignSpec, Pcap)
        fields = {name for kind in kinds for name in kind.__annotations__}
        assert keys | tables == fields

    def test_the_documented_mistakes(self):
        text = EXAMPLE.replace('sample = "10%"', 'sample = "ten"').replace("seed = 7", "sede = 7")
        text = text.replace(OTHER_ID, "fedcba").replace('"100%"', '"5%"').replace("devices.csv", "no.csv")
        shown = re.findall(r"^```text\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)[0]
        found = [line for line in mistakes(text) if "no.csv" not in line]
        assert " ".join(shown.split()) == " ".join(f"error: london.toml: {mistake}" for mistake in found)


class TestReading:
    def test_what_must_be_there(self):
        spec = parse_campaign(MINIMAL, folder="/srv/campaigns", environ={})
        assert spec == campaign(
            name="x",
            accounts=(AccountSpec(account_id=ACCOUNT_ID, name=ACCOUNT_ID),),
            # It means the same for whoever goes on from another folder.
            artifacts=ArtifactsSpec(into="/srv/campaigns/captures"),
        )

    @pytest.mark.parametrize(
        ("lines", "command"),
        [
            ('type = "pcap"\ntime_limit_min = 1.5', Pcap(time_limit_min=1.5)),
            ('type = "warp-diag"', WarpDiag()),
            ('type = "warp-diag"\ntest_all_routes = false', WarpDiag(test_all_routes=False)),
            ('type = "speed-test"\ninterfaces = ["default", "tunnel"]', SpeedTest(interfaces=("default", "tunnel"))),
            ('type = "speed-test"\ninterfaces = "tunnel"', SpeedTest(interfaces=("tunnel",))),
        ],
    )
    def test_commands(self, lines: str, command: object):
        assert parse_campaign(MINIMAL.replace('type = "pcap"', lines), environ={}).command == command

    @pytest.mark.parametrize(
        ("text", "deadline"),
        [
            ("2026-12-01T18:00:00Z", datetime(2026, 12, 1, 18, tzinfo=UTC)),
            ("2026-12-01 20:00:00+02:00", datetime(2026, 12, 1, 18, tzinfo=UTC)),
            ('"2026-12-01T18:00:00Z"', datetime(2026, 12, 1, 18, tzinfo=UTC)),
            ('"36h"', timedelta(hours=36)),
        ],
    )
    def test_deadlines(self, text: str, deadline: object):
        assert parse_campaign(f"deadline = {text}\n{MINIMAL}", environ={}).deadline == deadline

    def test_texts_of_all_sorts(self):
        marked = "\ufeff" + MINIMAL.replace("\n", "\r\n")
        assert parse_campaign(marked.encode(), environ={}) == parse_campaign(MINIMAL, environ={})

    def test_the_account_of_the_environment(self):
        text = 'name = "x"\ncommand = {type = "pcap"}'
        spec = parse_campaign(text, environ={"CLOUDFLARE_ACCOUNT_ID": ACCOUNT_ID, "CLOUDFLARE_API_TOKEN": TOKEN})
        assert spec.accounts == (AccountSpec(account_id=ACCOUNT_ID),)
        assert spec.accounts[0].token_env == "CLOUDFLARE_API_TOKEN"
        assert TOKEN not in repr(spec)

    def test_the_environment_is_looked_at(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", OTHER_ID)
        monkeypatch.delenv("CLOUDFLARE_API_TOKEN", raising=False)
        spec = parse_campaign('name = "x"\ncommand = {type = "pcap"}')
        assert spec.accounts[0].account_id == OTHER_ID

    @pytest.mark.parametrize(
        ("into", "place"),
        [
            ("captures", "/srv/captures"),
            ("../x", "/srv/../x"),
            ("/data/x", "/data/x"),
            ("s3://bucket/x", "s3://bucket/x"),
            ("~/x", str(Path.home() / "x")),
            ("~x", "/srv/~x"),
        ],
    )
    def test_folders_are_seen_from_the_file(self, into: str, place: str):
        spec = parse_campaign(with_table("artifacts", f'into = "{into}"'), folder="/srv", environ={})
        assert spec.artifacts.into == place

    def test_who_has_no_home_is_told(self, monkeypatch: pytest.MonkeyPatch):
        # As in a container whose user is only a number.
        def unknown(number: int) -> None:
            raise KeyError(number)

        monkeypatch.delenv("HOME")
        monkeypatch.setattr(pwd, "getpwuid", unknown)
        assert mistakes(with_table("artifacts", 'into = "~/x"')) == [
            "artifacts.into: this user has no home folder for '~/x'"
        ]

    def test_a_file_is_seen_from_its_own_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        (tmp_path / "x.toml").write_text(with_table("artifacts", 'into = "captures"'))
        monkeypatch.chdir(tmp_path)
        assert read_campaign_file("x.toml", {}).artifacts.into == str(tmp_path / "captures")


class TestMistakes:
    def test_all_at_once(self):
        assert mistakes(f"""
            nam = "x"
            sample = 5
            deadline = 2026-12-01T18:00:00
            leave_quota = -1
            lost_answers = "recon"
            [[accounts]]
            account_id = "{TOKEN}"
            name = "x"
            [[accounts]]
            account_id = "{ACCOUNT_ID}"
            token_env = "{TOKEN}"
            [[accounts]]
            name = "X"
            account_id = "{ACCOUNT_ID}"
            api_token = "{TOKEN}"
            [command]
            type = "pcap"
            max-file-size-mb = 3
            time_limit_min = 0
            packet_size_bytes = "x"
            test_all_routes = true
            [targets]
            search = ["", 5]
            platforms = 5
            sample = "ten"
            sede = 5
            version = "2024"
            csv = "nowhere.csv"
            [waves]
            sizes = [5, 5, "110%", 0, true, "20%", "10%", "100%", 7]
            min_succeeded_percent = 101
            soak = 10
            [pace]
            creates = 0
            downloads = "8"
            timeout = "0s"
            [abort]
            failed_percent = 0
            [retries]
            download = -1
            wait = "1x"
            pause = 5
            [artifacts]
            into = "ftp://x"
            name = ""
        """) == [
            "name: missing",
            "command.packet_size_bytes: expected a number, found 'x' (str)",
            "command.time_limit_min: must be at least 1, not 0",
            "command.max-file-size-mb: unknown key; did you mean max_file_size_mb?",
            "command.test_all_routes: unknown key; it belongs in [command of type warp-diag]",
            "accounts[0].account_id: must be 32 hex digits",
            "accounts[1].token_env: must be the name of an environment variable, not the token itself",
            "accounts[2].api_token: unknown key; a token is never in the file: token_env of an account names the "
            "environment variable that holds it",
            "targets.search[0]: must not be empty",
            "targets.search[1]: expected a string, found 5 (int)",
            "targets.platforms: expected a string or a list of strings, found 5 (int)",
            "targets.version: '2024' is not a bound such as >=2024.6 or <2025.1",
            "targets.sample: expected a whole number or a percentage such as \"10%\", found 'ten' (str)",
            "targets.sede: unknown key; did you mean seed?",
            "waves.sizes[2]: a percentage must be above 0 and at most 100, not 110",
            "waves.sizes[3]: must be at least 1, not 0",
            'waves.sizes[4]: expected a whole number or a percentage such as "10%", found True (bool)',
            "waves.min_succeeded_percent: must be from 0 to 100, not 101",
            'waves.soak: expected a duration such as "90s", "15m" or "36h", found 10 (int)',
            "pace.creates: must be a whole number of at least 1, not 0",
            "pace.downloads: expected a whole number, found '8' (str)",
            "pace.timeout: must be above 0",
            "abort: expected tables, each under [[abort]], found {'failed_percent': 0} (dict)",
            "retries.download: must be a whole number of at least 0, not -1",
            "retries.wait: '1x' is not a duration such as 90s, 15m, 36h, 7d or 1h30m",
            "retries.pause: unknown key; the known keys are device, timeout, rejected, unknown, download, wait",
            "leave_quota: must be a whole number of at least 0, not -1",
            "deadline: must be timezone-aware: 2026-12-01T18:00:00 has no time zone",
            "artifacts.into: must be a folder or the URL of a bucket (s3://, gs://, az://), not 'ftp://x'",
            "artifacts.name: must be a non-blank string, not ''",
            "lost_answers: must be one of reconcile, give_up, not 'recon' (str)",
            "nam: unknown key; did you mean name?",
            "sample: unknown key; it belongs in [targets]",
            "accounts[2].name: is the same as that of accounts[0]",
            "accounts[2].account_id: is the same as that of accounts[1]",
            "waves.sizes[1]: must be more than 5: sizes are cumulative",
            "waves.sizes[6]: must be more than 20%: sizes are cumulative",
            "waves.sizes[8]: comes after a size of 100%: no targets are left for it",
            f"targets.csv: {Path.cwd() / 'nowhere.csv'} can't be read: No such file or directory",
        ]

    def test_nothing_at_all(self):
        assert mistakes("") == [
            "accounts: none given, and CLOUDFLARE_ACCOUNT_ID is not set",
            "name: missing",
            "command: missing",
        ]

    def test_an_account_of_the_environment_that_is_none(self):
        with pytest.raises(CampaignFileError) as caught:
            parse_campaign('name = "x"', environ={"CLOUDFLARE_ACCOUNT_ID": "acme"})
        assert list(caught.value.mistakes) == [
            "accounts: none given, and CLOUDFLARE_ACCOUNT_ID is not an account id",
            "command: missing",
        ]

    @pytest.mark.parametrize(
        ("lines", "mistake"),
        [
            ("", "must be one of pcap, warp-diag, speed-test"),
            ('type = "ping"', "must be one of pcap, warp-diag, speed-test"),
            ('type = ["pcap"]', "must be one of pcap, warp-diag, speed-test"),
            ('type = "warp-diag"\nx = 1', "unknown key; the known keys are test_all_routes"),
        ],
    )
    def test_commands(self, lines: str, mistake: str):
        [found] = mistakes(MINIMAL.replace('type = "pcap"', lines))
        assert found.partition(": ")[2] == mistake

    @pytest.mark.parametrize("command_type", ["", 'type = "ping"\n'])
    def test_args_of_no_type_that_is_known(self, command_type: str):
        lines = f"{command_type}time_limit_min = 0\ntest-all-routes = true\ninterfaces = [5]\nnotes = 1"
        assert mistakes(MINIMAL.replace('type = "pcap"', lines)) == [
            "command.type: must be one of pcap, warp-diag, speed-test",
            "command.time_limit_min: must be at least 1, not 0",
            "command.interfaces[0]: expected a string, found 5 (int)",
            "command.notes: unknown key; the known keys are max_file_size_mb, packet_size_bytes, time_limit_min, "
            "test_all_routes, interfaces",
            "command.test-all-routes: unknown key; did you mean test_all_routes?",
        ]

    def test_templates_and_versions(self):
        more = '[targets]\nversion = "2024, >=2025, <x"\n[artifacts]\nname = "{day}//a:{user}/{account}"\n'
        only = f"only {', '.join(FIELDS)}"
        text = "artifacts.name: '{day}//a:{user}/{account}' is not a valid place template: "
        assert mistakes(MINIMAL + more) == [
            "targets.version: '2024' is not a bound such as >=2024.6 or <2025.1",
            "targets.version: '<x' is not a bound such as >=2024.6 or <2025.1",
            f"{text}there is no field 'day', {only}",
            f"{text}there is no field 'user', {only}",
            f"{text}it has an empty part",
            f"{text}'a:' has characters that file names can't have",
            f"{text}the last part must contain {{command_id}} exactly once",
        ]

    @pytest.mark.parametrize(
        ("table", "mistake"),
        [
            ("command = 5", "command: expected a table, found 5 (int)"),
            ("waves = 5", "waves: expected a table, found 5 (int)"),
            ("targets = []", "targets: expected a table, found [] (list)"),
            ("artifacts = []", "artifacts: expected a table, found [] (list)"),
            ("accounts = [5]", "accounts[0]: expected a table, found 5 (int)"),
            ("waves = {sizes = 5}", "waves.sizes: expected a list, found 5 (int)"),
            (
                "deadline = 36",
                'deadline: expected a time with a time zone, or a duration such as "36h", found 36 (int)',
            ),
            *(
                (
                    f'deadline = "{text}"',
                    f"deadline: {text!r} is neither a time with a time zone, such as 2026-12-01T18:00:00Z, nor a "
                    "duration such as 36h",
                )
                for text in ("soon", "2026-12-01T18:00:00", "2026-12-01", "-1h", "")
            ),
            (
                "deadline = 2026-12-01",
                "deadline: expected a time with a time zone, or a duration such as "
                '"36h", found datetime.date(2026, 12, 1) (date)',
            ),
        ],
    )
    def test_values_of_another_kind(self, table: str, mistake: str):
        name = table.partition(" =")[0]
        rest = {
            "name": 'name = "x"',
            "command": 'command = {type = "pcap"}',
            "accounts": f'accounts = [{{account_id = "{ACCOUNT_ID}"}}]',
        }
        assert mistakes("\n".join({**rest, name: table}.values())) == [mistake]

    @pytest.mark.parametrize(
        ("table", "name", "mistake"),
        [
            ("targets", "sample", "must be at most 1000000000, not"),
            ("targets", "seed", "must fit into 64 bits, not"),
            ("pace", "creates", "must be at most 1000, not"),
            ("pace", "in_flight", "must be at most 1000000000, not"),
            ("retries", "download", "must be at most 1000000000, not"),
            ("waves", "soak", 'expected a duration such as "90s", "15m" or "36h", found'),
            ("artifacts", "into", "expected a string, found"),
        ],
    )
    def test_a_number_of_more_digits_than_python_writes(self, table: str, name: str, mistake: str):
        # Only as hex, octal or binary does it come so far.
        [line] = mistakes(with_table(table, f"{name} = 0x{'f' * 5000}"))
        assert line.startswith(f"{table}.{name}: {mistake} a number with thousands of digits")

    @pytest.mark.parametrize(
        ("key", "hint"),
        [
            ("targets.Sample", "did you mean sample?"),
            ("targets.samples", "did you mean sample?"),
            ("targets.in_flight", "it belongs in [pace]"),
            ("targets.in_flights", "did you mean in_flight in [pace]?"),
            ("targets.leave_quota", "it belongs at the top, before the first table"),
            ("targets.leave_quotas", "did you mean leave_quota, at the top?"),
            ("artifacts.qqq", "the known keys are into, name"),
            ("artifacts.unknown", "it belongs in [retries]"),
        ],
    )
    def test_hints(self, key: str, hint: str):
        table, _, name = key.partition(".")
        assert mistakes(with_table(table, f"{name} = 5")) == [f"{key}: unknown key; {hint}"]

    def test_a_long_value_is_cut(self):
        [mistake] = mistakes(with_table("artifacts", f'into = "x://{"y" * 1000}"'))
        assert len(mistake) == 300

    @pytest.mark.parametrize(
        ("text", "mistake"),
        [
            ("name = \n", "line 1, column 8: Invalid value"),
            ('name = "x"\nname = "y"\n', "line 2, column 11: Cannot overwrite a value"),
            (
                f"x = {'1' * 5000}",
                "Exceeds the limit (4300 digits) for integer string conversion: value has 5000 digits",
            ),
            ("x = " + "[" * 5000, "maximum recursion depth exceeded"),
            ('name = "x"\n[waves', "line 2, column 7: Expected ']' at the end of a table declaration"),
        ],
    )
    def test_what_is_no_toml(self, text: str, mistake: str):
        [found] = mistakes(text)
        assert found.startswith(mistake)

    def test_what_is_no_text(self):
        with pytest.raises(CampaignFileError, match=r"^campaign: line 2: not valid UTF-8$"):
            parse_campaign(b"name = 'x'\nsearch = '\xff'")

    @pytest.mark.parametrize(
        ("path", "reason"), [("x.toml", "No such file"), ("", "Is a dir"), ("\0", "embedded null")]
    )
    def test_what_can_not_be_read(self, path: str, reason: str, tmp_path: Path):
        with pytest.raises(CampaignFileError, match=rf"^{re.escape(str(tmp_path / path))}: can't be read: {reason}"):
            read_campaign_file(tmp_path / path)

    def test_a_bucket_without_the_extra(self, monkeypatch: pytest.MonkeyPatch):
        text = with_table("artifacts", 'into = "s3://bucket/prefix"')
        assert parse_campaign(text, environ={}).artifacts.into == "s3://bucket/prefix"
        monkeypatch.setitem(sys.modules, "obstore", None)
        assert mistakes(text) == [
            "artifacts.into: a bucket requires an optional dependency: pip install 'dexcmd[object-store]'"
        ]


class TestCSV:
    @pytest.mark.parametrize(
        ("text", "names"),
        [
            ("device_id\nd1\n d2 \n\nd3", [Named(device_id="d1"), Named(device_id="d2"), Named(device_id="d3")]),
            ("\ufeffUser_Email;note\r\na@x.org;hi\r\n", [Named(user_email="a@x.org")]),
            (
                "registration_id\tdevice_id\nr1\td1\n\td2",
                [Named(device_id="d1", registration_id="r1"), Named(device_id="d2")],
            ),
            (
                'device_id,user_email,account,note\nd1,,b,"two\nlines"\n,a@x.org,\n',
                [Named(device_id="d1", account="b"), Named(user_email="a@x.org")],
            ),
            ("\n,\ndevice_id\nd1\n", [Named(device_id="d1")]),
            ('user_email, device_id\n"a@x.org", "d1"\n', [Named(device_id="d1", user_email="a@x.org")]),
            ('device_id;"note, more";user_email\nd1;x;a@x.org', [Named(device_id="d1", user_email="a@x.org")]),
            ('"device_id";"user_email"\n"d1";"a@x.org"\n', [Named(device_id="d1", user_email="a@x.org")]),
            ("device_id,note,note,\nd1,,,,\n", [Named(device_id="d1")]),
        ],
    )
    def test_what_is_read(self, text: str, names: list[Named], tmp_path: Path):
        (tmp_path / "x.csv").write_bytes(text.encode())
        assert read_csv(tmp_path / "x.csv", ["b"]) == names

    @pytest.mark.parametrize(
        ("data", "mistake"),
        [
            (b"", "must have a first line with a column device_id or user_email"),
            (b"id,email\n", "must have a first line with a column device_id or user_email"),
            (b"device_id\n\xff", "is not valid UTF-8"),
            (b"device_id\n" + b"x" * 200_000, "line 2: field larger than field limit (131072)"),
            (b'"device_id\n' + b"d1\n" * 100_000, "must have a first line with a column device_id or user_email"),
            (b'device_id\nd1\n"d2\nd3\n', "line 4: unexpected end of data"),
            (b'device_id\n"d1" x\n', "line 2: ',' expected after '\"'"),
            (b"device_id,Device_ID\n", "has the column device_id more than once"),
            (b"device_name,device_id\nSmith, John,d1\n", "line 2: it has 3 cells, but the first line has 2"),
            (b"device_id\nd1,d2\n", "line 2: it has 2 cells, but the first line has 1"),
            (b"device_id\n", "x.csv names no device"),
            (b"device_id,note\r\n,\r\n\r\n", "x.csv names no device"),
        ],
    )
    def test_what_is_none(self, data: bytes, mistake: str, tmp_path: Path):
        (tmp_path / "x.csv").write_bytes(data)
        with pytest.raises(ConfigurationError, match=re.escape(mistake)):
            read_csv(tmp_path / "x.csv")

    def test_all_lines_at_once(self, tmp_path: Path):
        (tmp_path / "x.csv").write_text("device_id,account,note\nd1,x,\n,,hi\nd2,z,\n")
        text = with_table("targets", f'csv = "{tmp_path / "x.csv"}"').replace(
            "[[accounts]]", '[[accounts]]\nname = "x"'
        )
        assert mistakes(text) == [
            f"targets.csv: {tmp_path}/x.csv, line 3: it names no device: both device_id and user_email are empty",
            f"targets.csv: {tmp_path}/x.csv, line 4: the campaign has no account 'z'",
        ]
        # Whatever else is wrong.
        assert mistakes("leave_quota = -1\n" + text.replace(ACCOUNT_ID, "")) == [
            "accounts[0].account_id: must be 32 hex digits",
            "leave_quota: must be a whole number of at least 0, not -1",
            f"targets.csv: {tmp_path}/x.csv, line 3: it names no device: both device_id and user_email are empty",
            f"targets.csv: {tmp_path}/x.csv, line 4: the campaign has no account 'z'",
        ]

    @pytest.mark.parametrize(
        ("accounts", "mistake"),
        [
            (
                f'[{{account_id = "{ACCOUNT_ID}", name = " z"}}]',
                "accounts[0].name: must be at most 64 printable characters, with no blanks",
            ),
            (f'[{{account_id = "{ACCOUNT_ID}", nane = "z"}}]', "accounts[0].nane: unknown key; did you mean name?"),
            ('[{account_id = "z"}]', "accounts[0].account_id: must be 32 hex digits"),
            ("[5]", "accounts[0]: expected a table"),
            ("[]", "accounts: must not be empty"),
            ("5", "accounts: expected tables"),
            (None, "accounts: none given, and CLOUDFLARE_ACCOUNT_ID is not set"),
        ],
    )
    def test_accounts_whose_names_are_not_known_say_nothing_of_it(
        self, accounts: str | None, mistake: str, tmp_path: Path
    ):
        (tmp_path / "x.csv").write_text("device_id,account\nd1,z\n")
        lines = "" if accounts is None else f"accounts = {accounts}\n"
        [found] = mistakes(f"""{lines}name = "x"\ncommand.type = "pcap"\ntargets.csv = "{tmp_path / "x.csv"}"\n""")
        assert found.startswith(mistake)

    def test_a_line_that_has_two_mistakes(self, tmp_path: Path):
        (tmp_path / "x.csv").write_text("device_id,account\n,z\n")
        text = with_table("targets", f'csv = "{tmp_path / "x.csv"}"')
        assert mistakes(text) == [
            f"targets.csv: {tmp_path}/x.csv, line 2: it names no device: both device_id and user_email are empty",
            f"targets.csv: {tmp_path}/x.csv, line 2: the campaign has no account 'z'",
        ]

    def test_of_many_only_some(self, tmp_path: Path):
        (tmp_path / "x.csv").write_text("device_id,note\n" + ",hi\n" * 100)
        found = mistakes(with_table("targets", f'csv = "{tmp_path / "x.csv"}"'))
        assert len(found) == 21
        assert found[-1] == f"targets.csv: {tmp_path}/x.csv: and 80 more"
