"""Who and what the stories are about: beings, elders, names, places, seasons, out of the tables in `make_tiny/data`.

Everything in the tables was written for this project and holds no text of the datasets in `dataset/`.
"""

from dataclasses import dataclass

from make_tiny.tables import table, words


@dataclass(frozen=True)
class Being:
    """One kind of hero, a row of beings.txt. All fields fit the sentences of the grammar as they are.

    kind 刺猬, measure 只 (一只刺猬), pronoun 它, home 落叶底下的小窝 (它住在落叶底下的小窝里), food 红浆果,
    gait 一摇一摆地 (它一摇一摆地走过来), mark 背着一身尖尖的刺 (它背着一身尖尖的刺).
    """

    kind: str
    measure: str
    pronoun: str
    home: str
    food: str
    gait: str
    mark: str

    @property
    def inside(self) -> str:
        """它住在 … : the home with 里 behind it where that is needed."""
        return self.home if self.home.endswith(tuple("里上下边旁间头处面角底缝")) else self.home + "里"


@dataclass(frozen=True)
class Place:
    """Where a story happens, a row of places.txt: `name` 小河边 (在小河边), then clauses about it."""

    name: str
    seen: str
    heard: str
    smelt: str

    @property
    def bare(self) -> str:
        """The place without 里 or 上 at its end: 竹林, 小镇; for 从竹林来."""
        name = self.name.removesuffix("面")
        return name.removesuffix("里").removesuffix("上") if len(name) > 2 else name


@dataclass(frozen=True)
class Season:
    """A row of seasons.txt: words for the day, clauses about the weather, and the bad weather of the season."""

    name: str
    days: tuple[str, ...]
    weathers: tuple[str, ...]
    storm: str
    storm_sound: str
    storm_look: str


def _season(name: str, days: str, weathers: str, *storm: str) -> Season:
    return Season(name, tuple(days.split("/")), tuple(weathers.split("/")), *storm)


BEINGS = tuple(Being(*row) for row in table("beings"))
ELDERS = words("elders")
NAMES = words("names")
PLACES = tuple(Place(*row) for row in table("places"))
SEASONS = {row[0]: _season(*row) for row in table("seasons")}
