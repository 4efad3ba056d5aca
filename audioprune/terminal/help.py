"""``audioprune VERB --help``: pages of a verb, of a group and of a key, without Hydra or torch.

`help_text` returns the text of what was asked for. Defaults are those of the options that the
command line chooses; what a key accepts and means comes from the signatures.
"""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Container, Iterable, Mapping, Sequence

from audioprune.errors import ConfigError
from audioprune.terminal.index import Index, Key, read_index
from audioprune.terminal.pages import PAGES
from audioprune.terminal.streams import cells, cut

FLAGS = ("-h", "--help")
_NAME_COLUMNS = 34
MOST_LINES = 60
_LEAST_LIKENESS = 0.7
_MOST_OPTIONS = 4
_LESS_COMMON = {
    "-m": "sweep over comma-separated values",
    "-q, -v": "say less, say more; format=json or csv prints results for a program",
    "--cfg job": "print the composed configuration and do nothing",
}
_SHORT_GROUPS = {
    "experiment": "a preset: model, corpus, numbers",
    "data": "the corpus",
    "model": "the network",
    "task": "what it learns",
    "pipeline": "what is done",
    "report": "which report",
}


def help_text(verb: str, words: Sequence[str], columns: int, title: str) -> str:
    """Return the page that the words ask for.

    Args:
        verb: The verb.
        words: What follows it: ``--help``, then groups or keys; or ``key=?``. Options before
            ``--help``, such as ``model=gcrn``, decide the defaults that are told.
        columns: Columns of a line.
        title: One line about the verb.

    Raises:
        ConfigError: There is no such group or key; the message names the closest.
    """
    topics, chosen = _topics(words)
    index = read_index()
    if not topics:
        return _verb_page(index, verb, chosen, columns, title)
    pages = [_topic_page(index, verb, topic, chosen, columns) for topic in topics]
    return "\n\n".join(pages)


def _topics(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return what is asked for, and the words that choose options."""
    topics = [word.removesuffix("=?").lstrip("+") for word in words if word.endswith("=?")]
    others = [word for word in words if not word.endswith("=?")]
    place = next((n for n, word in enumerate(others) if word in FLAGS), len(others))
    after = [word for word in others[place + 1 :] if not word.startswith("-")]
    topics += [word.partition("=")[0].lstrip("+") for word in after]
    return topics, [word for word in [*others[:place], *after] if "=" in word]


def _verb_page(index: Index, verb: str, chosen: Sequence[str], columns: int, title: str) -> str:
    page, keys = PAGES[verb], index.keys(verb, chosen)
    text = textwrap.wrap(" ".join(page.text), columns, break_on_hyphens=False)
    head = [f"audioprune {verb}: {title}", "", *text, "", "Examples:"]
    for said, command in page.examples:
        head += [f"  # {said}", *_command_lines(f"audioprune {command}", columns)]
    head += _groups_part(index, verb, chosen, columns)
    head += ["", "Main keys (key=default, what it accepts, what it means):"]
    shown = [keys[name] for name in page.keys if name in keys]
    foot = ["", *_more(index, verb, list(keys.values()), len(shown), columns)]
    whole = [*head, *_key_lines(shown, columns, 2), *foot]
    if len(whole) > MOST_LINES:
        whole = [*head, *_key_lines(shown, columns, 1), *foot]
    return "\n".join(whole)


def _command_lines(command: str, columns: int) -> list[str]:
    """Return a command in lines that a shell reads as one."""
    lines = [" "]
    for word in command.split(" "):
        if len(lines[-1]) + len(word) + 3 > columns:
            lines[-1] += " \\"
            lines.append("     ")
        lines[-1] += f" {word}"
    return lines


def _groups_part(index: Index, verb: str, chosen: Sequence[str], columns: int) -> list[str]:
    groups = index.groups(verb)
    if not groups:
        return []
    choice = index.choice(verb, chosen).groups
    order = [name for name in _SHORT_GROUPS if name in groups]
    return [
        "",
        "Groups (group=option):",
        *(cut(_group_line(index, name, choice.get(name)), columns) for name in order),
    ]


def _group_line(index: Index, group: str, option: str | None) -> str:
    names = [name for name in index.options(group) if name != option]
    few = ", ".join(names[:_MOST_OPTIONS])
    now = f"={option}" if option else ""
    return f"  {group + now:{_NAME_COLUMNS}} {_SHORT_GROUPS[group]}; {len(names)} more: {few}, ..."


def _more(index: Index, verb: str, keys: Sequence[Key], shown: int, columns: int) -> list[str]:
    below = dict.fromkeys(key.name.partition(".")[0] for key in keys if "." in key.name)
    hidden = len(keys) - shown
    rows = {}
    if below:
        rows[f"audioprune {verb} --help {next(iter(below))}"] = f"all keys of {', '.join(below)}"
        rows[f"audioprune {verb} --help all"] = "every key"
    some = next((key for key in keys if "." in key.name), keys[0])
    rows[f"audioprune {verb} {some.name}=?"] = "one key, in full"
    rows |= _LESS_COMMON
    if not index.runs_experiments(verb):
        del rows["-m"]
    wide = max(map(len, rows))
    head = f"More ({hidden} keys are not shown):" if hidden > 0 else "More:"
    return [head, *(cut(f"  {flag:{wide}}  {text}", columns) for flag, text in rows.items())]


def _key_lines(keys: Sequence[Key], columns: int, most: int) -> list[str]:
    """Return the lines of keys, each of at most so many lines."""
    names = [_name_of(key) for key in keys]
    wide = max(map(cells, names), default=0)
    lines: list[str] = []
    for name, key in zip(names, keys, strict=True):
        room = columns - wide - 4
        told = textwrap.wrap(f"{key.accepts}: {key.meaning}", room, break_on_hyphens=False)
        if len(told) > most:
            told = [*told[: most - 1], cut(" ".join(told[most - 1 :]), room)]
        lines.append(f"  {name}{' ' * (wide - cells(name))}  {told[0]}")
        lines += [f"{' ' * (wide + 4)}{line}" for line in told[1:]]
    return lines


def _name_of(key: Key) -> str:
    """Return a key with its default; of a long list the first value."""
    name = f"{key.name}={key.default_text}"
    if cells(name) <= _NAME_COLUMNS:
        return name
    first, more, _ = key.default_text.partition(",")
    short = f"{key.name}={first},..."
    return short if more and cells(short) <= _NAME_COLUMNS else f"{key.name}=..."


def _topic_page(index: Index, verb: str, topic: str, chosen: Sequence[str], columns: int) -> str:
    """Return the page of a group, of the keys below a name, or of one key."""
    keys = index.keys(verb, chosen)
    if topic == "all":
        lines = _key_lines(list(keys.values()), columns, 1)
        return "\n".join([f"All keys of {verb} (key=default, what it accepts, meaning):", *lines])
    if topic == "in" and "input" in keys:
        topic = "input"
    options = index.options(topic) if topic in index.all_groups(verb) else {}
    below = [key for name, key in keys.items() if name.startswith(f"{topic}.")]
    if options or below:
        return _group_page(index, verb, topic, options, below, chosen, columns)
    if topic in keys:
        return key_text(index, verb, keys[topic], chosen, columns)
    hint = closest_text(index, verb, topic, chosen)
    known = ", ".join(dict.fromkeys(name.partition(".")[0] for name in keys))
    raise ConfigError(f"{verb}: no group or key '{topic}'{hint or f' (known: {known})'}")


def _group_page(
    index: Index,
    verb: str,
    topic: str,
    options: Mapping[str, str],
    below: Sequence[Key],
    chosen: Sequence[str],
    columns: int,
) -> str:
    lines = []
    if options:
        lines.append(f"{topic}=OPTION, one of:")
        wide = max(map(len, options))
        for name, said in options.items():
            lines.append(cut(f"  {name:{wide}}  {said}", columns))
    if below:
        option = index.choice(verb, chosen).groups.get(topic)
        of = f" with {topic}={option}" if option else ""
        lines += [""] if lines else []
        lines.append(f"Keys of {topic}{of} (key=default, what it accepts, what it means):")
        lines += _key_lines(below, columns, 1)
        if options:
            other = next(name for name in options if name != option)
            lines += [
                "",
                f"audioprune {verb} --help {topic}={other} shows those of another option.",
            ]
    return "\n".join(lines)


def key_text(index: Index, verb: str, key: Key, chosen: Sequence[str], columns: int) -> str:
    """Return all that is known of one key."""
    default = f"{key.name}={key.default_text}" if key.default != "???" else f"{key.name}=..."
    lines = [f"{default}  ({'needed' if key.default == '???' else 'default'})", ""]
    lines += _wrapped(key.meaning, columns)
    lines += _wrapped(f"accepts: {key.accepts}", columns)
    if key.default_text.startswith("<"):
        lines += [f"  follows: {key.default_text[1:-1]}, unless it is given"]
    places = [place.partition("=")[2] for place in index.places(verb, key.name)]
    if places:
        group = key.name.partition(".")[0]
        lines += _wrapped(f"a key with {group}= {', '.join(places)}", columns)
    return "\n".join(lines)


def _wrapped(text: str, columns: int) -> list[str]:
    return textwrap.wrap(
        text,
        columns,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def closest_text(index: Index, verb: str, given: str, chosen: Sequence[str]) -> str:
    """Return the closest keys of a verb with their meanings, or nothing.

    Args:
        index: All keys.
        verb: The verb.
        given: The key as it was typed.
        chosen: Words of the command line that choose options.
    """
    keys = index.keys(verb, chosen)
    places = [] if given in keys else index.places(verb, given)
    if places:
        return f" -> it is a key of {', '.join(places[:4])}"
    every = {**index.elsewhere(verb), **keys}
    names = closest(given, every, keys)
    if not names:
        return ""
    best, others = names[0], [name for name in names[1:] if name in keys]
    where = "" if best in keys else f", of {', '.join(index.places(verb, best)[:3])}"
    return f" -> closest: {', '.join([_told(every[best]) + where, *others])}"


def _told(key: Key) -> str:
    return f"{key.name} ({key.accepts}: {key.meaning})"


def closest(given: str, known: Iterable[str], preferred: Container[str] = ()) -> list[str]:
    """Return up to three names like a given one, the closest first.

    A key may have been typed without its group, or with another one.

    Args:
        given: What was typed.
        known: All names.
        preferred: Names that win over others which are as close.
    """
    scores = {name: _likeness(given, name) + 0.02 * (name in preferred) for name in known}
    order = sorted(scores, key=lambda name: -scores[name])
    return [name for name in order if scores[name] >= _LEAST_LIKENESS][:3]


def _likeness(given: str, name: str) -> float:
    """Return how alike two keys are, 0..1, by the whole names or by their last words."""
    group, _, last = given.rpartition(".")
    whole = difflib.SequenceMatcher(None, given, name).ratio()
    ending = difflib.SequenceMatcher(None, last, name.rpartition(".")[2]).ratio()
    beside = 0.03 if name.rpartition(".")[0] == group else 0.0
    return max(whole, 0.95 * ending) + beside
