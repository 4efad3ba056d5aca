"""The files of a model in C: ``c_files(stream, name, facts)`` returns text by file name.

``NAME.h`` declares the state and ``NAME_init`` and ``NAME_step``; ``NAME.c`` holds the weights and
the step; ``kernels.h`` the arithmetic; ``CMakeLists.txt`` builds a library. Of a model of samples
``main.c`` makes a program that filters a WAV of 16 bits from standard input to standard output,
and ``ladspa.c`` a plugin for hosts of LADSPA.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import NamedTuple

from torch import Tensor

from audioprune.export.c.operators import Lowered, lower
from audioprune.export.c.pointwise import c_number
from audioprune.export.c.weights import Weight, packed
from audioprune.export.streaming import StreamingModel
from audioprune.files import sha256

_A_LINE = 12


@dataclass(frozen=True)
class Need:
    """What a model in C needs.

    Attributes:
        rom_bytes: Bytes of constants.
        ram_bytes: Bytes of states and intermediate values.
        macs: Multiplications of one step.
    """

    rom_bytes: int
    ram_bytes: int
    macs: int

    def __str__(self) -> str:
        return (
            f"ROM {self.rom_bytes:,} bytes, RAM {self.ram_bytes:,} bytes, {self.macs:,} MACs a "
            f"frame"
        )


class Written(NamedTuple):
    """A model in C.

    Attributes:
        files: Text by file name.
        shapes: Shapes of the outputs.
        need: What the model needs.
    """

    files: dict[str, str]
    shapes: list[tuple[int, ...]]
    need: Need


def c_files(stream: StreamingModel, name: str, facts: Mapping[str, str]) -> Written:
    """Write a streaming form as C.

    Args:
        stream: The streaming form.
        name: A C identifier that all names begin with.
        facts: What the header says about the model.

    Raises:
        ConfigError: An operator has no C form.
    """
    made = lower(stream)
    arena = made.program.layout()
    place = resources.files("audioprune.export.c")
    kernels = place.joinpath("kernels.h").read_text(encoding="utf-8")
    files = {
        f"{name}.h": _header(stream, made, name, arena, facts),
        f"{name}.c": _source(stream, made, name),
        "kernels.h": kernels,
    }
    filters = "delay_samples" in facts
    templates = {"CMakeLists.txt.in": "CMakeLists.txt"}
    if filters:
        templates |= {"main.c.in": "main.c", "ladspa.c.in": "ladspa.c"}
    words = _words(made, name, facts) | {"FILTER": "ON" if filters else "OFF"}
    for template, file in templates.items():
        text = place.joinpath(template).read_text(encoding="utf-8")
        for word, value in words.items():
            text = text.replace(f"@{word}@", value)
        files[file] = text
    ram = 4 * (arena + sum(state.size for state in made.states))
    need = Need(made.program.rom_bytes(), ram, made.program.macs)
    return Written(files, made.outputs, need)


def _words(made: Lowered, name: str, facts: Mapping[str, str]) -> dict[str, str]:
    """Return what stands in templates for a word between two ``@``."""
    hop, delay = made.inputs[0].size, int(facts.get("delay_samples", 0))
    number = int(sha256(f"{name}{facts.get('source_sha256', '')}".encode())[:6], 16)
    return {
        "NAME": name,
        "RATE": facts.get("sample_rate", "0"),
        "HOP": str(hop),
        "LATENCY": str(delay + hop),
        "ID": str(1000 + number % 16_000_000),  # below 2^24, and no number of a registered plugin
    }


def _arguments(stream: StreamingModel, name: str) -> str:
    inputs = [f"const float *in_{each}" for each in stream.input_names]
    outputs = [f"float *out_{each}" for each in stream.output_names]
    return ", ".join([f"{name}_state *m", *inputs, *outputs])


def _header(
    stream: StreamingModel, made: Lowered, name: str, arena: int, facts: Mapping[str, str]
) -> str:
    told = [f"   {key}: {value.replace('*/', '* /')}" for key, value in sorted(facts.items())]
    shapes = [
        f"   in_{each}: {list(array.shape)}"
        for each, array in zip(stream.input_names, made.inputs, strict=True)
    ]
    shapes += [
        f"   out_{each}: {list(shape)}"
        for each, shape in zip(stream.output_names, made.outputs, strict=True)
    ]
    states = [
        f"  float {each}[{array.size}];"
        for each, array in zip(stream.state_names, made.states, strict=True)
    ]
    guard = f"{name.upper()}_H"
    lines = [
        f"/* {name}: one frame in, one frame out. Call {name}_init once, then {name}_step.",
        "   Shapes, all arrays of floats:",
        *shapes,
        *told,
        "*/",
        f"#ifndef {guard}",
        f"#define {guard}",
        "",
        "typedef struct {",
        *states,
        f"  float arena[{arena}];",
        f"}} {name}_state;",
        "",
        f"void {name}_init({name}_state *m);",
        f"void {name}_step({_arguments(stream, name)});",
        "",
        "#endif",
    ]
    return "\n".join(lines) + "\n"


def _source(stream: StreamingModel, made: Lowered, name: str) -> str:
    lines = [f'#include "{name}.h"', "", '#include "kernels.h"', ""]
    for constant, value in made.program.rom.items():
        floats = _wrapped(_floats(value.flatten()))
        lines += [f"static const float {constant}[] = {{", *floats, "};"]
    for constant, weight in made.program.weights.items():
        lines += _weight(constant, weight)
    initial = stream.initial_state(1)
    begin: list[str] = []
    for each, value in zip(stream.state_names, initial, strict=True):
        flat = value.float().flatten()
        if bool((flat == flat[0]).all()):
            begin.append(f"  ap_fill(m->{each}, {_floats(flat[:1])[0]}, {flat.numel()});")
            continue
        lines += [f"static const float first_{each}[] = {{", *_wrapped(_floats(flat)), "};"]
        begin.append(f"  memcpy(m->{each}, first_{each}, sizeof first_{each});")
    lines += ["", f"void {name}_init({name}_state *m) {{", "  (void)m;", *begin, "}", ""]
    lines += [f"void {name}_step({_arguments(stream, name)}) {{", "  (void)m;"]
    return "\n".join([*lines, *made.program.text(), "}"]) + "\n"


def _weight(name: str, weight: Weight) -> list[str]:
    """Return a weight as floats, or as packed codes and their tables."""
    lines: list[str] = []
    members = []
    for member in ("values", "codes", "book", "zero", "scale"):
        value = getattr(weight, member)
        if value is None:
            members.append("NULL")
            continue
        if member == "codes":
            kind, words = "unsigned char", [str(each) for each in packed(value, weight.bits)]
        elif member == "zero":
            kind, words = "short", [str(each) for each in value.tolist()]
        else:
            kind, words = "float", _floats(value)
        lines += [f"static const {kind} {name}_{member}[] = {{", *_wrapped(words), "};"]
        members.append(f"{name}_{member}")
    members.append(f"{weight.bits}u")
    return [*lines, f"static const ap_weight {name} = {{{', '.join(members)}}};"]


def _floats(values: Tensor) -> list[str]:
    found = []
    for value in values.tolist():
        if not math.isfinite(value):
            found.append(c_number(value))
            continue
        text = f"{value:.9g}"
        found.append(text + ("f" if "." in text or "e" in text else ".0f"))
    return found


def _wrapped(words: Sequence[str]) -> list[str]:
    return ["  " + ", ".join(words[i : i + _A_LINE]) + "," for i in range(0, len(words), _A_LINE)]
