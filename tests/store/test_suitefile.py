"""Suite files: what is read, what is refused and in which words, the round trip and the hash."""

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmbench.api.space import Range
from mmbench.api.suite import Budget, ContenderSpec, CorruptionSpec, OwnData, Suite, TaskSpec
from mmbench.errors import SuiteError
from mmbench.store import suitefile

STARTER = """
name = "starter"
[budget]
trials = 8
trial_seconds = 120
[[task]]
dataset = "emoji_group"
metric = "accuracy"
encoders = { image = "cnn", text = ["minilm", "embedding"] }
corruptions = [{name = "missing", modality = "image", severities = [0, 0.5]}]
[[contender]]
name = "concat"
fusion = "concat"
params = { fusion.low_rank.rank = 4, "encoders.image.wide" = true }
[[contender]]
name = "only"
each_modality = true
tasks = ["emoji_group"]
"""

WRONG = [
    ("metric =", "metrc =", """[[task]] 1 "emoji_group": unknown key 'metrc': did you mean 'metric'?"""),
    ("[budget]", "[bugdet]", "unknown key 'bugdet': did you mean 'budget'?"),
    ("trials = 8", "trails = 8", "[budget]: unknown key 'trails': did you mean 'trials'?"),
    ("trials = 8", 'trials = "8"', '[budget]: trials: must be a whole number, not "8"'),
    ("trials = 8", "trials = 8.0", "[budget]: trials: must be a whole number, not 8.0"),
    ("trials = 8", "trials = true", "[budget]: trials: must be a whole number, not true"),
    ("trials = 8", "trials = 0", "[budget]: trials: must be greater than or equal to 1, not 0"),
    ("trials = 8", "trials = 1" + "0" * 4000, "[budget]: trials: must be less than or equal to 100000"),
    ("trials = 8", "trials = " + "9" * 5000, "is not valid TOML: Exceeds the limit"),
    ("trials = 8", "trials = " + "[" * 9000, "values are nested too deep"),
    ("trials = 8", "trials = " + "[\n" * 9000, "values are nested too deep"),
    ("trials = 8", "trials = " + "{a=" * 5000, "values are nested too deep"),
    ("trials = 8", "trials" + ".a" * 20000 + " = 8", "line 4 is longer than 20,000 characters"),
    ("trial_seconds = 120", "trial_seconds = inf", "[budget]: trial_seconds: must be a finite number, not inf"),
    ("trial_seconds = 120", "trial_seconds = 0", "[budget]: trial_seconds: must be greater than 0, not 0"),
    ("trial_seconds = 120", "refit_seeds = 0", "[budget]: refit_seeds: must be greater than or equal to 1, not 0"),
    ("[budget]", "[[budget]]", "budget: must be a table, not a list"),
    ("[[task]]", "[task]", "task: must be a list of tables: write [[task]], not [task]"),
    ('metric = "accuracy"', "", """[[task]] 1 "emoji_group": needs the key 'metric'"""),
    ('"accuracy"', '"accuracy', "is not valid TOML: Illegal character '\\n' (at line 8"),
    ('"emoji_group"\nm', '{hub = "x"}\nm', "[[task]] 1: dataset: must be a string, not a table"),
    ('"emoji_group"\nm', '"a/b"\nm', '[[task]] 1 "a/b": needs a name: that of its dataset'),
    ('["minilm", "embedding"]', '["minilm", 3]', '[[task]] 1 "emoji_group": encoders text 2: must be a string, not 3'),
    ('["minilm", "embedding"]', "[]", '[[task]] 1 "emoji_group": encoders text: must not be empty'),
    ('["minilm", "embedding"]', '["a", "a"]', """encoders text: 'a' is there twice"""),
    ("[0, 0.5]", "[0, 2]", '[[task.corruption]] 1 "missing": severities 2: must be less than or equal to 1, not 2'),
    ("[0, 0.5]", "[1, 0.5]", '[[task.corruption]] 1 "missing": severities: must rise'),
    ("[0, 0.5]", "[0.5, 0.50000001]", "severities: 0.5 and 0.50000001 are too close: both are stored as 0.5"),
    ("severities", "severitie", "[[task.corruption]] 1 \"missing\": unknown key 'severitie': did you mean"),
    ("corruptions =", "corruption = []\ncorruptions =", "write either [[task.corruption]] or corruptions = [...]"),
    ('fusion = "concat"', "fusion = 3", '[[contender]] 1 "concat": fusion: must be a name or a list of names'),
    ("rank = 4", "rank = [[1]]", "params fusion.low_rank.rank: must be a number, a string, true or false"),
    ("rank = 4", "rank = nan", "params fusion.low_rank.rank: must be a finite number"),
    ("rank = 4", "rank = 1979-05-27", "params fusion.low_rank.rank: must be a number, a string, true or false"),
    ("rank = 4", "rank = " + "9" * 4000, "params fusion.low_rank.rank: is too large"),
    ('tasks = ["emoji_group"]', 'tasks = ["emoji"]', "tasks: unknown task 'emoji': did you mean 'emoji_group'?"),
    ('name = "only"', 'name = "concat"', "[[contender]] 1 and 2 are both named 'concat'; rename one"),
    ('name = "only"', 'name = "../x"', """[[contender]] 2 "../x": name: '../x' can't be a name"""),
    ('name = "only"', 'name = "a\\nb"', r"""name: 'a\nb' can't be a name"""),
    ('name = "only"', f'name = "{"a" * 101}"', "is 101 characters long"),
    ('metric = "accuracy"', 'metric = "accuracy"\ntrain_sizes = [300, 100]', "train_sizes: must rise"),
    ('metric = "accuracy"', 'metric = "accuracy"\ntrain_sizes = []', "train_sizes: must not be empty"),
    (
        'metric = "accuracy"',
        'metric = "accuracy"\ntrain_sizes = [0]',
        "train_sizes 1: must be greater than or equal to 1",
    ),
    ('metric = "accuracy"', 'metric = "accuracy"\nby = "date"', "by: "),
    ('dataset = "emoji_group"', "", "needs the key 'dataset', or a table [task.data]"),
    ('dataset = "emoji_group"', 'data = { files = "a.csv" }', "needs the key 'name': that of the data in [task.data]"),
    (
        'metric = "accuracy"',
        'metric = "accuracy"\ndata = { files = "a.csv" }',
        "write either dataset or [task.data], not",
    ),
    (
        'metric = "accuracy"',
        'metric = "accuracy"\ndata = { a = 2026-01-01 }',
        "data: must be a number, a string, true or",
    ),
    ('metric = "accuracy"', 'metric = "accuracy"\ndata = {}', "data: "),
    ("each_modality = true", "each_modality = 1", "each_modality: must be true or false, not 1"),
    ("each_modality = true", 'each_modality = true\nonly = "image"', "write either only = [...] or each_modality"),
    ('name = "starter"', "", "needs the key 'name'"),
    (
        'name = "starter"',
        'name = "a"\nencoder = { Bert = { type = "a" } }',
        "a part can't be called 'Bert': use lower-case",
    ),
    ('name = "starter"', 'name = "a"\nencoder = { bert = { folder = "a" } }', "encoder bert: needs the key 'type'"),
]


@pytest.fixture
def starter(tmp_path: Path) -> Path:
    path = tmp_path / "starter.toml"
    path.write_text(STARTER)
    return path


def test_reads_the_short_forms(starter: Path) -> None:
    suite = suitefile.read(starter)
    (task,) = suite.tasks
    concat, only = suite.contenders
    assert task.name == "emoji_group"
    assert task.encoders == {"image": ("cnn",), "text": ("minilm", "embedding")}
    assert task.corruptions == (CorruptionSpec("missing", "image", (0.0, 0.5)),)
    assert suite.budget == Budget(trials=8, trial_seconds=120.0)
    assert isinstance(suite.budget.trial_seconds, float)
    assert concat.fusion == ("concat",)
    assert concat.params == {"fusion.low_rank.rank": 4, "encoders.image.wide": True}
    assert only.fusion is None
    assert only.each_modality
    assert only.tasks == ("emoji_group",)


@pytest.mark.parametrize(("old", "new", "said"), WRONG, ids=[f"{i}-{old[:12]}" for i, (old, _, _) in enumerate(WRONG)])
def test_a_mistake_is_one_clear_line(starter: Path, old: str, new: str, said: str) -> None:
    assert old in STARTER
    starter.write_text(STARTER.replace(old, new, 1))
    with pytest.raises(SuiteError) as caught:
        suitefile.read(starter)
    message = str(caught.value)
    assert message.startswith(f"{starter}: ")
    assert said in message
    assert "\n" not in message
    assert len(message) < len(str(starter)) + 400


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name = '\xff'\n", "line 1 is not UTF-8 text"),
        (b"\n\n# \xe9\n", "line 3 is not UTF-8 text"),
        (b"#" * 1_000_001, "is larger than 1,000,000 bytes"),
        (b"", "needs the key 'name'"),
    ],
)
def test_a_file_that_is_no_suite(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    with pytest.raises(SuiteError, match=re.escape(said)):
        suitefile.read(path)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="does not exist"):
        suitefile.read(tmp_path / "none.toml")
    with pytest.raises(SuiteError, match="is not a file"):
        suitefile.read(tmp_path)


def test_find_looks_at_the_path_then_here_then_among_the_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = tmp_path / "shipped"
    for folder in (shipped, tmp_path / "suites"):
        folder.mkdir()
    (shipped / "mine.toml").write_text("")
    (shipped / "starter.toml").write_text("")
    monkeypatch.setattr(suitefile, "installed", lambda: {p.stem: p for p in shipped.glob("*.toml")})
    assert suitefile.find("mine") == shipped / "mine.toml"
    (tmp_path / "suites" / "mine.toml").write_text("")
    assert suitefile.find("mine") == Path("suites/mine.toml")
    (tmp_path / "other.toml").write_text("")
    assert suitefile.find("other.toml") == Path("other.toml")
    with pytest.raises(SuiteError, match="unknown suite 'startr': did you mean 'starter'"):
        suitefile.find("startr")
    for missing in ("no.toml", "no/such", "../mine"):
        with pytest.raises(SuiteError, match="does not exist"):
            suitefile.find(missing)
    with pytest.raises(SuiteError):
        suitefile.find("x" * 5000)


def test_installed_suites_are_files() -> None:
    assert all(path.is_file() and path.stem == name for name, path in suitefile.installed().items())


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
NAME = st.from_regex(r"[a-z0-9]([a-z0-9 _.-]{0,10}[a-z0-9_.-])?", fullmatch=True)
NAMES = st.lists(TEXT, min_size=1, max_size=3, unique=True).map(tuple)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
PARAMS = st.dictionaries(
    TEXT.filter(lambda t: "." not in t),
    st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | FINITE | TEXT,
    max_size=3,
)
CORRUPTION = st.builds(
    CorruptionSpec,
    TEXT,
    TEXT,
    st.lists(st.floats(0, 1), min_size=1, max_size=4, unique=True).map(lambda s: tuple(sorted(s))),
    PARAMS,
)
PLAIN = st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | FINITE | TEXT
OWN = st.dictionaries(
    TEXT, PLAIN | st.lists(PLAIN, max_size=2) | st.dictionaries(TEXT, PLAIN, max_size=2), min_size=1, max_size=3
)
TASK = st.builds(
    TaskSpec,
    NAME,
    TEXT,
    TEXT,
    st.dictionaries(TEXT, NAMES, max_size=2),
    st.none() | NAMES,
    st.lists(CORRUPTION, max_size=2).map(tuple),
    folds=st.none() | st.integers(3, 100),
    by=st.none() | st.just("time"),
    train_sizes=st.lists(st.integers(1, 2**40), max_size=3, unique=True).map(lambda sizes: tuple(sorted(sizes))),
    data=st.none() | st.builds(OwnData, OWN),
).map(lambda task: replace(task, dataset=task.name) if task.data else task)
CONTENDER = st.builds(
    ContenderSpec, NAME, st.none() | NAMES, st.just(()) | NAMES, st.none() | NAMES, st.just(False), st.none(), PARAMS
)
SUITE = st.builds(
    Suite,
    NAME,
    st.integers(1, 1000),
    st.builds(
        Budget,
        *[st.integers(1, 1000)] * 5,
        st.floats(1e-300, 1e7),
        default_seeds=st.none() | st.integers(1, 1000),
    ),
    st.lists(TASK, min_size=1, max_size=3, unique_by=lambda t: t.name).map(tuple),
    st.lists(CONTENDER, min_size=1, max_size=3, unique_by=lambda c: c.name).map(tuple),
    st.just("") | TEXT,
    st.integers(0, 2**32 - 1),
    st.none() | st.integers(1, 2**40),
    encoders=st.dictionaries(
        st.from_regex(r"[a-z_][a-z0-9_]{0,20}", fullmatch=True),
        st.builds(OwnData, OWN.map(lambda table: {**table, "type": "hf_text"})),
        max_size=2,
    ),
)


@settings(max_examples=60, deadline=None)
@given(SUITE)
def test_what_is_written_reads_back_equal(tmp_path_factory: pytest.TempPathFactory, suite: Suite) -> None:
    path = tmp_path_factory.getbasetemp() / "round.toml"
    written = suitefile.write(suite)
    assert written.replace("\n", "").isprintable(), "nothing in it acts on a terminal that shows it"
    path.write_bytes(written.encode())
    again = suitefile.read(path)
    assert again == suite
    assert suitefile.suite_hash(again) == suitefile.suite_hash(suite)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_damage_gives_anything_but_a_suite_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(STARTER.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        stop = data.draw(st.integers(start, min(len(content), start + 8)))
        content[start:stop] = data.draw(
            st.binary(max_size=6) | TEXT.map(str.encode) | st.sampled_from([b"[[", b"={", b"."])
        )
    path = tmp_path_factory.getbasetemp() / "fuzz.toml"
    path.write_bytes(content)
    with suppress(SuiteError):
        suitefile.read(path)


def test_the_hash_covers_all_but_the_description(starter: Path) -> None:
    suite = suitefile.read(starter)
    same = suitefile.suite_hash(suite)
    assert suitefile.suite_hash(replace(suite, description="other words")) == same
    assert suitefile.suite_hash(replace(suite, budget=replace(suite.budget, trial_seconds=120))) == same
    changed = [
        replace(suite, seed=1),
        replace(suite, limit=3),
        replace(suite, version=2),
        replace(suite, budget=replace(suite.budget, trials=9)),
        replace(suite, budget=replace(suite.budget, default_seeds=1)),
        replace(suite, budget=replace(suite.budget, default_seeds=3)),
        replace(suite, contenders=suite.contenders[:1]),
        replace(suite, tasks=(replace(suite.tasks[0], metric="f1"),)),
        replace(suite, tasks=(replace(suite.tasks[0], folds=3),)),
        replace(suite, tasks=(replace(suite.tasks[0], folds=3, by="time"),)),
        replace(suite, tasks=(replace(suite.tasks[0], train_sizes=(3,)),)),
        replace(suite, tasks=(replace(suite.tasks[0], data=OwnData({"files": "a.csv"})),)),
        replace(suite, tasks=(replace(suite.tasks[0], data=OwnData({"files": "b.csv"}, "elsewhere")),)),
        replace(suite, encoders={"a": OwnData({"type": "hf_text", "folder": "a"})}),
        replace(suite, encoders={"b": OwnData({"type": "hf_text", "folder": "a"}, "elsewhere")}),
    ]
    hashes = {suitefile.suite_hash(other) for other in changed}
    assert len(hashes) == len(changed)
    assert same not in hashes
    assert re.fullmatch("[0-9a-f]{64}", same)


def test_what_is_given_of_parameters_reads_back(tmp_path: Path) -> None:
    """A value, a list to choose from, a range; in a table or by dotted keys."""
    file = tmp_path / "mine.toml"
    text = (
        STARTER
        + """
[[contender]]
name = "mine"
fusion = "concat"
objective = ["contrastive+ogm_ge", "contrastive"]
[contender.params]
train.lr = { low = 1e-5, high = 1e-3, log = true }
model.width = [32, 64]
"model.dropout" = 0.1
"""
    )
    file.write_text(text)
    found = suitefile.read(file)
    mine = found.contenders[-1]
    assert mine.params == {"train.lr": Range(1e-5, 1e-3, log=True), "model.width": (32, 64), "model.dropout": 0.1}
    file.write_text(suitefile.write(found))
    assert suitefile.read(file) == found
    for old, new, said in (
        ("[32, 64]", "[]", "model.width: must not be an empty list"),
        ("[32, 64]", "[32, 32]", "model.width: 32 is there twice"),
        ("high = 1e-3", 'high = "x"', "train.lr: a range needs two numbers"),
    ):
        file.write_text(text.replace(old, new))
        with pytest.raises(SuiteError, match=re.escape(said)):
            suitefile.read(file)
