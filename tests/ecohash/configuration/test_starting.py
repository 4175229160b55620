"""A process that starts: in production, and on a development machine that makes for itself what it needs."""

from pathlib import Path

import pytest
from django.core import mail
from django.core.checks import run_checks
from django.core.mail import EmailMessage
from pytest_django import Settings

from ecohash.configuration import checks, development, production, startup
from tests.ecohash.configuration.starting import IN_PRODUCTION, REAL, start


def test_production_does_not_start_with_nothing_set(tmp_path: Path) -> None:
    started = start(tmp_path, ECOHASH_ENV="production")
    assert started.returncode
    for name in ("SECRET_KEY", "KEY_PEPPER", "BASE_URL", "DATABASE_URL", *REAL):
        assert name in started.stderr
    assert list(tmp_path.iterdir()) == []


def test_production_starts_with_safe_values(tmp_path: Path) -> None:
    started = start(tmp_path, **IN_PRODUCTION)
    assert started.stdout.split() == ["True", "False"], started.stderr
    assert list(tmp_path.iterdir()) == []


def test_production_starts_with_every_stand_in_named(tmp_path: Path) -> None:
    unset = dict.fromkeys(REAL, "") | {"ALLOWED_STAND_INS": " Mail,".join(production.STAND_INS)}
    started = start(tmp_path, **IN_PRODUCTION | unset)
    assert started.stdout.split() == ["True", "False"], started.stderr
    assert (tmp_path / "secrets" / "SECRET_KEY").exists()


def test_development_needs_no_setting_and_is_not_debug(tmp_path: Path) -> None:
    assert start(tmp_path).stdout.split() == ["False", "False"]


def test_another_environment_is_refused_and_makes_nothing(tmp_path: Path) -> None:
    assert "ECOHASH_ENV must be" in start(tmp_path, ECOHASH_ENV="prod").stderr
    assert list(tmp_path.iterdir()) == []


WRONG = {
    "PORT": "99999",
    "WEB_CONCURRENCY": "0",
    "GPU_WORKERS": "-1",
    "TRUSTED_PROXIES": "-1",
    "DEBUG": "perhaps",
    "LOG_LEVEL": "LOUD",
    "BASE_URL": "https://example.com/shop",
    "ALLOWED_HOSTS": "https://example.com",
    "ALLOWED_STAND_INS": "mail,miniatur",
    "KEY_PEPPER": "1:aaa,bbb",
    "DATABASE_URL": "mysql://db/ecohash",
    "DATABASE_POOL_SIZE": "0",
    "REDIS_URL": "http://cache",
    "CELERY_BROKER_URL": "redis//cache",
    "EMAIL_URL": "stmp://mail",
    "IMAGE_TIMEOUT_SECONDS": "0",
    "BLANK_ENGINE_SECONDS": "nan",
    "USAGE_SEAL_SECONDS": "1e3",
    "REQUESTS_PER_MINUTE": "0",
    "IMAGES_PER_MINUTE": "-5",
    "IMAGES_IN_FLIGHT": "many",
    "TRIAL_CREDIT_MICROS": "-1",
    "AWS_S3_ENDPOINT_URL": "minio:9000",
}


def test_every_wrong_value_is_told_at_once_in_one_line_each(tmp_path: Path) -> None:
    started = start(tmp_path, **WRONG)
    lines = started.stderr.partition("EcoHash will not start in development:\n")[2].splitlines()
    assert sorted(line.split()[0] for line in lines) == sorted(WRONG), started.stderr
    assert "aaa" not in started.stderr
    assert "Known are blank, credit, mail," in started.stderr


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"PORT": "0"}, "PORT"),
        ({"PORT": "\u0668\u0660"}, "PORT"),
        ({"TRUSTED_PROXIES": "11"}, "TRUSTED_PROXIES"),
        ({"PORT": "8000", "STRIPE_SANDBOX_PORT": "8000"}, "STRIPE_SANDBOX_PORT"),
        ({"BASE_URL": "example.com"}, "BASE_URL"),
        ({"BASE_URL": "http://:8000"}, "BASE_URL"),
        ({"BASE_URL": "http://example.com:http"}, "BASE_URL"),
        ({"ALLOWED_HOSTS": "a.example.com:8000"}, "ALLOWED_HOSTS"),
        ({"DATABASE_URL": "postgres://user:p#ss@db:x/ecohash"}, "DATABASE_URL"),
        ({"DATABASE_URL": "postgres://db"}, "DATABASE_URL"),
        ({"EMAIL_URL": "consolemail://"}, "EMAIL_URL"),
        ({"EMAIL_URL": "smtp://"}, "EMAIL_URL"),
        ({"EMAIL_URL": "smtp://user:p#ss@mail:25"}, "EMAIL_URL"),
        ({"S3_BUCKET": "pictures"}, "AWS_DEFAULT_REGION"),
        ({"AWS_S3_ENDPOINT_URL": "http://minio:9000"}, "S3_BUCKET"),
    ],
)
def test_a_wrong_value_is_one_line_in_development_too(
    values: dict[str, str], name: str, tmp_path: Path
) -> None:
    started = start(tmp_path, **values)
    [line] = started.stderr.partition("EcoHash will not start in development:\n")[2].splitlines()
    assert line.startswith(name), started.stderr


def test_right_values_of_each_kind_pass(tmp_path: Path) -> None:
    right = {
        "PORT": "65535",
        "GPU_WORKERS": "0",
        "DEBUG": "No",
        "LOG_LEVEL": "debug",
        "BASE_URL": "http://[::1]:8000/",
        "ALLOWED_HOSTS": "*, .example.com [::1] 10.0.0.7",
        "DATABASE_URL": "sqlite:////tmp/x.sqlite3",
        "REDIS_URL": "rediss://user:secret@cache:6380/2",
        "CELERY_BROKER_URL": "amqp://",
        "EMAIL_URL": "smtp+tls://hello%40example.com:p%23ss@mail:587",
        "S3_BUCKET": "pictures",
        "AWS_DEFAULT_REGION": "eu-south-1",
        "BLANK_ENGINE_SECONDS": "0.25",
        "TRIAL_CREDIT_MICROS": "0",
    }
    started = start(tmp_path, **right)
    assert started.returncode == 0, started.stderr


def test_a_development_secret_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    secret = development.stored_secret(tmp_path, "SECRET_KEY")
    assert development.stored_secret(tmp_path, "SECRET_KEY") == secret
    assert development.stored_secret(tmp_path, "KEY_PEPPER") != secret
    assert len(secret) >= 32
    path = tmp_path / "secrets" / "SECRET_KEY"
    assert path.stat().st_mode & 0o077 == 0
    assert list(path.parent.glob(".*")) == []


def test_an_empty_secret_is_not_taken_for_one(tmp_path: Path) -> None:
    development.stored_secret(tmp_path, "SECRET_KEY")
    (tmp_path / "secrets" / "SECRET_KEY").write_text("")
    started = start(tmp_path)
    assert "SECRET_KEY: the file is empty: remove it" in started.stderr


def test_var_dir_is_made_for_its_owner_alone_with_the_folders_above_it(tmp_path: Path) -> None:
    assert start(tmp_path / "above" / "var").returncode == 0
    assert (tmp_path / "above" / "var").stat().st_mode & 0o777 == 0o700


def unusable_folders(tmp_path: Path) -> list[str]:
    """Paths that not even root can write to, and one that no text can name."""
    file, loop = tmp_path / "file", tmp_path / "loop"
    file.touch()
    loop.symlink_to(loop)
    return [
        *(str(file), str(file / "below"), str(loop / "below"), "/proc/ecohash/var"),
        *(str(tmp_path / ("n" * 300)), str(tmp_path / "two\nlines"), "/tmp/\udcff"),
    ]


def test_a_var_dir_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    for folder in unusable_folders(tmp_path):
        started = start(Path(folder))
        told = started.stderr.partition("EcoHash will not start in development:\n")[2]
        [line] = told.splitlines()
        assert line.startswith("VAR_DIR "), folder


def test_a_disk_without_room_shows_before_a_process_serves(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.VAR_DIR = Path("/proc/ecohash")
    with pytest.raises(SystemExit) as end:
        startup.check()
    assert end.value.code == 78
    assert "VAR_DIR cannot be used (/proc/ecohash: No such file" in capsys.readouterr().err


def test_production_without_stand_ins_writes_only_where_it_must(settings: Settings) -> None:
    settings.PRODUCTION, settings.STAND_INS, settings.VAR_DIR = True, [], Path("/proc/ecohash")
    assert checks.var_dir() == []
    startup.check()
    with pytest.raises(SystemExit):
        startup.check(writes=True)


def test_a_folder_that_others_may_read_is_warned_of_and_not_changed(
    settings: Settings, tmp_path: Path
) -> None:
    settings.VAR_DIR = tmp_path / "var"
    settings.VAR_DIR.mkdir(mode=0o755)
    [warning] = checks.var_dir()
    assert warning.id == "ecohash.W002"
    assert f"chmod 700 {settings.VAR_DIR}" in warning.hint
    assert settings.VAR_DIR.stat().st_mode & 0o777 == 0o755


def test_a_check_that_fails_is_one_line_with_its_remedy(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_checks() == []
    settings.INFERENCE_ENGINE = "magic"
    with pytest.raises(SystemExit) as end:
        startup.check()
    assert end.value.code == 78
    [_, line] = capsys.readouterr().err.splitlines()
    assert line.startswith("INFERENCE_ENGINE names no engine. Set it to flux")
    assert line.endswith("(inference.E001)")


@pytest.mark.parametrize("in_production", [False, True])
def test_a_mail_in_the_folder_is_printed_in_development_alone(
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    in_production: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    settings.VAR_DIR, settings.PRODUCTION = tmp_path, in_production
    connection = mail.get_connection("ecohash.mail.FolderBackend")
    connection.send_messages([EmailMessage("Sign in", "https://link", to=["a@example.com"])])
    [file] = (tmp_path / "mail").iterdir()
    assert "https://link" in file.read_text()
    printed = capsys.readouterr()
    assert ("https://link" in printed.out) is not in_production
    assert "https://link" not in printed.err


def test_a_socket_in_a_deep_folder_moves_to_the_temp_folder(tmp_path: Path) -> None:
    assert development.socket_path(Path("/srv/var"), "redis.sock") == Path("/srv/var/redis.sock")
    deep = tmp_path / ("deep" * 30)
    path = development.socket_path(deep, "redis.sock")
    assert len(str(path)) < 104
    assert path == development.socket_path(deep, "redis.sock")
    assert path != development.socket_path(deep / "er", "redis.sock")


@pytest.mark.parametrize("name", ["a?b", "a#b", "a%20b"])
def test_a_socket_whose_path_is_no_address_moves_too(name: str) -> None:
    path = development.socket_path(Path("/srv") / name, "redis.sock")
    assert path.parent.name.startswith("ecohash-")
