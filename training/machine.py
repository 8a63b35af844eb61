"""What a training run ran on, and the energy that meters of this machine counted meanwhile."""

import os
import platform
import threading
from pathlib import Path
from types import TracebackType

import psutil

RAPL = Path("/sys/class/powercap")
_SAMPLE_SECONDS = 30.0  # a counter of 2**32 µJ, the smallest in use, lasts 43 s at 100 W


def hardware() -> str:
    """Processor, cores and memory, and every GPU that can be used, in one line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parts = [f"{_processor()}, {cores} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB of memory"]
    import torch

    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        parts += [f"{card.name} with {card.total_memory / 2**30:.0f} GiB" for card in cards]
    return "; ".join(parts)


def _processor() -> str:
    """Its name as Linux tells it, elsewhere as Python does."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Hardware"))]
    return " ".join((names or [platform.processor() or platform.machine()])[0].split())


class EnergyMeter:
    """Counts energy while its block runs, where meters can be read: GPU boards by NVML, processor packages by RAPL.

        with EnergyMeter() as meter: …
        meter.joules  # None where nothing could be read

    Both meters count all that runs on their part of the machine. NVML's counter is since the driver was loaded; RAPL's
    wraps, so it is read every 30 s meanwhile.
    """

    def __init__(self, rapl: Path = RAPL) -> None:
        self._packages = _packages(rapl)
        self._boards = _boards()
        self._rapl_joules = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> "EnergyMeter":
        self._last = [_number(package / "energy_uj") for package in self._packages]
        self._start = _board_joules(self._boards)
        if self._packages:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop.set()
        if self._packages:
            self._thread.join()
            self._read()
        self._end = _board_joules(self._boards)

    @property
    def joules(self) -> float | None:
        """Energy inside the block."""
        if not self.name:
            return None
        return self._rapl_joules + self._end - self._start

    @property
    def name(self) -> str:
        """What was read, for people; empty where nothing could be."""
        parts = [(len(self._boards), "GPU", "NVML"), (len(self._packages), "processor package", "RAPL")]
        return " and ".join(f"{n} {part}{'s' if n > 1 else ''} by {meter}" for n, part, meter in parts if n)

    def _sample(self) -> None:
        while not self._stop.wait(_SAMPLE_SECONDS):
            self._read()

    def _read(self) -> None:
        for i, package in enumerate(self._packages):
            now = _number(package / "energy_uj")
            self._rapl_joules += (now - self._last[i]) % (_number(package / "max_energy_range_uj") + 1) / 1e6
            self._last[i] = now


def _packages(rapl: Path) -> list[Path]:
    """RAPL's domains of whole packages that this user may read (by default root alone, see CVE-2020-8694)."""
    found = []
    for domain in sorted(rapl.glob("intel-rapl:*")):
        try:
            if (domain / "name").read_text().startswith("package"):
                _number(domain / "energy_uj")
                found.append(domain)
        except OSError:
            continue
    return found


def _number(path: Path) -> int:
    return int(path.read_text())


def _boards() -> list[object]:
    """NVML handles of the GPUs that torch can use and whose energy can be read (Volta and later)."""
    import torch

    if not torch.cuda.is_available():
        return []
    import pynvml

    try:
        pynvml.nvmlInit()
        cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        handles = [pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{card.uuid}") for card in cards]
        _board_joules(handles)
    except pynvml.NVMLError:
        return []
    return handles


def _board_joules(handles: list[object]) -> float:
    if not handles:
        return 0.0
    import pynvml

    return sum(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in handles) / 1000
