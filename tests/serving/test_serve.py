"""What `freshtune serve` refuses before it starts anything."""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from contracts import paths
from contracts.errors import BusyError, ParamsError, ReleaseError, StoreError
from contracts.files import read_json, write_json
from contracts.params import Params
from serving import bento
from serving.serve import serve
from serving.stages import package

pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")  # BentoML's own

RECEIPT = {
    "tag": "demo:0123456789ab",
    "path": "",
    "release": "0123456789ab",
    "mode": "hybrid",
    "blocked": "",
    "size_mib": 1.0,
}


def receipt(**changes: Any) -> None:
    write_json(paths.RECEIPT, RECEIPT | changes)


def test_without_a_release_it_says_how_to_make_one(project: Path, params: Params, free_port: int) -> None:
    with pytest.raises(ReleaseError, match=r"package\.json is missing.*freshtune retrain"):
        serve(params, port=free_port)


def test_a_blocked_release_is_not_served_and_the_gate_is_named(project: Path, params: Params, free_port: int) -> None:
    receipt(tag="", blocked="min_format: 0.31 is below 0.8")
    with pytest.raises(ReleaseError, match=r"blocked \(min_format: 0\.31 is below 0\.8\).*freshtune retrain"):
        serve(params, port=free_port)


def test_a_port_in_use_is_named_with_its_holder_and_the_way_out(project: Path, params: Params) -> None:
    receipt()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BusyError) as error:
            serve(params, port=port)
    message = str(error.value)
    assert f"port {port} on 127.0.0.1" in message
    assert f"process {os.getpid()}" in message or f"lsof -i :{port}" in message
    assert "--port" in message
    assert "serving.port" in message


@pytest.mark.parametrize(
    ("host", "words"), [("localhost", "must be an IP address"), ("0.0.0.0", "serving.api_key_env")]
)
def test_an_address_for_everybody_needs_a_key(project: Path, params: Params, host: str, words: str) -> None:
    receipt()
    with pytest.raises(ParamsError, match=words):
        serve(params, host=host)


def test_a_release_whose_bytes_changed_in_the_store_is_refused(evaluated: Params, free_port: int) -> None:
    package(evaluated)
    built = bento.find(read_json(paths.RECEIPT)["tag"])
    assert built is not None
    (bento.release_of(built) / "settings.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ReleaseError, match=r"changed after it was proved \(settings\.json\)"):
        serve(evaluated, port=free_port)


def test_a_key_asked_for_after_packaging_is_not_forgotten(
    evaluated: Params, write_params: Callable[..., Params], free_port: int
) -> None:
    package(evaluated)
    with pytest.raises(ReleaseError, match=r"`serving\.api_key_env` is DESK_KEY .* packaged with None.*retrain"):
        serve(write_params(serving={"api_key_env": "DESK_KEY"}), port=free_port, host="0.0.0.0")


@pytest.mark.slow
def test_a_store_or_snapshot_of_other_settings_never_answers(evaluated: Params, free_port: int) -> None:
    before = psutil.Process().children(recursive=True)
    package(evaluated)  # indexed by counting words, served with the default embedder
    with pytest.raises(StoreError, match="made with other settings"):
        serve(evaluated, port=free_port)
    shutil.rmtree(paths.STORE)  # now only the service itself can find out, in a worker of BentoML
    with pytest.raises(ReleaseError, match="could not start"):
        serve(evaluated, port=free_port)
    assert set(psutil.Process().children(recursive=True)) <= set(before)


def test_a_bento_that_was_deleted_is_asked_for_again(project: Path, params: Params, free_port: int) -> None:
    receipt()
    with pytest.raises(ReleaseError, match=r"demo:0123456789ab is not in the BentoML store: run `freshtune retrain`"):
        serve(params, port=free_port)
