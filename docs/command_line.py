"""Prints docs/command-line.md from the commands themselves: python docs/command_line.py > docs/command-line.md"""

from typing import Any

import typer

from mmbench.cli.app import COMMANDS, build

HEAD = """\
# The command line

Made from the commands' own help by `python docs/command_line.py > docs/command-line.md`.

Exit codes: 0 done; 1 a run finished with failed cells, a check found a broken rule, or the doctor something broken;
2 the input was wrong, which is said in one line; 130 stopped by Ctrl-C; 141 the reader of a pipe left.
"""


def page() -> str:
    group: Any = typer.main.get_command(build(["list"]))  # without the commands of plugins that happen to be there
    return "\n".join([HEAD, *(section(name, group.commands[name]) for name in COMMANDS)])


def section(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    usage = " ".join(["mmbench", name, *(p.metavar for p in arguments), "[OPTIONS]"])
    text, _, examples = command.help.partition("\b\n")
    cells = [(f"`{p.metavar}`", sentence(p)) for p in arguments]
    cells += [(", ".join(f"`{o}`" for o in p.opts) + value(p), sentence(p)) for p in options]
    rows = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]
    table = ["| | |", "|---|---|", *rows]
    return "\n".join([f"## `{usage}`", "", text.strip(), "", "```", *shown(examples), "```", "", *table, ""])


def shown(examples: str) -> list[str]:
    return [line.strip() for line in examples.splitlines()[1:] if line.strip()]


def value(parameter: Any) -> str:
    return f" `{parameter.metavar}`" if parameter.metavar and not parameter.is_flag else ""


def sentence(parameter: Any) -> str:
    default = parameter.default
    if default is None or isinstance(default, bool) or parameter.required:
        return str(parameter.help)
    return f"{parameter.help} Default: `{getattr(default, 'value', default)}`."


if __name__ == "__main__":
    print(page(), end="")
