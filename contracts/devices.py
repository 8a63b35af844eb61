"""What this machine computes fast in. Asked of the hardware, never assumed."""


def device() -> str:
    """`cuda` where a GPU can be used, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def compute_dtype(setting: str) -> str:
    """The compute type a `dtype` knob means here: `float32` or `bfloat16`.

    `auto` takes bfloat16 only where the hardware has instructions for it (a GPU with native bf16, AVX512-BF16, AMX):
    emulated, it is slower than float32. Any other setting is taken as it stands.
    """
    if setting != "auto":
        return setting
    import torch

    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bfloat16" if native else "float32"
