"""The files of a model in C: ``c_files(stream, name, facts)`` returns text by file name.

``NAME.h`` declares the state and ``NAME_init`` and ``NAME_step``; ``NAME.c`` holds the weights and
the step; ``kernels.h`` the arithmetic; ``CMakeLists.txt`` builds a library. Of a model of samples
``main.c`` makes a program that filters a WAV of 16 bits from standard input to standard output.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib import resources

import torch
from torch import Tensor

from audioprune.export.c.operators import Lowered, lower
from audioprune.export.c.pointwise import c_number
from audioprune.export.c.program import Program
from audioprune.export.streaming import StreamingModel

_A_LINE = 12


def c_files(
    stream: StreamingModel, name: str, facts: Mapping[str, str]
) -> tuple[dict[str, str], list[tuple[int, ...]], str]:
    """Write a streaming form as C.

    Args:
        stream: The streaming form.
        name: A C identifier that all names begin with.
        facts: What the header says about the model.

    Returns:
        Text by file name, shapes of the outputs, and what the model needs: bytes of ROM and RAM,
        multiplications.

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
        "CMakeLists.txt": _cmake(name, "delay_samples" in facts),
    }
    if "delay_samples" in facts:
        main = place.joinpath("main.c.in").read_text(encoding="utf-8")
        words = {"NAME": name, "RATE": facts["sample_rate"], "HOP": str(made.inputs[0].size)}
        for word, value in words.items():
            main = main.replace(f"@{word}@", value)
        files["main.c"] = main
    ram = 4 * (arena + sum(state.size for state in made.states))
    need = (
        f"ROM {made.program.rom_bytes():,} bytes, RAM {ram:,} bytes, {made.program.macs:,} MACs a "
        f"frame"
    )
    return files, made.outputs, need


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
    for constant in made.program.rom:
        lines += _constant(made.program, constant)
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


def _constant(program: Program, name: str) -> list[str]:
    """Return a constant as floats, or as codes and their codebook."""
    value = program.rom[name].flatten()
    book = program.codebook(name)
    lines: list[str] = []
    if book is None:
        lines += [f"static const float {name}[] = {{", *_wrapped(_floats(value)), "};"]
        ends = f"{name}, NULL, NULL"
    else:
        codes = [str(int(code)) for code in torch.searchsorted(book, value)]
        lines += [f"static const float {name}_book[] = {{", *_wrapped(_floats(book)), "};"]
        lines += [f"static const unsigned char {name}_codes[] = {{", *_wrapped(codes), "};"]
        ends = f"NULL, {name}_codes, {name}_book"
    if name in program.weights:
        lines.append(f"static const ap_weight {name}_weight = {{{ends}}};")
    return lines


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


def _cmake(name: str, filters: bool) -> str:
    lines = [
        "cmake_minimum_required(VERSION 3.10)",
        f"project({name} C)",
        "set(CMAKE_C_STANDARD 99)",
        "if(NOT CMAKE_BUILD_TYPE)",
        "  set(CMAKE_BUILD_TYPE Release)",
        "endif()",
        f"add_library({name} {name}.c)",
        f"target_link_libraries({name} PUBLIC m)",
    ]
    if filters:
        lines += [
            f"add_executable({name}_wav main.c)",
            f"target_link_libraries({name}_wav {name})",
        ]
    return "\n".join(lines) + "\n"
