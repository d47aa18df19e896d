"""`mmbench verify` and `mmbench sign`: whether a run is what it says it is, and who stands for it."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmbench.cli import options, terminal
from mmbench.errors import MMBenchError

if TYPE_CHECKING:
    from mmbench.trust.findings import Report
    from mmbench.trust.registration import Registration

RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's name, or its folder.")]
PLAN_HASH = re.compile("[0-9a-f]{20}")


def verify(
    run: RunName,
    signer: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The run must be signed by a key of this file: a public key, or a list of allowed signers.",
            show_default=False,
        ),
    ] = None,
    seal: Annotated[
        str | None,
        typer.Option(metavar="SEAL", help="The seal that was published, or its first digits.", show_default=False),
    ] = None,
    plan: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|HASH",
            help="The plan that the run must have begun with: a registration file, or a plan's hash.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[options.Form, typer.Option("--format", metavar="table|json", help="How to print.")] = (
        options.Form.table
    ),
    results: options.Results = Path("results"),
    plugin: options.Plugins = None,
) -> None:
    """Check a run against itself, against its seal, and against what was published or signed.

    Every score is recomputed from the stored predictions and targets; each record is held against its
    trials, refits, budget and plan; the chains, the seal and the signature show what was changed since.
    Each finding is one line that names the place. Exit code 0: clean; 1: there are findings.

    \b
    Examples:
      mmbench verify starter
      mmbench verify results/starter --signer alice.pub
      mmbench verify starter --seal 3f2a81c09d5be7761f42
      mmbench verify starter --plan registration.json --format json
    """
    from mmbench import plugins, session
    from mmbench.trust.verify import verify as examine

    folder = session.find_folder(run, results)
    catalog = plugins.load(plugin or ())
    report = examine(folder, catalog, published=seal, signers=signer, registered=_registered(plan))
    if form is options.Form.json:
        terminal.show_json({"run": folder.name, **report.json()})
    else:
        _show(report, folder)
    if not report.clean:
        raise typer.Exit(1)


def _registered(plan: str | None) -> "Registration | str | None":
    from mmbench.trust import registration

    if plan is None or (PLAN_HASH.fullmatch(plan) and not Path(plan).exists()):
        return plan
    return registration.load(Path(plan))


def _show(report: "Report", folder: Path) -> None:
    for finding in report.findings:
        terminal.show(terminal.one_line(str(finding)))
    for note in report.notes:
        terminal.show(terminal.one_line(f"note: {note}"))
    counts = ", ".join(f"{count:,} {name}" for name, count in report.counts.items())
    terminal.show(f"checked {counts}")
    for name, value in (("plan", report.plan), ("seal", report.seal), ("signed by", report.signer)):
        if value:
            terminal.show(f"{name} {value}")
    found = len(report.findings)
    verdict = "clean" if report.clean else f"{found} finding{'s' if found > 1 else ''}"
    terminal.show(terminal.one_line(f"{folder}: {verdict}"))


def sign(
    run: RunName,
    key: Annotated[
        Path, typer.Option(metavar="FILE", help="An Ed25519 private key, as `ssh-keygen -t ed25519` makes them.")
    ] = Path("~/.ssh/id_ed25519"),
    results: options.Results = Path("results"),
    plugin: options.Plugins = None,
) -> None:
    """Sign a run's seal with an ordinary SSH key, once the run has been verified.

    Writes seal.json.sig into the run folder, in OpenSSH's own format. `mmbench verify RUN --signer` checks
    it, and so does `ssh-keygen -Y verify -n mmbench`. Needs `pip install mmbench[sign]`; without it,
    `ssh-keygen -Y sign -n mmbench -f KEY seal.json` in the run folder does the same.

    \b
    Examples:
      mmbench sign starter
      mmbench sign results/starter --key ~/.ssh/id_ed25519
    """
    from mmbench import plugins, session
    from mmbench.trust import seal, signature
    from mmbench.trust.verify import verify as examine

    folder = session.find_folder(run, results)
    private = signature.private_key(key.expanduser(), ask=lambda: _passphrase(key))
    report = examine(folder, plugins.load(plugin or ()))
    wrong = [finding for finding in report.findings if finding.check != "signature"]  # an older one is replaced
    if wrong:
        terminal.show(*(terminal.one_line(str(finding)) for finding in wrong))
        terminal.warn(f"{folder} was not signed: {len(wrong)} findings stand against it", level="error")
        raise typer.Exit(1)
    name = seal.write(folder)
    content = seal.stored(folder)
    if content is None:
        raise MMBenchError(f"{folder / seal.SEAL} is gone again; nothing was signed")
    path = signature.write(folder, signature.sign(content, private))
    terminal.show(f"seal {name}", f"signed by {signature.fingerprint(private.public_key())}", f"signature {path}")


def _passphrase(key: Path) -> str:
    return str(typer.prompt(f"Passphrase of {key}", hide_input=True, err=True))
