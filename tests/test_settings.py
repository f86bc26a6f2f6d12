from __future__ import annotations

import pytest

from vtc_flows.errors import ConfigurationError
from vtc_flows.settings import config_file, load_settings


def test_environment_goes_before_file_and_arguments_before_both(monkeypatch):
    config_file().write_text("site_timeout_s = 1\nkeep_scratch = true\n")
    assert (load_settings().site_timeout_s, load_settings().keep_scratch) == (1.0, True)
    monkeypatch.setenv("VTC_SITE_TIMEOUT_S", "2")
    assert load_settings().site_timeout_s == 2.0
    assert load_settings(site_timeout_s=3).site_timeout_s == 3.0


def test_unknown_field_in_the_file_is_named():
    config_file().write_text("site_timeout = 1\n")
    with pytest.raises(ConfigurationError, match=r"site_timeout: .*" + config_file().name):
        load_settings()


@pytest.mark.parametrize("text", ["not toml = = 1", "site_timeout_s = -1", "mp_api_key = [1]"])
def test_broken_file_is_one_clear_error(text):
    config_file().write_text(text)
    with pytest.raises(ConfigurationError, match=config_file().name):
        load_settings()


@pytest.mark.parametrize("name", ["MP_API_KEY", "VTC_MP_API_KEY"])
def test_key_is_found_and_never_shown(monkeypatch, name):
    monkeypatch.setenv(name, "very-secret")
    settings = load_settings()
    assert settings.mp_api_key.get_secret_value() == "very-secret"
    assert "very-secret" not in repr(settings)


def test_settings_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        load_settings().keep_scratch = True
