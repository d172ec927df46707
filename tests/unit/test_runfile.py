"""The format of a run file, which the runner writes and the ledger reads."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recording import an_entry, ended

from keiji import runfile, runner
from keiji.run import Result
from keiji.runfile import DamagedRunFile, Entry, escape, parse, render, unescape

ANY_TEXT = st.text(st.characters(blacklist_categories=[])) | st.text("\\n\n\r\0=\u2028\x85 \t")
SENSIBLE_TEXT = st.text() | st.text("\\n\n\r\0=\u2028\x85 \t")
SMALL = st.none() | st.integers(0, 999_999_999)
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(5000, 1, 1), timezones=st.just(timezone.utc))


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    began = draw(TIMES)
    entry = Entry(
        id=draw(st.from_regex(r"[0-9a-f]{32}", fullmatch=True)),
        task=draw(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,63}", fullmatch=True)),
        build=draw(SENSIBLE_TEXT),
        pid=draw(st.integers(0, 2**22)),
        boot=draw(SENSIBLE_TEXT),
        why=draw(st.sampled_from(runfile.WHY)),
        began=began,
    )
    if draw(st.booleans()):
        return entry
    return entry.evolve(
        ended=began + draw(st.timedeltas(timedelta(0), timedelta(days=10000))),
        result=draw(st.sampled_from(Result)),
        status=draw(SMALL),
        signal=draw(SMALL),
        attempts=draw(st.integers(0, 1000)),
        cpu=draw(st.none() | st.integers(0, 10**12).map(lambda micros: micros / 1e6)),
        memory=draw(st.none() | st.integers(0, 10**18 - 1)),
        error=draw(SENSIBLE_TEXT),
    )


@given(ANY_TEXT)
def test_any_text_survives_escaping_and_is_one_line(text):
    assert unescape(escape(text)) == text
    assert "\n" not in escape(text)


@given(ANY_TEXT)
def test_any_text_can_be_unescaped(text):
    unescape(text)


@given(entries())
def test_what_is_rendered_is_read_back(entry):
    assert parse(render(entry)) == entry


@given(ANY_TEXT)
def test_text_that_no_file_can_hold_is_written_nevertheless(text):
    rendered = render(ended(an_entry(), error=text))

    parse(rendered.encode("utf-8").decode("utf-8"))


@given(entries())
def test_what_the_runner_writes_is_read(entry):
    entry = entry.evolve(build="a1b2", boot="b00t")
    run = object.__new__(runner.Run)
    run.__dict__.update(vars(entry))
    run.began = (entry.began - runfile.EPOCH) / timedelta(seconds=1)
    run.config = SimpleNamespace(SLUG=entry.task, BUILD=entry.build)

    read = parse(run.head())
    assert read == entry.evolve(
        began=read.began,
        ended=None,
        result=None,
        status=None,
        signal=None,
        attempts=1,
        cpu=None,
        memory=None,
        error="",
    )
    assert abs(read.began - entry.began) <= timedelta(milliseconds=1)
    if entry.ended:
        read = parse(run.head() + run.tail())
        said = ("result", "status", "signal", "attempts", "error")
        assert [getattr(read, key) for key in said] == [getattr(entry, key) for key in said]
        assert read.cpu is not None
        assert read.memory


@given(st.data())
def test_a_file_that_was_cut_off_anywhere_is_damaged_or_tells_of_a_run_that_goes_on(data):
    entry = ended(an_entry(), Result.FAILED, error="it\nbroke")
    text = render(entry)
    cut = text[: data.draw(st.integers(0, len(text) - 1))]

    try:
        read = parse(cut)
    except DamagedRunFile:
        return
    assert read.ended is None
    assert read.id == entry.id


@given(st.text() | st.text("keiji 1\nd=ano.09").map("keiji 1\n".__add__))
def test_nonsense_is_damaged_and_nothing_worse(text):
    with pytest.raises(DamagedRunFile):
        parse(text)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("id=", "id=../../x"),
        ("id=", "id="),
        ("task=", "task=../x"),
        ("why=", "why=luck"),
        ("began=", "began=nan"),
        ("began=", "began=1e9"),
        ("began=", "began=-5"),
        ("began=", "began=999999999999999999"),
        ("result=", "result=fine"),
        ("status=", "status=99999999999"),
        ("memory=", "memory=9999999999999999999"),
        ("cpu=", "cpu=inf"),
        ("attempts=", "attempts=many"),
    ],
)
def test_a_value_that_no_database_would_take_is_damage(line, wrong):
    text = render(ended(an_entry(), status=0, cpu=0.5, memory=1))
    lines = [wrong if found.startswith(line) else found for found in text.split("\n")]
    assert wrong in lines

    with pytest.raises(DamagedRunFile):
        parse("\n".join(lines))


@pytest.mark.parametrize("key", ["id", "task", "why", "began", "ended", "result"])
def test_a_missing_line_is_damage_that_is_named(key):
    lines = render(ended(an_entry())).split("\n")

    with pytest.raises(DamagedRunFile, match=f"no {key}="):
        parse("\n".join(line for line in lines if not line.startswith(f"{key}=")))


def test_lines_of_a_later_format_are_passed_over():
    text = render(ended(an_entry())).replace("attempts=", "mood=good\nno equals sign\nattempts=")

    assert parse(text) == ended(an_entry())


def test_a_clock_that_was_set_back_gives_no_negative_duration():
    entry = an_entry()

    assert parse(render(ended(entry).evolve(ended=entry.began - timedelta(hours=1)))).ended == entry.began


def test_a_huge_file_is_not_read_whole(tmp_path):
    path = tmp_path / "run"
    path.write_text(render(ended(an_entry(), error="x" * 2_000_000)))

    with pytest.raises(DamagedRunFile, match="too large"):
        runfile.read(path)


def test_bytes_that_are_no_text_are_read_as_well_as_they_can_be(tmp_path):
    path = tmp_path / "run"
    path.write_bytes(render(ended(an_entry(), error="@")).encode().replace(b"@", b"caf\xe9"))

    assert runfile.read(path).error == "caf\ufffd"


def test_only_whole_files_are_listed(tmp_path):
    (tmp_path / "whole").touch()
    (tmp_path / ".being-written").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "whole")

    assert list(runfile.listed(tmp_path)) == [tmp_path / "whole"]
    assert list(runfile.listed(tmp_path / "nowhere")) == []
