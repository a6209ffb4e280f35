"""Words of the stories: beings, elders, names, places and seasons, from the tables in `make_tiny/data`.

The tables were written for this project. They hold no text of the datasets in `dataset/`.
"""

from dataclasses import dataclass

from make_tiny.tables import classes, table, words


@dataclass(frozen=True)
class Being:
    """A kind of character, a row of beings.txt. All fields fit into the sentences of the plots unchanged.

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
        """The home as it follows 它住在, with 里 added if it needs one."""
        return self.home if self.home.endswith(tuple("里上下边旁间头处面角底缝")) else self.home + "里"


@dataclass(frozen=True)
class Place:
    """A place of a story, a row of places.txt: `name` 小河边 (在小河边), then clauses about it."""

    name: str
    seen: str
    heard: str
    smelt: str

    @property
    def bare(self) -> str:
        """The place without 里, 上 or 面 at its end, as in 从竹林来: 竹林, 小镇."""
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
GUESTS = tuple(Being(*row, "它", "小路尽头的屋子", "烤饼", "慢慢地", "有一副好心肠") for row in table("guests"))
ELDERS = words("elders")
NAMES_OF = classes("names")
NAMES = tuple(name for names in NAMES_OF.values() for name in names)
PLACES = tuple(Place(*row) for row in table("places"))
SEASONS = {row[0]: _season(*row) for row in table("seasons")}
