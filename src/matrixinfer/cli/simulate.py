"""`simulate`: policies of dispatch side by side on virtual time, as a table, a picture and JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from matrixinfer.cli.errors import CliError

if TYPE_CHECKING:
    from matrixinfer.agents.engines.simulated.settings import SimulatedConfig
    from matrixinfer.simulate.comparison import Comparison, Options
    from matrixinfer.simulate.workload import Workload

GENERATORS = "shared-prefix-long, shared-prefix-short, no-reuse, bursty, multi-tenant, heavy-tenant, hot-spot"

TraceOption = Annotated[
    Path | None, typer.Option("--trace", metavar="FILE", help="A trace: Mooncake's .jsonl or Azure's .csv.")
]
WorkloadOption = Annotated[
    str | None, typer.Option("--workload", metavar="NAME", help=f"Or a made workload: {GENERATORS}.")
]
PrefillPodsOption = Annotated[
    int, typer.Option(min=0, metavar="N", help="So many of them only prefill, and the others decode.")
]
ScaleOption = Annotated[float, typer.Option("--rate-scale", help="2 is twice the load: times are divided by it.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Of workloads and policies: the same seed, the same result.")]
CompareOption = Annotated[
    str, typer.Option("--compare", metavar="all|NAME,…", help="The policies; a wrong name lists them.")
]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Only the first N requests.")]
TtftOption = Annotated[float, typer.Option("--slo-ttft", help="Seconds to the first token of a good answer.")]
TpotOption = Annotated[float, typer.Option("--slo-tpot", help="Seconds between its tokens, on the mean.")]
PatienceOption = Annotated[
    float | None, typer.Option("--patience", help="Seconds without a token until a client leaves; for ever by default.")
]
IsolateOption = Annotated[
    str | None,
    typer.Option(
        "--isolate", metavar="TENANT", help="Show how long the others wait without this tenant and beside it."
    ),
]
EngineOption = Annotated[
    list[str] | None,
    typer.Option(
        "--engine", metavar="FIELD=VALUE", help="A constant of the engine; again for more. By default 7B on an H100."
    ),
]
JsonOption = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the numbers there.")]
ChartOption = Annotated[Path | None, typer.Option("--chart", metavar="FILE", help="Draw them there, as PNG.")]


def register(app: typer.Typer) -> None:
    app.command()(simulate)


def simulate(
    *,
    trace: TraceOption = None,
    workload: WorkloadOption = None,
    pods: Annotated[int, typer.Option(min=1, help="How many, each with one engine.")] = 4,
    prefill_pods: PrefillPodsOption = 0,
    rate_scale: ScaleOption = 1.0,
    seed: SeedOption = 0,
    compare: CompareOption = "default",
    limit: LimitOption = None,
    slo_ttft: TtftOption = 2.0,
    slo_tpot: TpotOption = 0.05,
    patience: PatienceOption = None,
    engine: EngineOption = None,
    isolate: IsolateOption = None,
    json: JsonOption = None,
    chart: ChartOption = None,
) -> None:
    """Compare policies of dispatch on a trace or a made workload, on virtual time.

    It runs the platform's own dispatch code and the model of the simulated engine. docs/simulate.md tells what the
    columns mean, and what is not modelled.

    Example: matrixinfer simulate --workload hot-spot --pods 8 --compare all
    """
    from matrixinfer.simulate.comparison import Options
    from matrixinfer.simulate.measures import Slo
    from matrixinfer.simulate.policies import chosen

    _check_positive(("--rate-scale", rate_scale), ("--slo-ttft", slo_ttft), ("--slo-tpot", slo_tpot))
    if patience is not None:
        _check_positive(("--patience", patience))
    if prefill_pods >= pods:
        raise CliError(f"--prefill-pods {prefill_pods}: expected fewer than --pods ({pods}), the others decode")
    options = Options(pods, seed, _engine(engine or ()), Slo(slo_ttft, slo_tpot), patience, prefill_pods)
    names = chosen(compare)
    offered = _offered(trace, workload, seed=seed, pods=pods, limit=limit, rate_scale=rate_scale)
    if isolate is not None:
        _show_isolation(offered, isolate, names, options)
    else:
        _show(_compared(offered, names, options), offered, options, json, chart)


def _check_positive(*flags: tuple[str, float]) -> None:
    for flag, value in flags:
        if not value > 0:
            raise CliError(f"{flag}: expected a number above 0, got {value:g}")


def _engine(fields: Iterable[str]) -> SimulatedConfig:
    from matrixinfer.agents.engines.config import checked
    from matrixinfer.agents.engines.simulated.settings import SimulatedConfig
    from matrixinfer.simulate.pods import H100_7B
    from matrixinfer.simulate.workload import BLOCK_TOKENS

    changed = {}
    for field in fields:
        name, equals, value = field.partition("=")
        if not equals:
            raise CliError(f"--engine {field}: expected FIELD=VALUE, such as slots=128")
        changed[name] = value
    config = checked("Simulated", SimulatedConfig, {**H100_7B.model_dump(), **changed})
    if config.block_tokens != BLOCK_TOKENS:
        raise CliError(
            f"--engine block_tokens: traces are in blocks of {BLOCK_TOKENS} tokens, got {config.block_tokens}"
        )
    return config


def _offered(
    trace: Path | None, name: str | None, *, seed: int, pods: int, limit: int | None, rate_scale: float
) -> Workload:
    from matrixinfer.simulate.generators import generate
    from matrixinfer.simulate.traces import read
    from matrixinfer.simulate.workload import scaled

    if (trace is None) == (name is None):
        raise CliError(f"expected one of --trace FILE and --workload NAME; workloads are: {GENERATORS}")
    return scaled(read(trace, limit) if trace else generate(name or "", seed, pods, limit), rate_scale)


def _compared(offered: Workload, names: list[str], options: Options) -> Comparison:
    from matrixinfer.simulate.comparison import compare

    with _progress(offered, names) as progress:
        return compare(offered, names, options, progress)


def _show_isolation(offered: Workload, tenant: str, names: list[str], options: Options) -> None:
    from rich.console import Console

    from matrixinfer.cli.simulation_table import WIDTH, isolation_headline, isolation_table
    from matrixinfer.simulate.isolation import isolate

    with _progress(offered, names) as progress:
        found = isolate(offered, tenant, names, options, progress)
    console = Console(highlight=False)
    console.print(isolation_headline(offered, tenant, options), soft_wrap=True)
    console.width = max(console.width, WIDTH)
    console.print(isolation_table(found))


@contextmanager
def _progress(offered: Workload, names: list[str]) -> Iterator[Callable[[str, int], None]]:
    """A bar for all requests of all policies, where there is a terminal to draw it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(names[0], total=len(names) * len(offered.arrivals))

        def progress(name: str, ended: int) -> None:
            bar.update(task, description=name, completed=names.index(name) * len(offered.arrivals) + ended)

        yield progress


def _show(comparison: Comparison, offered: Workload, options: Options, json: Path | None, chart: Path | None) -> None:
    from rich.console import Console

    from matrixinfer.cli.simulation_table import WIDTH, headline, table
    from matrixinfer.simulate.chart import draw
    from matrixinfer.simulate.comparison import as_json

    console = Console(highlight=False)
    console.print(headline(comparison, offered, options), soft_wrap=True)
    console.width = max(console.width, WIDTH)
    console.print(table(comparison))
    if json is not None:
        json.write_bytes(as_json(comparison))
    if chart is not None:
        draw(comparison, chart)
