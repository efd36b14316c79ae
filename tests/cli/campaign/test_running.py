"""Campaigns run on the command line: piped, as JSON, steered from another process, and gone on with."""

import asyncio
import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import get_args

import pytest

from dexcmd.campaign.events import ControlRequested
from dexcmd.campaign.journal import open_journal
from dexcmd.campaign.state import TargetState
from dexcmd.cli.campaign import planning, running
from dexcmd.sandbox import Fault, Sandbox
from tests.cli.campaign.conftest import Office, Say
from tests.cli.conftest import PATIENCE, Screen, until

FOREVER = (1e6, 1e6)
WAVES = "[waves]\nsizes = [1]\n"
OTHER = "fedcba9876543210fedcba9876543210"


# --- to its end


def test_a_run_in_a_pipe(office: Office, say: Say):
    code, out, err = say("run", office.write(WAVES), "--yes")
    assert code == 0
    assert "london is finished" in out
    assert re.search(rf"  saved                   6  .*B in {office.folder}/captures\n", out)
    assert out.endswith("next: nothing, every target has its artifact\n")
    lines = err.splitlines()
    emails = [device.user_email for device in office.service.sandbox.state.devices]
    assert lines[0].startswith("london: pcap on 6 devices of ")
    assert lines[0].endswith(" and 1 more")
    assert sum(email in lines[0] for email in emails) == 5
    assert lines[1] == "6 commands in waves of 1 and 5; 1 day by the quota"
    assert "wave 1 begins" in lines
    assert "wave 2 begins" in lines
    assert lines[-1].startswith("6 of 6 created, 6 of 6 captured, 6 of 6 fetched")
    assert len(office.files) == office.made == 6
    assert office.journal.stat().st_mode & 0o777 == 0o600


def test_why_a_download_is_tried_again_is_told_while_it_runs(office: Office, say: Say):
    office.service.sandbox.faults.add(Fault.error(410), on="download", times=2)
    code, _, err = say("run", office.write("[retries]\ndownload = 1\n"), "--yes")
    assert code == 0
    [told] = [line for line in err.splitlines() if line.startswith("a download failed")]
    assert re.fullmatch(r"a download failed, next try in .* (s|min): GET /dex/commands/.*: 410: .*", told)


def test_only_those_are_named_who_are_captured_before_the_deadline(office: Office, say: Say):
    file = office.write('leave_quota = 798\ndeadline = "1s"\n')
    code, _, err = say("run", file)
    assert code == 2
    lines = err.splitlines()
    [account] = json.loads(say("plan", file, "--json", "--all")[1])["accounts"]
    first, second = (target["user_email"] for target in account["targets"][:2])
    assert lines[0] == f"london: pcap on 2 devices of {first}, {second}"
    assert lines[1] == "2 commands; 1 day by the quota; 4 more would come after the deadline: not created"


def test_run_again_it_does_nothing(office: Office, say: Say):
    file = office.write()
    assert say("run", file, "--yes")[0] == 0
    requests = len(office.service.sandbox.requests)
    for what in (file, "london"):
        # Without a question, for there is nothing to ask.
        code, out, _ = say("run", what)
        assert code == 0
        assert "london is finished" in out
    assert say("resume", "london")[0] == 0
    assert len(office.service.sandbox.requests) == requests


def test_nobody_to_ask(office: Office, say: Say):
    code, out, err = say("run", office.write())
    assert (code, out) == (2, "")
    assert "--yes" in err
    assert office.made == 0
    assert not office.journal.exists()


def test_nothing_to_capture(office: Office, say: Say):
    code, out, err = say("run", office.write('[targets]\nplatforms = ["amiga"]\n'), "--yes")
    assert (code, out) == (1, "")
    platforms = ", ".join(sorted({device.platform for device in office.service.sandbox.state.devices}))
    assert f"there is no device to capture: all are skipped (platform 6); the platforms are {platforms}\n" in err
    assert not office.journal.exists()


def test_a_silent_account_holds_up_no_other_where_nobody_is_asked(
    office: Office, say: Say, monkeypatch: pytest.MonkeyPatch
):
    mine = office.service.sandbox
    with Sandbox(2, account_id=OTHER, seed=1, behaviour=mine.behaviour, clock=mine.clock).in_thread() as other:
        mine.also_serve(other)
        other.faults.add(Fault.silence(headers=False), on="get_quota", times=1)
        monkeypatch.setenv("APAC", other.token)
        file = office.write(
            f'[[accounts]]\naccount_id = "{mine.account_id}"\nname = "emea"\n'
            f'[[accounts]]\naccount_id = "{OTHER}"\nname = "apac"\ntoken_env = "APAC"\n'
        )
        code, _, err = say("run", file, "--yes")
    assert code == 0
    assert err.splitlines()[1:3] == [
        "emea: 6 commands; 1 day by the quota",
        "1 more account: planned and captured alongside, each as soon as it answers",
    ]
    assert [line for line in err.splitlines() if "planned, starting" in line] == ["apac: planned, starting"]
    assert len(office.files) == 8


def test_events_and_the_status_as_json_lines(office: Office, say: Say):
    code, out, _ = say("run", office.write(WAVES), "--yes", "--json")
    assert code == 0
    *events, status = [json.loads(line) for line in out.splitlines()]
    assert {event["schema"] for event in events} == {"campaign-event/1"}
    assert {event["campaign"] for event in events} == {"london"}
    kinds = [event["event"] for event in events]
    assert (kinds[0], kinds[-1]) == ("run_started", "run_ended")
    assert kinds.count("wave_opened") == 2
    saved = [event for event in events if event["event"] == "artifact_saved"]
    assert {Path(event["location"]) for event in saved} == set(office.files)
    assert all(event["at"].endswith("Z") for event in events)
    assert status["schema"] == "campaign-status/1"
    assert (status["state"], status["targets"]) == ("finished", 6)
    assert set(status["states"]) == set(get_args(TargetState))
    assert status["states"]["saved"] == 6
    assert status["bytes"] == sum(path.stat().st_size for path in office.files)
    assert status["accounts"][0]["stopped"] == "finished"


def test_jq_reads_it(office: Office, environment: dict[str, str]):
    line = f"{sys.executable} -m dexcmd.cli campaign run {office.write()} --yes --json | jq -r .event"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout.splitlines().count("artifact_saved") == 6


def test_whoever_reads_the_events_may_go(office: Office):
    """What is under way comes to its end, and the next run goes on."""
    file = office.write(WAVES)
    command = [sys.executable, "-m", "dexcmd.cli", "campaign", "run", file, "--yes", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(PATIENCE) == 141
    assert office.run("run", file).finish()[0] == 0
    assert office.made == 6


@pytest.mark.parametrize(
    "arguments", [["status", "london"], ["list"], ["plan", "london.toml"]], ids=lambda words: words[0]
)
def test_whoever_reads_a_report_may_go(office: Office, say: Say, arguments: list[str]):
    assert say("run", office.write(), "--yes")[0] == 0
    command = [sys.executable, "-m", "dexcmd.cli", "campaign", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(PATIENCE) == 141


# --- how it may end


def test_some_fail(office: Office, say: Say):
    office.behave(failure_rate=1.0)
    code, out, err = say("run", office.write(), "--yes")
    assert code == 3
    assert "    device                6  the service reports FAILED" in out
    assert "next: `dexcmd campaign export london` lists the outcome of each target, and why" in out
    assert "6 failed (device 6)" in err


def test_a_rule_gives_it_up(office: Office, say: Say):
    office.behave(failure_rate=1.0)
    code, _, err = say("run", office.write("[[abort]]\nfailed_percent = 50\nof_at_least = 1\n" + WAVES), "--yes")
    assert code == 4
    assert "aborted: 1 of 1 failed: the limit is 50 %\n" in err


def test_the_service_refuses_an_account_and_the_other_goes_on(
    office: Office, say: Say, monkeypatch: pytest.MonkeyPatch
):
    accounts = (
        f'[[accounts]]\naccount_id = "{office.service.sandbox.account_id}"\nname = "emea"\n'
        f'[[accounts]]\naccount_id = "{OTHER}"\nname = "apac"\ntoken_env = "APAC"\n'
    )
    file = office.write(accounts)
    code, out, err = say("run", file, "--yes")
    assert code == 5
    assert "apac: can't be read (no API token for apac" in err
    assert "\napac: refused: no API token for apac: set APAC or APAC_FILE\n" in err
    assert "then `dexcmd campaign resume london` resumes it" in out
    assert err.splitlines()[-1].startswith("6 of 6 created, 6 of 6 captured, 6 of 6 fetched, 1 account refused")
    assert say("list")[1].split("\t")[:6] == ["london", "refused", "6", "6", "0", "0"]
    assert say("list")[1].endswith("\t1\n")
    assert len(office.files) == 6
    monkeypatch.setenv("APAC", "wrong")
    code, out, err = say("resume", "london")
    assert code == 5
    assert "apac: refused: " in err
    assert "next: fix what was refused, such as a token (APAC or APAC_FILE) or its permissions" in out


# --- names


@pytest.mark.parametrize("command", ["run", "resume", "status", "pause", "cancel", "export"])
def test_a_name_that_there_is_not(office: Office, say: Say, command: str):
    code, out, err = say(command, "paris")
    assert (code, out) == (2, "")
    assert err == f"error: there is no campaign 'paris': there is no journal at {office.journal}\n"
    assert not office.journal.exists()
    assert say("run", office.write(), "--yes")[0] == 0
    code, _, err = say(command, "paris")
    assert code == 2
    assert err == (
        f"error: the journal has no campaign 'paris'; `dexcmd campaign list` shows what there is in {office.journal}\n"
    )
    code, _, err = say(command, "paris", "--journal", str(office.journal))
    assert f"`dexcmd campaign list --journal {office.journal}` shows" in err


def test_by_name_from_another_folder(office: Office, say: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    office.service.sandbox.faults.add(Fault.error(403), on="create_commands")
    assert say("run", office.write(), "--yes")[0] == 5
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert say("run", "london")[0] == 0
    assert len(office.files) == 6
    assert not [*elsewhere.iterdir()]


def test_where_it_is_found_is_said_again(office: Office, say: Say):
    office.service.sandbox.faults.add(Fault.error(403), on="create_commands")
    url = office.service.sandbox.base_url
    code, out, _ = say("run", office.write(), "--yes", "--journal", "my.db", "--base-url", url)
    assert code == 5
    options = f"--journal my.db --base-url {url}"
    assert f"then `dexcmd campaign resume london {options}` resumes it" in out
    assert f"`dexcmd campaign cancel london {options}` ends it" in out
    assert (office.folder / "my.db").exists()
    assert not office.journal.exists()


# --- the journal


@pytest.mark.parametrize("command", [["run", "london.toml", "--yes"], ["plan", "london.toml"], ["list"]])
def test_a_journal_that_is_named_is_not_made_in_a_folder_that_is_not_there(
    office: Office, say: Say, command: list[str], monkeypatch: pytest.MonkeyPatch
):
    office.write()
    error = "error: there is no folder nodir for the journal j.db: create it, or name another journal\n"
    assert say(*command, "--journal", "nodir/j.db") == (2, "", error)
    monkeypatch.setenv("DEXCMD_JOURNAL", "nodir/j.db")
    assert say(*command) == (2, "", error)
    assert not (office.folder / "nodir").exists()
    assert not office.service.sandbox.requests


@pytest.mark.skipif(sys.platform != "linux", reason="where the default journal is, by the variables of Linux")
def test_the_folder_of_the_default_journal_is_made(office: Office, say: Say, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DEXCMD_JOURNAL")
    monkeypatch.setenv("XDG_STATE_HOME", str(office.folder / "home" / "state"))
    journal = office.folder / "home" / "state" / "dexcmd" / "journal.db"
    code, _, err = say("run", office.write(), "--yes")
    assert code == 0
    assert f"\nnew journal at {journal}\n" in err
    assert journal.exists()


def test_a_new_journal_is_told_before_anything_is_asked(office: Office, say: Say):
    code, _, err = say("run", office.write())
    assert code == 2
    assert err.splitlines()[-2] == f"new journal at {office.journal}"
    assert say("run", office.write(), "--yes")[0] == 0
    assert "new journal" not in say("run", office.write(name="paris"), "--yes")[2]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="a folder in which nobody can make a file")
def test_a_journal_that_cant_be_made_is_refused_before_anything_is_looked_at(office: Office, say: Say):
    code, out, err = say("run", office.write(), "--yes", "--journal", "/proc/x.db")
    assert (code, out) == (2, "")
    assert err.startswith("error: can't create a journal at /proc/x.db: /proc: ")
    assert not office.service.sandbox.requests


# --- Ctrl-C and worse


def test_ctrl_c_once_and_once_more(office: Office):
    office.behave(run_seconds=FOREVER)
    file = office.write()
    process = office.run("run", file, "--yes", "--json")
    for _ in range(6):
        process.wait_for('"command_known"')
    process.popen.send_signal(signal.SIGINT)
    code, out, _ = process.finish()
    assert code == 130
    assert "creating no more commands and finishing the downloads in progress; Ctrl-C again quits immediately" in out
    assert json.loads(out.splitlines()[-1])["state"] == "interrupted"
    # The next says how to go on.
    process = office.run("run", file)
    process.wait_for("resuming london: 0 of 6 fetched")
    process.wait_for("6 of 6 created, 0 of 6 captured")
    process.popen.send_signal(signal.SIGINT)
    code, out, _ = process.finish()
    assert code == 130
    assert out.endswith("next: `dexcmd campaign resume london` resumes it")
    assert office.made == 6


def test_the_second_ctrl_c_leaves_at_once(office: Office, say: Say):
    office.service.sandbox.faults.add(Fault.stall(), on="download", times=6)
    file = office.write()
    process = office.run("run", file, "--yes")
    until(lambda: office.service.made("download") > 0)
    process.popen.send_signal(signal.SIGINT)
    process.wait_for("Ctrl-C again quits immediately")
    process.popen.send_signal(signal.SIGINT)
    code, out, _ = process.finish()
    assert code == 130
    assert out.endswith("progress is kept: `dexcmd campaign resume london` resumes it\ninterrupted")
    office.service.sandbox.faults.clear()
    assert say("resume", "london")[0] == 0
    assert office.made == len(office.files) == 6


def test_what_ends_a_run_tells_how_it_is_gone_on_with(office: Office, say: Say, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space left")

    file = office.write()
    with monkeypatch.context() as patch:
        patch.setattr(os, "writev", full)
        code, _, err = say("run", file, "--yes", "--journal", "other.db")
    assert code == 1
    hint, error = err.splitlines()[-2:]
    assert hint == "progress is kept: `dexcmd campaign resume london --journal other.db` resumes it"
    assert error.startswith("error: no space left for ")
    assert say("resume", "london", "--journal", "other.db")[0] == 0
    assert office.made == len(office.files) == 6


def test_so_does_a_stdout_that_is_full(office: Office, say: Say, monkeypatch: pytest.MonkeyPatch):
    file = office.write()
    with monkeypatch.context() as patch, open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123 - unbuffered
        patch.setattr(sys, "stdout", TextIOWrapper(full, write_through=True))
        code, _, err = say("run", file, "--yes", "--json")
    assert code == 1
    assert err.splitlines()[-2:] == [
        "progress is kept: `dexcmd campaign resume london` resumes it",
        "error: No space left on device",
    ]
    assert say("resume", "london")[0] == 0


def test_what_was_not_begun_is_not_gone_on_with(office: Office, say: Say, monkeypatch: pytest.MonkeyPatch):
    def somebody_else_was_faster(*_: object, **__: object) -> bool:
        office.journal.write_text("no journal at all\n" * 100)
        return True

    monkeypatch.setattr(running, "confirm", somebody_else_was_faster)
    code, _, err = say("run", office.write())
    assert code == 1
    assert err.splitlines()[-2:] == [
        f"new journal at {office.journal}",
        f"error: journal {office.journal}: it is not a dexcmd journal: choose another file",
    ]


def test_ctrl_c_while_it_is_planned(office: Office):
    office.service.sandbox.faults.add(Fault.silence(headers=False), on="list_devices", times=9)
    process = office.run("run", office.write(), "--yes")
    until(lambda: office.service.made("list_devices") > 0)
    process.popen.send_signal(signal.SIGINT)
    code, out, _ = process.finish()
    assert (code, out) == (130, "interrupted")
    assert not office.journal.exists()


def test_killed_and_run_again(office: Office, say: Say):
    office.service.sandbox.faults.add(Fault.stall(), on="download", times=6)
    process = office.run("run", office.write(), "--yes")
    until(lambda: office.service.made("download") > 0)
    process.popen.kill()
    process.finish()
    office.service.sandbox.faults.clear()
    code, out, _ = say("status", "london")
    assert code == 0
    assert out.startswith("london is interrupted: no process runs it")
    code, _, err = say("run", "london")
    assert code == 0
    assert err.startswith("resuming london: 0 of 6 fetched\n")
    assert office.made == len(office.files) == 6


# --- from another terminal


def test_steered_from_another_process(office: Office, say: Say):
    office.behave(run_seconds=FOREVER)
    file = office.write(WAVES)
    process = office.run("run", file, "--yes")
    process.wait_for("1 of 6 created, 0 of 6 captured, 0 of 6 fetched, 1 running")
    watching = office.run("status", "london", "--watch")
    watching.wait_for("1 of 6 created")
    busy = (
        "error: another process is running campaign 'london'; `dexcmd campaign status london{}` shows how far it is\n"
    )
    assert say("run", "london") == (1, "", busy.format(""))
    assert say("run", file, "--journal", str(office.journal)) == (1, "", busy.format(f" --journal {office.journal}"))

    code, out, err = say("pause", "london")
    assert (code, err) == (0, "")
    assert out == (
        "london is paused: nothing more is created; 1 in progress is still followed and fetched; "
        "`dexcmd campaign resume london` resumes it\n"
    )
    process.wait_for("london is paused: nothing more is created, running commands are followed and fetched")
    watching.wait_for("london is paused")
    assert "london is paused (by another process)" in say("status", "london")[1]

    assert say("resume", "london") == (0, "", "london resumes in the process that runs it\n")
    process.wait_for("london resumes: the pause is over")
    code, out, _ = say("resume", "london", "--json")
    assert (code, json.loads(out)["running_elsewhere"]) == (0, True)

    code, out, _ = say("cancel", "london")
    assert code == 0
    assert out == (
        "london is cancelled: nothing more is created; 1 command still runs, as the service can't cancel it; "
        "it is followed and fetched\n"
    )
    process.wait_for("london is cancelled: nothing more is created, running commands are followed and fetched")
    code, out, _ = say("cancel", "london", "--drop")
    assert code == 0
    assert out.endswith("it is not collected\n")
    for one in (process, watching):
        code, out, _ = one.finish()
        assert code == 4
        assert "london was cancelled" in out
        assert "  not attempted           6" in out
    assert office.made == 1
    code, _, err = say("resume", "london")
    assert code == 4
    code, _, err = say("pause", "london")
    assert code == 1
    assert "is cancelled" in err


def test_steered_while_nothing_runs_it(office: Office, say: Say):
    office.behave(run_seconds=FOREVER)
    file = office.write()
    process = office.run("run", file, "--yes", "--json")
    for _ in range(6):
        process.wait_for('"command_known"')
    process.popen.send_signal(signal.SIGINT)
    assert process.finish()[0] == 130
    assert say("pause", "london")[1] == (
        "london is paused: nothing more is created; `dexcmd campaign resume london` resumes it\n"
    )
    assert say("status", "london", "--watch")[0] == 130
    # To run it does not end the pause.
    process = office.run("run", file)
    process.wait_for("london is paused: nothing more is created before `dexcmd campaign resume london`")
    process.wait_for("6 of 6 created")
    process.popen.send_signal(signal.SIGINT)
    assert process.finish()[0] == 130
    code, out, _ = say("cancel", "london", "--json")
    assert code == 0
    assert json.loads(out)["control"] == "cancel_keep"
    code, out, _ = say("cancel", "london", "--drop")
    assert out == (
        "london is cancelled: nothing more is created; 6 commands still run, as the service can't cancel them; "
        "they are not collected; `dexcmd campaign resume london` finishes it\n"
    )
    code, out, _ = say("resume", "london")
    assert code == 4
    assert "still running             6" in out


def test_what_help_reads_with_jq_is_there(office: Office, say: Say, environment: dict[str, str]):
    office.behave(run_seconds=FOREVER)
    file = office.write()
    process = office.run("run", file, "--yes", "--json")
    process.wait_for('"command_known"')
    process.popen.send_signal(signal.SIGINT)
    process.finish()
    say("pause", "london")
    found: dict[str, str] = {}
    for command in ("plan", "status", "list"):
        [example] = [line.strip() for line in say(command, "--help")[1].splitlines() if "| jq" in line]
        line = example.replace("dexcmd", f"{sys.executable} -m dexcmd.cli").replace("london.toml", file)
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=PATIENCE, check=True)
        found[command] = done.stdout.strip()
    assert found == {"plan": "0", "status": '"paused"', "list": "london"}


def test_resume_ends_a_pause_and_runs_it_here(office: Office, say: Say):
    office.service.sandbox.faults.add(Fault.error(403), on="create_commands")
    assert say("run", office.write(), "--yes")[0] == 5
    assert say("pause", "london")[0] == 0
    code, out, _ = say("resume", "london")
    assert code == 0
    assert "london is finished" in out


def test_resume_of_what_ended_while_it_was_paused_shows_its_status(office: Office, say: Say):
    assert say("run", office.write(), "--yes")[0] == 0

    async def pause() -> None:
        async with open_journal(office.journal) as journal:
            # As if just before its end: afterwards there is nothing to pause.
            await journal.append("london", [ControlRequested(at=datetime.now(UTC), control="pause")])

    asyncio.run(pause())
    code, out, _ = say("resume", "london")
    assert code == 0
    assert "london is finished" in out


# --- looking


def test_status_as_json(office: Office, say: Say):
    say("run", office.write(), "--yes")
    code, out, _ = say("status", "london", "--json")
    assert code == 0
    assert json.loads(out)["state"] == "finished"


def test_the_list(office: Office, say: Say):
    assert say("list") == (0, "", "")
    assert not office.journal.exists()
    say("run", office.write(), "--yes")
    say("run", office.write(name="paris"), "--yes")
    code, out, _ = say("list")
    assert code == 0
    assert [line.split("\t")[:6] for line in out.splitlines()] == [
        ["london", "finished", "6", "6", "0", "0"],
        ["paris", "finished", "6", "6", "0", "0"],
    ]
    code, out, _ = say("list", "--json")
    assert [json.loads(line)["campaign"] for line in out.splitlines()] == ["london", "paris"]


# --- on a terminal


def test_the_question_and_the_bars(office: Office, show: Callable[..., Screen]):
    screen = show("campaign", "run", office.write(WAVES))
    screen.wait_for("Start 6 captures on 6 devices of 1 account? [y/N] ")
    assert "london: pcap on 6 devices of" in screen.text
    assert office.made == 0
    screen.type("y\n")
    assert screen.finish() == 0
    assert "━" in screen.text
    assert "6/6" in screen.text
    assert "wave 2 begins" in screen.text
    assert "6 fetched (" in screen.text
    assert "london is finished" in screen.text
    assert screen.raw.rindex("\x1b[?25l") < screen.raw.rindex("\x1b[?25h")


def test_no_is_the_answer(office: Office, show: Callable[..., Screen]):
    screen = show("campaign", "run", office.write())
    screen.wait_for("[y/N] ")
    screen.type("\n")
    assert screen.finish() == 4
    assert screen.text.endswith("nothing was started\n")
    assert not office.journal.exists()


def test_a_dumb_terminal(office: Office, show: Callable[..., Screen]):
    screen = show("campaign", "run", office.write(), "--yes", TERM="dumb")
    assert screen.finish() == 0
    assert "6 of 6 created, 6 of 6 captured, 6 of 6 fetched" in screen.text
    assert "\x1b" not in screen.raw


@pytest.mark.parametrize("columns", ["30", "50"])
def test_a_narrow_terminal(office: Office, show: Callable[..., Screen], columns: str):
    office.behave(run_seconds=FOREVER)
    screen = show("campaign", "run", office.write(), "--yes", COLUMNS=columns)
    screen.wait_for("6/6")
    screen.process.send_signal(signal.SIGINT)
    assert screen.finish() == 130
    assert "resumes" in screen.text
    assert max(map(len, screen.text.splitlines())) <= int(columns)


def test_lists_on_a_terminal(office: Office, say: Say, show: Callable[..., Screen]):
    screen = show("campaign", "list")
    assert screen.finish() == 0
    assert "no campaigns in" in screen.text
    say("run", office.write(), "--yes")
    screen = show("campaign", "list", COLUMNS="100")
    assert screen.finish() == 0
    heading, row, *_ = screen.text.splitlines()
    assert heading.split() == ["campaign", "state", "targets", "saved", "failed", "left", "size", "planned"]
    assert row.split()[:6] == ["london", "finished", "6", "6", "0", "0"]


def test_an_account_that_is_waited_for_is_told_of(office: Office, say: Say, monkeypatch: pytest.MonkeyPatch):
    # Seen: minutes without a word, before anything was begun.
    monkeypatch.setattr(planning, "WORTH_TELLING", 0.05)
    office.service.sandbox.faults.add(Fault.slow(0.5, real_time=True), on="list_devices")
    code, _, err = say("run", office.write(), "--yes")
    assert code == 0
    assert re.match(r"still looking at 1 account: \d requests?\n", err)
