"""Damage and malice done to a folder that holds an adapter: each mutation changes one file, by a random generator."""

import json
import os
import pickle
import struct
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

MARKER = "code-was-run"
HUGE = (2**31, 2**63 - 1, 2**63, 10**18, 10**400)
ODD_NAMES = (
    "../../outside", "/etc", "..", "", " ", "a/b/c/d", "org/../../x", "name\nof two lines", "\x1b[31mred\x1b[0m",
    "nul\x00byte", "org/" + "x" * 5000, "http://127.0.0.1/x", "file:///etc/passwd", "C:\\x", "~root", "\ud800",
    "-rf", "org/name@main", "{question.__class__}", "${HOME}", "\u202eodd", "🙂/🙂",
)  # fmt: skip
ODD_KEYS = (
    *ODD_NAMES, "save_pretrained", "sub_configs", "is_composed", "__class__", "format", "to_dict", "dtype",
    "quantization_config", "attn_implementation", "configuration_files",
)  # fmt: skip
ODD_VALUES = (None, True, False, 0, -1, 3, 1.5, -0.0, 1e308, "", "text", "0", [], [[]], {}, [None], [-1], ["a", 1],
              {"a": {}}, *HUGE, *ODD_NAMES)  # fmt: skip


class Payload:
    """What a pickle runs when it is read: it leaves a marker."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


# Bytes of any file


def flip_bits(content: bytes, rng: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def flip_bits_at_the_start(content: bytes, rng: Random) -> bytes:
    return flip_bits(content[:600], rng) + content[600:]


def delete_bytes(content: bytes, rng: Random) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + content[start + rng.choice((1, 2, 16, 300)) :]


def insert_bytes(content: bytes, rng: Random) -> bytes:
    start = rng.randrange(len(content) + 1)
    return content[:start] + rng.randbytes(rng.choice((1, 2, 16, 300))) + content[start:]


def cut(content: bytes, rng: Random) -> bytes:
    return content[: rng.choice((rng.randrange(len(content)), rng.randrange(min(len(content), 12)), -1))]


def swap_blocks(content: bytes, rng: Random) -> bytes:
    a, b, c = sorted(rng.randrange(len(content) + 1) for _ in range(3))
    return content[:a] + content[b:c] + content[a:b] + content[c:]


def overwrite(content: bytes, rng: Random) -> bytes:
    start = rng.randrange(len(content))
    filling = rng.choice((b"\0", b"\xff", b"[", b'{"a":', b"9", b'"'))
    count = rng.choice((1, 10, 400))
    return content[:start] + filling * count + content[start + len(filling) * count :]


def nothing(content: bytes, rng: Random) -> bytes:
    return b""


BYTES = (flip_bits, flip_bits_at_the_start, delete_bytes, insert_bytes, cut, swap_blocks, overwrite, nothing)


# JSON


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Each container with each of its keys."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield content, key
        yield from _places(value)


def _pick(content: Any, rng: Random, kind: type | tuple[type, ...] = object) -> tuple[Any, Any]:
    """A place at random; all depths are as likely, since most places are deep ones."""
    places = [(holder, key) for holder, key in _places(content) if isinstance(holder[key], kind)]
    top = [place for place in places if place[0] is content]
    return rng.choice(top if top and rng.random() < 0.5 else places)


def change_value(content: Any, rng: Random) -> None:
    holder, key = _pick(content, rng)
    holder[key] = rng.choice(ODD_VALUES)


def change_number(content: Any, rng: Random) -> None:
    holder, key = _pick(content, rng, (int, float))
    holder[key] = rng.choice((-1, 0, 1, 2, 7, 10**6, -holder[key], holder[key] + 1, holder[key] * 1000, *HUGE))


def change_text(content: Any, rng: Random) -> None:
    holder, key = _pick(content, rng, str)
    holder[key] = rng.choice(
        (*ODD_NAMES, holder[key][:-1], holder[key] * 500, holder[key].upper(), f"../{holder[key]}")
    )


def drop_key(content: Any, rng: Random) -> None:
    holder, key = _pick(content, rng)
    del holder[key]


def move_value(content: Any, rng: Random) -> None:
    (a, i), (b, j) = _pick(content, rng), _pick(content, rng)
    a[i] = json.loads(json.dumps(b[j]))


def rename_key(content: Any, rng: Random) -> None:
    holder, key = _pick(content, rng)
    if isinstance(holder, dict):
        holder[rng.choice(ODD_KEYS)] = holder.pop(key)


def grow(content: Any, rng: Random) -> None:
    holder, key = _pick(content, rng)
    holder[key] = rng.choice(([holder[key]] * 3000, {str(i): i for i in range(3000)}, "x" * 10**6, [[0] * 999] * 99))


def newer_format(content: Any, rng: Random) -> None:
    content["format"] = rng.choice((0, 2, 99, "1", 1.5, None, [1], 2**70, -1))


JSON_VALUES = (
    change_value,
    change_value,
    change_number,
    change_text,
    drop_key,
    move_value,
    rename_key,
    grow,
    newer_format,
)
_DEEP = 10_000


def odd_json(text: str, rng: Random) -> bytes:
    """Text that some readers of JSON take and others do not."""
    content = json.loads(text)
    holder, key = _pick(content, rng)
    holder[key] = "HERE"
    there = json.dumps(content)
    raw = rng.choice(("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000, "[" * _DEEP + "]" * _DEEP,
                      '{"a":' * _DEEP + "1" + "}" * _DEEP, "[" * _DEEP, '"\\ud800"', "01", "+1", "'a'", "undefined",
                      "1 // one", "0x10", "", '"a" "b"', "1,"))  # fmt: skip
    name = rng.choice([name for holder, name in _places(content) if isinstance(holder, dict)])
    whole = rng.choice((
        there.replace('"HERE"', raw), f"\ufeff{text}", f"{text}{text}", f"{text},", "null", "[]", "0", '"text"', "{}",
        f'{{{json.dumps(name)}: null, {text.strip()[1:]}', f'{text.strip()[:-1]}, {json.dumps(name)}: {raw}}}',
        f"[{text}]", text.replace('"', "'"), text.replace("{", "{\n" * 2, 1),
    ))  # fmt: skip
    encoded = whole.encode("utf-8", "surrogatepass")
    return rng.choice(
        (encoded, encoded, encoded, encoded.replace(b'"', b'"\xff', 1), whole.encode("utf-16", "ignore"))
    )


# Safetensors: eight bytes with the length of the header, the header as JSON, the values


def split_tensors(content: bytes) -> tuple[dict[str, Any], bytes]:
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join_tensors(header: dict[str, Any] | str, values: bytes) -> bytes:
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(text)) + text + values


def _tensor(header: dict[str, Any], rng: Random) -> str:
    return rng.choice([name for name in header if name != "__metadata__"])


def header_length(content: bytes, rng: Random) -> bytes:
    length = struct.unpack("<Q", content[:8])[0]
    other = rng.choice(
        (0, 1, length - 1, length + 1, len(content), len(content) - 8, 2**31, 10**8 + 1, 2**63, 2**64 - 1)
    )
    return struct.pack("<Q", other) + content[8:]


def change_header(content: bytes, rng: Random) -> bytes:
    header, values = split_tensors(content)
    one, other = _tensor(header, rng), _tensor(header, rng)
    entry = header[one]
    match rng.randrange(14):
        case 0:
            entry["dtype"] = rng.choice(
                ("F64", "F32", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "C64", "F4", "f16", "", None)
            )
        case 1:
            entry["shape"] = rng.choice(([], [0], [1], [2**62, 4], [2**32, 2**32], [-1], [1.5], entry["shape"][::-1],
                                         [*entry["shape"], 1], None, [2**64], "16", [[1]], [1] * 5000))  # fmt: skip
        case 2:
            entry["data_offsets"] = header[other]["data_offsets"]
        case 3:
            start, end = entry["data_offsets"]
            entry["data_offsets"] = rng.choice(([end, start], [start, end + 10**9], [-8, end], [start + 1, end + 1],
                                                [start], [start, 2**64], None, [2**63, 2**63 + end]))  # fmt: skip
        case 4:
            header["__metadata__"] = rng.choice((None, 5, [], {"format": 5}, {"format": "tf"}, {"a": "b" * 10**5}, {},
                                                 {"format": None}, {"": ""}, "pt"))  # fmt: skip
        case 5:
            del header[one]
        case 6:
            header[rng.choice((*ODD_NAMES, one + "x", one.upper(), "fusion.99.alpha"))] = header.pop(one)
        case 7:
            header["added"] = entry | {"data_offsets": [len(values), len(values)], "shape": [0]}
        case 8:
            return join_tensors(header, values + rng.randbytes(100))
        case 9:
            return join_tensors(
                json.dumps(header).replace("{", f'{{"{one}": {json.dumps(header[other])}, ', 1), values
            )
        case 10:
            header[one], header[other] = header[other], header[one]
        case 11:
            header[one] = rng.choice((None, [], {}, "x", entry | {"extra": 1}))
        case 12:
            return join_tensors(rng.choice(("{}", "null", "[]", "", '{"a": ' * _DEEP, "\ufeff{}")), values)
        case 13:
            return join_tensors(json.dumps(header) + " " * rng.choice((1, 8, 10**6)), values)
    return join_tensors(header, values)


def change_tensors(content: bytes, rng: Random) -> bytes:
    """A sound file with other tensors."""
    import torch
    from safetensors.torch import load, save

    tensors = load(content)
    name = rng.choice(sorted(tensors))
    tensor = tensors[name]
    match rng.randrange(10):
        case 0:
            del tensors[name]
        case 1:
            tensors[rng.choice((name + ".more", f"backbone.{name}", "lm_head.weight"))] = tensor.clone()
        case 2:
            tensors[rng.choice(sorted(tensors)) + "s"] = tensors.pop(name)
        case 3:
            tensors[name] = tensor.reshape(-1) if tensor.dim() > 1 else tensor[None]
        case 4:
            tensors[name] = tensor.T.contiguous() if tensor.dim() > 1 else tensor[:0]
        case 5:
            kinds = (torch.float64, torch.int8, torch.bool, torch.bfloat16, torch.float8_e4m3fn, torch.complex64)
            tensors[name] = tensor.to(rng.choice(kinds))
        case 6:
            bad = rng.choice((float("nan"), float("inf"), -float("inf")))
            tensors[name].view(-1)[: rng.choice((1, 10**9))] = bad
        case 7:
            tensors[name] = torch.full_like(tensor, rng.choice((3e38, -3e38, 1e30)), dtype=torch.float32)
        case 8:
            tensors[name] = torch.zeros((1000, 1000))
        case 9:
            tensors = {}
    return save(tensors)


TENSORS = (*BYTES, header_length, change_header, change_header, change_header, change_tensors, change_tensors)


# The file itself


def pickled(file: Path, outside: Path, rng: Random) -> None:
    """The payload as it is, or as `torch.save` would write it."""
    content = pickle.dumps(Payload(outside / MARKER), protocol=rng.choice((0, 2, 5)))
    if rng.random() < 0.5:
        import torch

        torch.save({"weight": Payload(outside / MARKER)}, file)
    else:
        file.write_bytes(content)


def beside_a_pickle(file: Path, outside: Path, rng: Random) -> None:
    """The file is gone, and what other libraries would look for instead is there."""
    file.unlink()
    for name in ("pytorch_model.bin", "adapter_model.bin", file.with_suffix(".bin").name, file.with_suffix(".pt").name,
                 file.with_suffix(".pkl").name, "training_args.bin"):  # fmt: skip
        pickled(file.with_name(name), outside, rng)


def link(file: Path, outside: Path, rng: Random) -> None:
    file.unlink()
    target = rng.choice((outside / "secret.txt", outside / file.name, outside / "nothing", outside, file, "/dev/null",
                         "../outside/secret.txt"))  # fmt: skip
    file.symlink_to(target)


def folder_in_its_place(file: Path, outside: Path, rng: Random) -> None:
    file.unlink()
    file.mkdir()


def pipe_in_its_place(file: Path, outside: Path, rng: Random) -> None:
    file.unlink()
    os.mkfifo(file)


def remove(file: Path, outside: Path, rng: Random) -> None:
    file.unlink()


def other_file(file: Path, outside: Path, rng: Random) -> None:
    """The content of another file of the folder."""
    others = sorted(other for other in file.parent.iterdir() if other.is_file())
    file.write_bytes(rng.choice(others).read_bytes())


FILES = (pickled, pickled, beside_a_pickle, link, link, folder_in_its_place, pipe_in_its_place, remove, other_file)


# The configuration, by someone who knows what it is for

ITSELF = "the folder itself"
_SIZES = (1, 2, 24, 4096, 10**6, 10**9, 10**12)
_LAYERS = ([], [0], [3, 2], [4], [10**9], list(range(10**5)), [2, 2, 3], [-1])
_PLACES = (*ODD_NAMES, ITSELF, "../outside", "leaml-tiny", "org/evil")
_KERNELS = ("eager", "flex_attention", "evil/kernel", "evil/kernel:run", 5, {"": "evil/kernel"})
_CODE = [
    dict.fromkeys(("AutoConfig", "AutoModel", "AutoModelForImageTextToText"), code)
    for code in ("evil.Model", "org/evil--evil.Model", "../../outside/evil.Model", "evil", "os.system")
]
_PARTS = [
    {"model_type": kind, "auto_map": {"AutoConfig": "evil.Config"}, "num_hidden_layers": layers, "hidden_size": 10**9}
    for kind in ("llama", "vit", "llava", "leaml", "evil", "gpt2")
    for layers in (1, 10**9)
]
_OPTIONS = (True, 1, "text", 0.5, 10**9)
HARM: dict[str, Sequence[Any]] = {
    "base_fingerprint": ("sha256:" + "0" * 64, "", "md5:1"),
    "auto_map": _CODE,
    "model_type": ("leaml", "evil", "llama", "../evil"),
    **dict.fromkeys(("fusion_dim", "fusion_ffn_dim", "fusion_heads", "lora_rank", "lora_alpha"), _SIZES),
    **dict.fromkeys(("fusion_layers", "lora_layers", "bridge_layers"), _LAYERS),
    **dict.fromkeys(("text_name_or_path", "vision_name_or_path", "base_name_or_path", "base_repo"), _PLACES),
    "lora_targets": (["(a+)+$"], [], [".*"], ["q_proj", "q_proj"], ["lm_head"], ["q_proj"] * 9),
    "dtype": ("float16", "bfloat16", "float64", "int8", "complex64", "nothing", "load", "Tensor"),
    "quantization_config": [{"quant_method": kind} for kind in ("bitsandbytes", "gptq", "evil", "quark", "awq")],
    **dict.fromkeys(("text_config", "vision_config", "backbone_config", "connector_config"), _PARTS),
    **dict.fromkeys(("attn_implementation", "_attn_implementation", "text_config.attn_implementation"), _KERNELS),
    "configuration_files": (["../outside/config.5.0.0.json", "config.4.0.0.json"], ["config.json"]),
    **dict.fromkeys(("adapt_vision", "adapt_bridge", "adapt_reading", "has_adapter"), _OPTIONS),
    **dict.fromkeys(("is_composed", "lora_dropout"), _OPTIONS),
    **dict.fromkeys(
        ("decoder_layers", "vision_features", "resampler_layers", "resampler_answer_tokens", "reader_dim", "letters"),
        _OPTIONS,
    ),
}


def change_config(config: dict[str, Any], folder: Path, rng: Random) -> None:
    for name in rng.sample(sorted(HARM), rng.choice((1, 1, 1, 2, 3))):
        part, _, field = name.rpartition(".")
        value = rng.choice(HARM[name])
        (config[part] if part else config)[field] = str(folder) if value == ITSELF else value


def sign(folder: Path, name: str) -> bool:
    """Writes a checksum that fits, as someone who means harm would; returns whether that could be done."""
    file, tensors = folder / f"{name}.json", folder / f"{name}.safetensors"
    if not (file.is_file() and tensors.is_file()):
        return False
    try:
        config = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return False
    if isinstance(config, dict):
        config.pop("sha256", None)
        canonical = json.dumps(config, sort_keys=True, separators=(",", ":"))
        config["sha256"] = sha256(canonical.encode() + b"\0" + tensors.read_bytes()).hexdigest()
        file.write_text(json.dumps(config))
    return isinstance(config, dict)


def mutate(folder: Path, outside: Path, rng: Random) -> tuple[str, str]:
    """
    Changes one file of a folder.

    Args:
        folder (`Path`): holds an adapter.
        outside (`Path`): where links lead to, and where payloads leave their marker.
        rng (`Random`): decides everything.

    Returns:
        `tuple[str, str]`: the file and what was done to it.
    """
    files = sorted(file.name for file in folder.iterdir() if file.is_file())
    weights = [4 if name == "config.json" else 3 if name.startswith("leaml_") else 1 for name in files]
    name = rng.choices(files, weights)[0]
    file = folder / name
    if rng.random() < 0.12:
        change: Callable[..., Any] = rng.choice(FILES)
        change(file, outside, rng)
    elif file.suffix == ".safetensors":
        change = rng.choice(TENSORS)
        file.write_bytes(change(file.read_bytes(), rng))
    elif file.suffix != ".json" or rng.random() < 0.15:
        change = rng.choice(BYTES)
        file.write_bytes(change(file.read_bytes(), rng))
    elif rng.random() < 0.25:
        change = odd_json
        file.write_bytes(change(file.read_text(encoding="utf-8"), rng))
    else:
        content = json.loads(file.read_text(encoding="utf-8"))
        if name == "config.json" and rng.random() < 0.6:
            change = change_config
            change(content, folder, rng)
        else:
            change = rng.choice(JSON_VALUES)
            change(content, rng)
        file.write_text(json.dumps(content), encoding="utf-8")
    signed = file.stem in ("leaml_reliability", "leaml_retrieval")
    is_signed = signed and rng.random() < 0.7 and sign(folder, file.stem)
    return name, f"{change.__name__}, signed" if is_signed else change.__name__
