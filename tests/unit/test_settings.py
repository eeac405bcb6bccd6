"""The settings: read once, all mistakes told at once, secrets never shown."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

import pytest

from uploadsvc.settings import (
    CLIENT_VARIABLES,
    Settings,
    SettingsError,
    shown,
)

# The contract's table, as far as the settings exist.
CONTRACT = {
    "UPLOADSVC_BIND": "127.0.0.1:8000",
    "UPLOADSVC_DATA_DIR": Path("./var"),
    "UPLOADSVC_WORKERS": 1,
    "UPLOADSVC_VERIFIERS": max(1, len(os.sched_getaffinity(0)) - 1),
    "UPLOADSVC_DATABASE_URL": "",
    "UPLOADSVC_STORAGE_URL": "",
    "UPLOADSVC_JWT_SECRET": "",
    "UPLOADSVC_JWT_AUDIENCE": "",
    "UPLOADSVC_JWT_ISSUER": "",
    "UPLOADSVC_JWT_USER_CLAIM": "sub",
    "UPLOADSVC_MEDIA_URL_S": 3600,
    "UPLOADSVC_STREAM_MAX_S": 0,
    "UPLOADSVC_ACCEL_PREFIX": "",
    "UPLOADSVC_RETENTION_DAYS": 0,
    "UPLOADSVC_MAX_UPLOAD_BYTES": 524_288_000,
    "UPLOADSVC_CORS_ORIGINS": (),
    "UPLOADSVC_HEARTBEAT_S": 15,
}
SECRET = "a secret that is long enough for HS256"


def mistakes(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(environ)
    return caught.value.mistakes


@pytest.mark.parametrize(("variable", "default"), CONTRACT.items())
def test_default_is_the_contracts(variable: str, default: object) -> None:
    settings = Settings.from_env({})

    assert getattr(settings, variable.removeprefix("UPLOADSVC_").lower()) == default


def test_environment_of_others_is_left_alone() -> None:
    environ = {"PATH": "/bin", "HOME": "x", **dict.fromkeys(CLIENT_VARIABLES, "y")}

    assert Settings.from_env(environ) == Settings()


def test_all_mistakes_are_told_at_once_each_naming_its_variable() -> None:
    environ = {
        "UPLOADSVC_BIND": "8000",
        "UPLOADSVC_WORKERS": "many",
        "UPLOADSVC_HEARTBEAT_S": "nan",
        "UPLOADSVC_CORS_ORIGINS": "app.example",
        "UPLOADSVC_LOG_LEVEL": "chatty",
        "UPLOADSVC_ACCEL_PREFIX": "_media",
        "UPLOADSVC_MAX_UPLAOD_BYTES": "1",
    }

    told = mistakes(environ)

    assert {sentence.partition(":")[0] for sentence in told} == set(environ)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("BIND", "localhost:"),
        ("BIND", ":8000"),
        ("BIND", "127.0.0.1:70000"),
        ("ENV", "staging"),
        ("WORKERS", "0"),
        ("WORKERS", "1.5"),
        ("VERIFIERS", "-1"),
        ("MEDIA_URL_S", "0"),
        ("HEARTBEAT_S", "0"),
        ("HEARTBEAT_S", "inf"),
        ("STREAM_MAX_S", "-1"),
        ("MAX_UPLOAD_BYTES", "500MB"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "https://app.example/"),
        ("PUBLIC_URL", "uploads.example"),
        ("DATABASE_URL", "mysql://db"),
        ("STORAGE_URL", "/srv/media"),
        ("ACCEL_PREFIX", "_media"),
        ("POLICY_FILE", "no/such/policy.toml"),
        ("NO_SUCH_THING", "1"),
    ],
)
def test_value_that_cannot_work_is_a_mistake_of_its_variable(
    variable: str, value: str
) -> None:
    told = mistakes({f"UPLOADSVC_{variable}": value})

    assert len(told) == 1
    assert told[0].startswith(f"UPLOADSVC_{variable}: ")


def test_several_workers_without_a_shared_hub_refuse_to_start() -> None:
    told = mistakes({"UPLOADSVC_WORKERS": "2"})

    assert len(told) == 1
    assert "hub" in told[0]
    assert "set it to 1" in told[0]


def test_empty_variable_is_one_that_was_not_set() -> None:
    assert Settings.from_env({"UPLOADSVC_WORKERS": " "}) == Settings()


def test_values_are_read() -> None:
    settings = Settings.from_env(
        {
            "UPLOADSVC_BIND": "[::1]:0",
            "UPLOADSVC_CORS_ORIGINS": "https://a.example, https://b.example:8443",
            "UPLOADSVC_PUBLIC_URL": "https://uploads.example/",
            "UPLOADSVC_STORAGE_URL": "file:///srv/uploads",
            "UPLOADSVC_ENV": "development",
        }
    )

    assert settings.bind == "[::1]:0"
    assert settings.cors_origins == ("https://a.example", "https://b.example:8443")
    assert settings.public_url == "https://uploads.example"
    assert settings.storage_dir == Path("/srv/uploads")
    assert settings.development


def test_data_folder_holds_database_and_bytes_unless_said_otherwise(
    tmp_path: Path,
) -> None:
    settings = Settings(data_dir=tmp_path)

    assert settings.database == f"sqlite:///{tmp_path}/uploadsvc.sqlite3"
    assert settings.storage_dir == tmp_path


def test_worker_has_at_least_one_verifier() -> None:
    assert Settings(workers=4, verifiers=9).verifiers_per_worker == 2
    assert Settings(workers=4, verifiers=1).verifiers_per_worker == 1


def test_secret_is_hidden_where_settings_are_shown() -> None:
    lines = list(shown(Settings(jwt_secret=SECRET)))

    assert not [line for line in lines if SECRET in str(line)]
    assert [
        line.value for line in lines if line.variable == "UPLOADSVC_JWT_SECRET"
    ] == ["(hidden)"]


def test_every_setting_is_shown_with_its_meaning_and_unit() -> None:
    lines = list(shown(Settings()))

    assert len(lines) == len(fields(Settings))
    assert all(line.meaning for line in lines)
    in_seconds = [line for line in lines if line.variable.endswith("_S")]
    assert {line.unit for line in in_seconds} == {"s"}


def test_an_empty_variable_was_not_set_even_one_nobody_knows() -> None:
    environ = {"UPLOADSVC_REDIS_URL": "", "UPLOADSVC_WORKERS": " "}

    assert Settings.from_env(environ) == Settings()


@pytest.mark.parametrize("origin", ["https://*.example", "*", "https://a.example/x"])
def test_an_origin_that_would_be_a_pattern_is_refused(origin: str) -> None:
    with pytest.raises(SettingsError, match="UPLOADSVC_CORS_ORIGINS"):
        Settings.from_env({"UPLOADSVC_CORS_ORIGINS": origin})
