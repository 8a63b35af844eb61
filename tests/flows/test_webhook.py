"""Who may knock: the key as GitHub, GitLab and everybody else send it."""

import hashlib
import hmac
import socket
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import BusyError, ParamsError
from contracts.params import Params, load_params
from flows.webhook import listening, proved

KEY = "a key"


def signed(body: bytes, key: str) -> str:
    return "sha256=" + hmac.new(key.encode(), body, hashlib.sha256).hexdigest()


@given(st.binary(max_size=50), st.text(max_size=8))
def test_only_the_key_opens(body: bytes, other: str) -> None:
    for headers in (
        {"authorization": f"Bearer {KEY}"},
        {"x-gitlab-token": KEY},
        {"x-hub-signature-256": signed(body, KEY)},
    ):
        assert proved(headers, body, KEY)
        assert not proved(headers, body, "")
        assert proved(headers, body, other) == (other == KEY)
    assert not proved({"x-hub-signature-256": signed(body + b"x", KEY)}, body, KEY)
    assert not proved({}, body, KEY)


def with_webhook(**settings: object) -> Params:
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["schedule"] = {"webhook": {"key_env": "HOOK_KEY"} | settings}
    Path("params.yaml").write_text(yaml.safe_dump(values))
    return load_params()


def test_without_a_key_or_a_port_nothing_listens(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK_KEY", raising=False)
    with pytest.raises(ParamsError, match="HOOK_KEY, but it is not set"), listening(with_webhook()):
        pass
    monkeypatch.setenv("HOOK_KEY", KEY)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with (
            pytest.raises(BusyError, match=r"`schedule.webhook.port`"),
            listening(with_webhook(port=taken.getsockname()[1])),
        ):
            pass
