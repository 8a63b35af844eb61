"""A merged model in other formats: bfloat16, NF4 or GGUF, each read back and compared with the original."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from contracts.errors import ModelError
from contracts.files import require_disk, write_json
from contracts.pairs import Pair
from contracts.params import Params
from contracts.verdicts import ExportRecord
from training import proof
from training.backends import nf4

Kind = Literal["bfloat16", "nf4", "gguf"]
EXPORT_RECORD = "export.json"
_CONVERTER = "convert_hf_to_gguf.py"
_GGUF = "model.gguf"


def export(params: Params, merged: Path, kind: Kind, proof_pairs: list[Pair], out: Path) -> ExportRecord:
    """Write the model in `merged` to `out` as `kind`, read it back, and keep it only if it still says the same.

    Raises:
        ModelError: its argmax agrees with the merged model's on fewer places than `merge.exports` asks, or llama.cpp's
            converter is not there (gguf), or it failed.
        BusyError: the disk has no room for it.
    """
    tokenizer = AutoTokenizer.from_pretrained(merged)
    rows = proof.proof_rows(proof_pairs, tokenizer, params)
    model: Any = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32, trust_remote_code=False)
    require_disk(out, 2 * model.num_parameters())
    reference = proof.supervised_logits(model, rows)

    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    {"bfloat16": _bfloat16, "nf4": _nf4, "gguf": _gguf}[kind](merged, partial)
    tokenizer.save_pretrained(partial)
    written = proof.supervised_logits(_read(partial, kind), rows)
    found = proof.compare(written, reference)
    record = ExportRecord(
        kind=kind,
        bytes=sum(p.stat().st_size for p in partial.rglob("*") if p.is_file()),
        rows=len(rows),
        logit_difference=found.logit_difference,
        argmax_agreement=found.argmax_agreement,
        perplexity=proof.perplexity(written, rows),
        perplexity_merged=proof.perplexity(reference, rows),
    )
    bound = getattr(params.merge.exports, kind)
    if record.argmax_agreement < bound:
        shutil.rmtree(partial)
        raise ModelError(
            f"as {kind} the model picks the merged model's token in only {record.argmax_agreement:.1%} of the places"
            f" (merge.exports.{kind} is {bound}), so {out} was not written: export a wider type, or lower the bound"
        )
    write_json(partial / EXPORT_RECORD, record.model_dump())
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    return record


def _bfloat16(merged: Path, out: Path) -> None:
    AutoModelForCausalLM.from_pretrained(merged, dtype=torch.bfloat16, trust_remote_code=False).save_pretrained(out)


def _nf4(merged: Path, out: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(
        merged,
        dtype=torch.float32,
        quantization_config=nf4(torch.float32),
        device_map={"": 0 if torch.cuda.is_available() else "cpu"},
        trust_remote_code=False,
    )
    model.save_pretrained(out)


def _gguf(merged: Path, out: Path) -> None:
    command = [*_converter(), str(merged), "--outtype", "f16", "--outfile", str(out / _GGUF)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ModelError(f"{_CONVERTER} failed on {merged}: {done.stderr.strip().splitlines()[-1:]}")


def _converter() -> list[str]:
    """llama.cpp's own converter: on the PATH, or in the checkout that LLAMA_CPP names."""
    checkout = Path(os.environ.get("LLAMA_CPP", "")) / _CONVERTER
    found = str(checkout) if checkout.is_file() else shutil.which(_CONVERTER)
    if not found:
        raise ModelError(
            f"GGUF needs llama.cpp's {_CONVERTER}, which is not on the PATH: clone llama.cpp and set LLAMA_CPP to its folder"
        )
    return [sys.executable, found]


def _read(folder: Path, kind: Kind) -> Any:
    """What a user of the export would load."""
    gguf = {"gguf_file": _GGUF} if kind == "gguf" else {}
    dtype = torch.bfloat16 if kind == "bfloat16" else torch.float32
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, trust_remote_code=False, **gguf)
