"""`--verbose`: the logs of all parts as one stream."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from perdure.dev.follow import LogFollower


def test_only_whole_lines_written_from_now_on_are_given_with_their_parts_name(
    tmp_path: Path,
) -> None:
    log = tmp_path / "api.log"
    log.write_text("before\n")
    given: list[str] = []
    with closing(LogFollower(tmp_path, given.append)) as follower, log.open("a") as handle:
        handle.write("one\ntw")
        handle.flush()
        follower.poll()
        assert given == ["api       | one"]
        handle.write("o\n")
        handle.flush()
        follower.poll()
    assert given == ["api       | one", "api       | two"]


def test_a_log_that_is_put_aside_loses_no_line(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    log.write_text("")
    given: list[str] = []
    with closing(LogFollower(tmp_path, given.append)) as follower:
        with log.open("a") as handle:
            handle.write("old\n")
        log.rename(tmp_path / "api.log.1")
        log.write_text("new\n")
        follower.poll()
    assert given == ["api       | old", "api       | new"]
