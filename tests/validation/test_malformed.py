"""Two thousand broken files: each is read, or refused in one message."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from contracts.errors import DataError
from contracts.params import PairFiles
from validation.frame import to_frame
from validation.read import read_pairs
from validation.rules import Context, judge

ROWS = [
    {"id": "a", "prompt": "Where is my parcel?", "completion": "In the app."},
    {"id": "b", "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "é [1]"}]},
    {"prompt": "q", "chosen": [{"role": "assistant", "content": "yes"}], "rejected": "no"},
    {"instruction": "Shorten", "input": "text", "output": "t", "passages": [{"text": "It costs €4."}]},
]


def sound(folder: Path, write_xlsx: Callable[..., None]) -> dict[str, bytes]:
    """One good file of each kind, as bytes."""
    table = pd.DataFrame({"prompt": ["q1", "q2"], "response": ["a1", "a,\n2"]})
    table.to_parquet(folder / "t.parquet")
    write_xlsx(folder / "t.xlsx", [["prompt", "response"], ["q1", "a1"], ["q2", "a2"]])
    return {
        ".jsonl": "".join(json.dumps(row) + "\n" for row in ROWS).encode(),
        ".json": json.dumps(ROWS).encode(),
        ".csv": table.to_csv(index=False).encode(),
        ".parquet": (folder / "t.parquet").read_bytes(),
        ".xlsx": (folder / "t.xlsx").read_bytes(),
    }


def broken(content: bytes, draw: random.Random) -> bytes:
    """`content` with one to four wounds: bytes changed, cut out, doubled, or of another kind."""
    wounded = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(max(1, len(wounded)))
        match draw.randrange(5):
            case 0:
                wounded[place : place + 1] = draw.randbytes(1)
            case 1:
                del wounded[place : place + draw.randint(1, 40)]
            case 2:
                wounded[place:place] = wounded[place : place + draw.randint(1, 60)]
            case 3:
                wounded[place:place] = draw.choice(
                    [b"\x00", b'"', b"\n", b"{" * 50, b"\xff\xfe", b"[" * 3000, b"9" * 5000]
                )
            case 4:
                del wounded[place:]
    return bytes(wounded)


@pytest.mark.slow
def test_two_thousand_broken_files_give_no_traceback(tmp_path: Path, write_xlsx: Callable[..., None]) -> None:
    draw = random.Random(17)
    kinds = sound(tmp_path, write_xlsx)
    refused: list[tuple[str, str]] = []
    for n in range(2000):
        suffix = draw.choice(list(kinds))
        path = tmp_path / f"{n}{suffix}"
        path.write_bytes(broken(kinds[suffix], draw))
        try:
            rows = read_pairs(PairFiles(files=[str(path)]), "b")
        except DataError as error:
            refused.append((path.name, str(error)))
        else:
            judge(to_frame(rows), Context("b"))
        path.unlink()
    assert 200 < len(refused) < 1800
    assert all(name in message for name, message in refused)
