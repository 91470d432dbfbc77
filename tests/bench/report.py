"""Figures as tables: for a terminal, and for the README."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bench.measure import Figure, Scenario
from bench.targets import OURS

HEAD = (
    f"{'':10}{'':12}{'median':>10}{'least':>10}{'most':>10}{'raw':>10}{'counted':>12}  {'':12}{'ratio':>6}{'trips':>7}"
)


@dataclass
class Results:
    """The figures of one scenario, by server, in the order of the repeats."""

    scenario: Scenario
    figures: dict[str, list[Figure]] = field(default_factory=dict)

    def costs(self, server: str) -> list[float]:
        """Return costs on a core that is as fast as it was in the median run."""
        known = [figure.calibration for figures in self.figures.values() for figure in figures if figure.calibration]
        usual = statistics.median(known) if known else 0.0
        return [
            figure.cost * (usual / figure.calibration if figure.calibration else 1.0) for figure in self.figures[server]
        ]

    def ratio(self, server: str) -> float | None:
        """Return ours to the server's, the median of the ratios of each repeat."""
        if server == OURS or not {OURS, server} <= self.figures.keys():
            return None
        pairs = list(zip(self.costs(OURS), self.costs(server), strict=True))
        # A few sessions may take no memory that was not there already.
        return statistics.median(our / their for our, their in pairs) if all(their > 0 for _, their in pairs) else None


def lines(results: Results) -> Iterator[str]:
    """Write a line per server. The raw figure is the median as it was measured, before what the calibrator says."""
    for server, figures in results.figures.items():
        costs = results.costs(server)
        shown = statistics.median(costs), min(costs), max(costs), statistics.median(one.cost for one in figures)
        counted = sum(figure.units for figure in figures)
        ratio = results.ratio(server)
        trips = figures[0].trips
        yield (
            f"{results.scenario.name:10}{server:12}"
            + "".join(f"{cost:10.3g}" for cost in shown)
            + f"{counted:12}  {results.scenario.unit:12}"
            + (f"{ratio:6.2f}" if ratio is not None else " " * 6)
            + (f"{trips:7}" if trips else "")
        ).rstrip()


def markdown(all_results: Sequence[Results], versions: Mapping[str, str], date: str) -> str:
    """Write the README's table: medians (least to most), and in bold what ours is of each peer's."""
    servers = list(versions)
    peers = [server for server in servers if server != OURS and OURS in servers]
    titles = [f"{server} {versions[server]}" for server in servers] + [f"to {server}" for server in peers]
    rows = ["| | " + " | ".join(titles) + " |", "|---|" + "---|" * len(titles)]
    for results in all_results:
        cells = [_cell(results, server) if server in results.figures else "" for server in servers]
        ratios = map(results.ratio, peers)
        cells += ["" if ratio is None else f"**{ratio:.2f}**" for ratio in ratios]
        rows.append(f"| {results.scenario.title}, {results.scenario.unit} | " + " | ".join(cells) + " |")
    repeats = min((len(figures) for results in all_results for figures in results.figures.values()), default=0)
    return "\n".join([*rows, "", f"{date}, medians (least to most) of {repeats} repeats, one core for the server."])


def _cell(results: Results, server: str) -> str:
    costs, trips = results.costs(server), results.figures[server][0].trips
    shown = f"{statistics.median(costs):.3g} ({min(costs):.3g} to {max(costs):.3g})"
    return f"{shown}, {trips} round trips" if trips else shown
