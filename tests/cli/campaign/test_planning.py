"""Plans on the command line: they say all and leave nothing behind."""

import json
from pathlib import Path

import pytest

from dexcmd.sandbox import Fault, Sandbox
from tests.cli.campaign.conftest import Office, Say

OTHER = "fedcba9876543210fedcba9876543210"


def test_a_plan_says_what_a_run_would_do_and_writes_nothing(office: Office, say: Say):
    file = office.write("leave_quota = 798\ndeadline = 2099-01-01T00:00:00Z\n[waves]\nsizes = [2]\n")
    code, out, err = say("plan", file)
    assert code == 0
    assert "plan of london: pcap" in out
    assert "creates nothing after 2099-01-01 00:00 UTC" in out
    assert "  captured                6  a command each" in out
    assert "  waves of 2 and 4" in out
    assert "quota: 0 of 800 used" in out
    assert "798 of each day are left to others" in out
    assert "3 days by the quota: 2 before the reset, then up to 2 a day, the last from" in out
    assert ": 3 POSTs to create, 6 to download" in out
    assert "30.0 MB at most, 5.0 MB each" in out
    assert f"{office.folder}/captures/{{account}}" in out
    assert err == ""
    assert office.made == 0
    assert not [*office.journal.parent.iterdir()]
    assert not office.files


def test_what_comes_too_late_for_the_deadline(office: Office, say: Say):
    file = office.write('leave_quota = 798\ndeadline = "1s"\n')
    code, out, _ = say("plan", file)
    assert code == 0
    assert "devices                   6  registrations that match\n  captured                2  a command each\n" in out
    assert "  too late                4  the quota leaves it for after the deadline\n" in out
    assert "  2 commands, 0 devices skipped\n" in out
    assert "  1 day by the quota\n  4 more would come after the deadline: not created\n" in out
    assert ": 1 POST to create, 2 to download" in out
    assert "10.0 MB at most, 5.0 MB each" in out
    document = json.loads(say("plan", file, "--json", "--all")[1])
    [account] = document["accounts"]
    assert (document["commands"], account["commands"], account["quota"]["late"]) == (2, 2, 4)
    assert (account["requests"]["create"], account["requests"]["most_create"]) == (1, 1)
    assert len(account["targets"]) == 6


def test_a_run_that_comes_too_late_does_not_begin(office: Office, say: Say):
    file = office.write("deadline = 2020-01-01T00:00:00Z\n")
    code, out, err = say("run", file, "--yes")
    assert (code, out) == (1, "")
    assert err == "error: there is no device to capture: all are skipped or too late for the deadline (too late 6)\n"
    assert not office.journal.exists()
    assert "  too late                6  the deadline is over\n" in say("plan", file)[1]


@pytest.mark.parametrize("leave", [800, 900])
def test_a_run_that_the_quota_never_suffices_for_does_not_begin(office: Office, say: Say, leave: int):
    code, out, err = say("run", office.write(f"leave_quota = {leave}\n"), "--yes")
    assert (code, out) == (1, "")
    why = f"leave_quota = {leave} leaves nothing of it"
    assert err == f"error: the daily quota is never enough to create anything: {why}\n"
    assert not office.journal.exists()


def test_an_account_without_a_quota(office: Office, say: Say):
    office.service.sandbox.state.quota.limit = 0
    code, _, err = say("run", office.write(), "--yes")
    assert (code, err) == (1, "error: the daily quota is never enough to create anything: it is 0\n")


def test_why_devices_are_skipped_and_which(office: Office, say: Say):
    first, second = office.service.sandbox.state.devices[:2]
    file = office.write(
        f'[targets]\nexclude = ["{first.user_email}"]\n'
        f'emails = ["{first.user_email}", "{second.user_email}", "x@y.zz"]\n'
    )
    code, out, _ = say("plan", file)
    assert code == 0
    assert "    excluded              1  its id, name or email is in `exclude`\n" in out
    assert "    not found             1  it is named" in out
    assert second.device_id not in out
    code, out, _ = say("plan", file, "--all")
    rows = [line.split("\t") for line in out.splitlines() if "\t" in line]
    assert [(row[0], row[2], row[5], row[8]) for row in rows] == [
        ("1", second.device_id, second.user_email, ""),
        ("-", first.device_id, first.user_email, "excluded"),
        ("-", "", "x@y.zz", "not_found"),
    ]


def test_a_plan_as_json(office: Office, say: Say):
    file = office.write()
    code, out, _ = say("plan", file, "--json")
    document = json.loads(out)
    assert code == 0
    assert (document["schema"], document["campaign"], document["commands"]) == ("campaign-plan/1", "london", 6)
    assert document["requests"]["create"] == 1
    assert document["bytes"]["kind"] == "at_most"
    [account] = document["accounts"]
    assert account["error"] is None
    assert account["quota"]["reset_time"].endswith("Z")
    assert "targets" not in account
    _, out, _ = say("plan", file, "--json", "--all")
    [account] = json.loads(out)["accounts"]
    assert len(account["targets"]) == 6
    assert account["skipped_devices"] == []


def test_every_mistake_is_a_line(office: Office, say: Say, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CLOUDFLARE_ACCOUNT_ID")
    (office.folder / "bad.toml").write_text('nane = "x"\n[command]\ntype = "ping"\n[targets]\nsample = "ten"\n')
    code, out, err = say("plan", "bad.toml")
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert len(lines) == 5
    assert all(line.startswith("error: bad.toml: ") for line in lines)
    for path in ("nane: unknown key", "name: missing", "accounts: none given", "command.type", "targets.sample"):
        assert path in err
    assert say("run", "bad.toml", "--yes")[0] == 2
    assert say("plan", "none.toml")[:2] == (2, "")


def test_the_account_may_be_an_option(office: Office, say: Say, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CLOUDFLARE_ACCOUNT_ID")
    file = office.write()
    assert say("plan", file, "--account", office.service.sandbox.account_id)[0] == 0
    code, _, err = say("plan", office.write(f'[[accounts]]\naccount_id = "{OTHER}"\n'), "--account", "0" * 32)
    assert code == 2
    assert "names its accounts" in err


def test_tokens_from_the_variables_that_the_file_names(
    office: Office, say: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    with Sandbox(devices=2, account_id=OTHER).in_thread() as other:
        # Two services can't have one address, so the first account is not this one's.
        account = other.account_id
        file = office.write(f'[[accounts]]\naccount_id = "{account}"\nname = "emea"\ntoken_env = "EMEA"\n')
        url = ("--base-url", other.base_url)
        code, _, err = say("plan", file, *url)
        assert code == 2
        monkeypatch.setenv("EMEA", other.token)
        assert say("plan", file, *url)[0] == 0
        monkeypatch.delenv("EMEA")
        (tmp_path / "token").write_text(other.token)
        (tmp_path / "token").chmod(0o600)
        monkeypatch.setenv("EMEA_FILE", str(tmp_path / "token"))
        assert say("plan", file, *url)[0] == 0
        code, _, err = say("plan", file, *url, "--token-file", "token")
        assert code == 2
        assert "--token-file stands for CLOUDFLARE_API_TOKEN" in err
        file = office.write(f'[[accounts]]\naccount_id = "{account}"\n')
        assert say("plan", file, *url, "--token-file", "token")[0] == 0


@pytest.mark.parametrize("option", [False, True], ids=["environment", "option"])
def test_an_address_that_can_not_be_right_says_where_it_was_set(
    office: Office, say: Say, monkeypatch: pytest.MonkeyPatch, option: bool
):
    monkeypatch.setenv("CLOUDFLARE_BASE_URL", office.service.sandbox.base_url if option else "nowhere")
    told = "error: base_url must be an absolute http(s) URL: check CLOUDFLARE_BASE_URL or --base-url\n"
    for command in (["plan", office.write()], ["run", office.write(), "--yes"]):
        assert say(*command, *(["--base-url", "nowhere"] if option else [])) == (2, "", told)


def test_an_account_that_cant_be_read(office: Office, say: Say):
    mine = office.service.sandbox.account_id
    file = office.write(
        f'[[accounts]]\naccount_id = "{mine}"\n'
        f'[[accounts]]\naccount_id = "{OTHER}"\nname = "apac"\ntoken_env = "APAC"\n'
    )
    code, out, _ = say("plan", file)
    assert code == 3
    assert "account apac (fedcba9876543210fedcba9876543210)\n  can't be read: no API token for apac: set APAC" in out
    assert "  captured                6" in out
    code, out, _ = say("plan", file, "--json")
    assert code == 3
    assert "APAC_FILE" in json.loads(out)["accounts"][1]["error"]


def test_the_hint_for_a_token_that_is_refused_names_that_of_the_account(
    office: Office, say: Say, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("APAC", "wrong")
    mine = office.service.sandbox.account_id
    apac = f'[[accounts]]\naccount_id = "{mine}"\nname = "apac"\ntoken_env = "APAC"\n'
    file = office.write(apac)
    hint = "is the token right (APAC or APAC_FILE), for this account"
    code, out, _ = say("plan", file)
    assert code == 5
    head, blank, account, told = out.splitlines()
    # Of what can't be read there is nothing to count.
    assert (head, blank, account) == ("plan of london: pcap", "", f"account apac ({mine})")
    assert told.startswith("  can't be read: ")
    assert hint in told
    code, _, err = say("run", file, "--yes")
    assert code == 5
    assert err.startswith("error: ")
    assert hint in err


@pytest.mark.parametrize(("fault", "code"), [(Fault.error(403), 5), (Fault.error(404), 1)], ids=["403", "404"])
def test_no_account_can_be_read(office: Office, say: Say, fault: Fault, code: int):
    office.service.sandbox.faults.add(fault, on="get_quota", times=2)
    file = office.write()
    assert say("plan", file)[0] == code
    # A run says so, and makes no campaign of it.
    assert say("run", file, "--yes")[:2] == (code, "")
    assert not office.journal.exists()


@pytest.mark.parametrize("path", ["nodir/london", "london.toml"])
def test_what_looks_like_a_path_is_no_name_of_a_campaign(say: Say, path: str):
    assert say("run", path) == (2, "", f"error: {path}: can't be read: No such file or directory\n")


def test_a_plan_of_what_the_journal_knows(office: Office, say: Say):
    file = office.write()
    assert say("run", file, "--yes")[0] == 0
    code, out, err = say("plan", file)
    assert code == 0
    assert "each as the mean of 6 in the journal" in out
    assert err == "london is in the journal already: a run resumes it, and does not plan it again\n"
    file = office.write("leave_quota = 3\n")
    code, _, err = say("plan", file)
    assert code == 0
    assert err.startswith("warning: the journal has a campaign 'london' with a different plan")
    code, _, err = say("run", file, "--yes")
    assert code == 2
    assert "with a different plan" in err


def test_what_the_service_does_not_document_is_told_once(office: Office, say: Say):
    file = office.write("command.time_limit_min = 20\n")
    warning = "warning: time_limit_min=20 is above the documented maximum of 10\n"
    code, out, err = say("plan", file)
    assert (code, err) == (0, warning)
    assert "plan of london: pcap (time_limit_min 20)" in out
    assert say("run", file, "--yes")[2].count(warning) == 1
    # Whoever goes on by the name was told, or somebody else was.
    assert say("run", "london")[::2] == (0, "")
