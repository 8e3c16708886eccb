"""
`python -m benchmarks.scaling`: how the config of one job start grows with the number of bundles, plotted.

Each job resolves its session from what the parent compiled, with a round trip to Redis; it opens the files of
one bundle, however many there are.
"""

import argparse
import asyncio
import gc
import json
import tempfile
from pathlib import Path

from agent.services.valkey import EmbeddedValkey
from benchmarks.config import client_of, fill_folder, known_catalog, percentile, resolving, timed
from benchmarks.report import curves
from config_store.compiled import CompiledBundles, compile_bundles
from config_store.overrides import override_key

RESULTS = Path(__file__).parent / "results"
NUMBERS = (1, 10, 100, 1_000, 3_000, 10_000)


async def measure(folders: dict[int, Path], calls: int, redis_url: str) -> dict[int, tuple[float, float]]:
    """p50 and p99 in milliseconds by number of bundles, all measured in turns."""
    client = client_of(redis_url)
    await client.set(override_key("bench"), json.dumps({"idle_timeout_seconds": 60}))
    work = [resolving(CompiledBundles(folder), client) for folder in folders.values()]
    gc.collect()
    found = await timed(work, calls)
    await client.aclose()
    return {
        number: (percentile(values, 0.5), percentile(values, 0.99))
        for number, values in zip(folders, found, strict=True)
    }


def main() -> None:
    """Print, and write the plot."""
    parser = argparse.ArgumentParser(prog="benchmarks.scaling", description=__doc__)
    parser.add_argument(
        "--numbers", type=int, nargs="+", default=NUMBERS, help="bundles beside the shipped ones"
    )
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch, EmbeddedValkey(Path(scratch)) as valkey:
        folders = {}
        for number in given.numbers:
            source, compiled = Path(scratch) / f"bundles-{number}", Path(scratch) / f"compiled-{number}"
            fill_folder(source, number)
            compile_bundles(source, compiled, environ={}, catalog=known_catalog())
            folders[number] = compiled
        found = asyncio.run(measure(folders, given.calls, valkey.url))
    print("| bundles | p50, ms | p99, ms |\n|---|---|---|")
    for number, (p50, p99) in found.items():
        print(f"| {number} | {p50:.2f} | {p99:.2f} |")
    lines = {
        "p50": [(float(number), p50) for number, (p50, _) in found.items()],
        "p99": [(float(number), p99) for number, (_, p99) in found.items()],
    }
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "bundles.svg").write_text(
        curves("config at job start with Redis, ms", "bundles", lines, by_tens=True)
    )


if __name__ == "__main__":
    main()
