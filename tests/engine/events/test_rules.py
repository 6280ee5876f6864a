"""Rules: when events begin and end."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from co3d.engine import SourceChanged, TrackEnded
from co3d.engine.events import Rule, RuleBook
from co3d.engine.events.schedule import Schedule, Span
from co3d.engine.regions import name_region
from co3d.errors import OptionError
from co3d.video import SourceState
from support.label_predictions import LABELS, make_prediction

PERIOD = 0.25
NOON = 1_700_049_600.0  # a Wednesday, 12:00 UTC


class Clock:
    def __init__(self) -> None:
        self.seconds = NOON

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


def make_rule(**settings) -> Rule:
    return Rule(
        **{
            "name": "falls",
            "labels": ("falling",),
            "threshold": 0.6,
            "end_threshold": 0.4,
            "update_seconds": None,
        }
        | settings
    )


def play(rule, values, *, clock=None, book=None):
    """Apply a rule to values a quarter of a second apart; returns changes with their indices.

    None is a value that is not reliable; a pair is a value after a gap, with the gap's length.
    """
    book = book or RuleBook([rule], LABELS, clock=clock or Clock())
    changes, pts_seconds = [], 0.0
    for place, value in enumerate(values):
        gap_seconds = 0.0
        if isinstance(value, tuple):
            value, gap_seconds = value
        pts_seconds += gap_seconds or PERIOD
        prediction = make_prediction(
            pts_seconds, value or 0.0, valid=value is not None, gap_seconds=gap_seconds
        )
        changes += [(place, kind, event) for kind, event in book.add(prediction)]
    return changes


def shorten(changes):
    return [(place, kind, event.cause) for place, kind, event in changes]


def test_an_event_begins_at_one_level_and_ends_below_another():
    changes = play(make_rule(), [0.5, 0.6, 0.9, 0.5, 0.4, 0.39, 0.5, 0.7])
    assert shorten(changes) == [(1, "start", None), (5, "end", "below"), (7, "start", None)]
    started, ended = changes[0][2], changes[1][2]
    assert (started.camera, started.rule, started.label) == ("door", "falls", "falling")
    assert (started.start_pts_seconds, ended.end_pts_seconds) == (0.5, 1.25)
    assert ended.peak == pytest.approx(0.9)
    assert ended.mean == pytest.approx((0.6 + 0.9 + 0.5 + 0.4) / 4)
    assert (started.id == ended.id, ended.predictions) == (True, 4)
    assert changes[2][2].id != started.id


def test_a_label_must_hold_for_a_while():
    rule = make_rule(min_seconds=0.5)
    assert shorten(play(rule, [0.7, 0.7, 0.1, 0.7, 0.7, 0.7])) == [(5, "start", None)]
    assert play(rule, [0.7, 0.7, 0.7])[0][2].start_pts_seconds == PERIOD


def test_the_next_event_waits_for_the_cooldown():
    changes = play(make_rule(cooldown_seconds=1.0), [0.7, 0.1, 0.7, 0.7, 0.7, 0.7])
    assert shorten(changes) == [(0, "start", None), (1, "end", "below"), (4, "start", None)]


def test_an_open_event_is_updated():
    changes = play(make_rule(update_seconds=0.5), [0.6, 0.8, 0.8, 0.8, 0.8])
    assert shorten(changes) == [(0, "start", None), (2, "update", None), (4, "update", None)]
    assert changes[1][2].latest_pts_seconds == 0.75
    assert changes[1][2].peak == pytest.approx(0.8)


@pytest.mark.parametrize("unknown", [[None] * 3, [(0.7, 0.9)], [(None, 0.5), None]])
def test_an_event_stays_open_without_reliable_predictions(unknown):
    changes = play(make_rule(hold_seconds=1.0), [0.7, *unknown, 0.7])
    assert shorten(changes) == [(0, "start", None)]


@pytest.mark.parametrize(
    ("unknown", "place"), [([None] * 6, 5), ([(0.7, 1.1)], 1), ([(None, 0.8), None, None], 2)]
)
def test_an_event_ends_after_hold_seconds_without_them(unknown, place):
    changes = play(make_rule(hold_seconds=1.0), [0.7, *unknown])
    assert shorten(changes)[:2] == [(0, "start", None), (place, "end", "unknown")]
    assert changes[1][2].end_pts_seconds == PERIOD  # the last moment that was known


def test_unreliable_predictions_begin_no_event():
    assert play(make_rule(min_seconds=0.5), [0.7, 0.7, None, 0.7, 0.7]) == []
    undersampled = make_prediction(0.0, 0.9, is_undersampled=True)
    assert RuleBook([make_rule()], LABELS).add(undersampled) == []


def test_times_that_go_back_end_an_event():
    book = RuleBook([make_rule(cooldown_seconds=100.0)], LABELS)
    book.add(make_prediction(50.0, 0.9))
    ended, started = book.add(make_prediction(1.0, 0.9))
    assert (ended[0], ended[1].cause, started[0]) == ("end", "reset", "start")


def test_a_silent_source_ends_an_event_after_hold_seconds(clock):
    book = RuleBook([make_rule(hold_seconds=5.0)], LABELS, clock=clock)
    book.add(make_prediction(1.0, 0.9))
    book.add(SourceChanged("yard", SourceState("stalled", since_seconds=NOON - 60)))
    book.add(SourceChanged("door", SourceState("reconnecting", since_seconds=NOON)))
    clock.seconds = NOON + 5
    assert book.tick() == []
    clock.seconds = NOON + 5.1
    ((kind, event),) = book.tick()
    assert (kind, event.cause, event.end_pts_seconds) == ("end", "unknown", 1.0)
    assert book.tick() == []


def test_setting_the_clock_back_does_not_keep_a_silent_sources_event_open(clock):
    book = RuleBook([make_rule(hold_seconds=5.0)], LABELS, clock=clock)
    book.add(make_prediction(1.0, 0.9))
    book.add(SourceChanged("door", SourceState("stalled", since_seconds=NOON)))
    clock.seconds = NOON - 3600
    assert book.tick() == []
    clock.seconds = NOON - 3600 + 5.1
    ((kind, event),) = book.tick()
    assert (kind, event.cause) == ("end", "unknown")


def test_a_source_that_returns_in_time_ends_no_event(clock):
    book = RuleBook([make_rule(hold_seconds=5.0)], LABELS, clock=clock)
    book.add(make_prediction(1.0, 0.9))
    book.add(SourceChanged("door", SourceState("stalled", since_seconds=NOON)))
    book.add(make_prediction(4.0, 0.9, gap_seconds=3.0))
    clock.seconds = NOON + 60
    assert book.tick() == []


@pytest.mark.parametrize(("error", "cause"), [(None, "over"), (OSError(), "failed")])
def test_the_end_of_a_camera_ends_its_events(error, cause):
    book = RuleBook([make_rule()], LABELS)
    book.add(make_prediction(1.0, 0.9))
    book.add(make_prediction(1.0, 0.9, track="yard"))
    ((kind, event),) = book.add(TrackEnded("door", error))
    assert (kind, event.camera, event.cause) == ("end", "door", cause)
    assert [event.camera for _, event in book.end_all("stopped")] == ["yard"]
    assert book.add(make_prediction(2.0, 0.9, track="hall")) == []


def test_labels_of_a_group_count_as_one():
    rule = make_rule(labels=(), groups={"moving": ("falling", "walking")})
    prediction = make_prediction(0.0, 0.3, 0.4)
    ((_, event),) = RuleBook([rule], LABELS).add(prediction)
    assert (event.label, event.peak) == ("moving", pytest.approx(0.7))
    assert RuleBook([rule], LABELS, "sigmoid").add(prediction) == []


def test_each_label_has_events_of_its_own():
    rule = make_rule(labels=("falling", "walking"), threshold=0.4)
    changes = RuleBook([rule], LABELS).add(make_prediction(0.0, 0.5, 0.5))
    assert [event.label for _, event in changes] == ["falling", "walking"]


def test_rules_may_be_for_some_cameras_and_regions():
    region = (0, 0, 32, 32)
    rules = [
        make_rule(name="all"),
        make_rule(name="yard", cameras=("yard",)),
        make_rule(name="gate", cameras=("yard",), region=region),
    ]
    book = RuleBook(rules, LABELS)

    def find(track):
        changes = book.add(make_prediction(0.0, 0.9, track=track))
        return [(event.rule, event.camera) for _, event in changes]

    assert find("door") == [("all", "door")]
    assert find("yard") == [("all", "yard"), ("yard", "yard")]
    assert find(name_region("yard", region)) == [("gate", "yard")]


def test_unchanged_rules_keep_their_events():
    first, second = make_rule(name="a"), make_rule(name="b")
    book = RuleBook([first, second], LABELS)
    started = {event.rule: event.id for _, event in book.add(make_prediction(0.0, 0.9))}
    ended = book.replace_rules([first, replace(second, threshold=0.5), make_rule(name="c")])
    assert [(event.rule, event.id, event.cause) for _, event in ended] == [
        ("b", started["b"], "removed")
    ]
    changes = book.add(make_prediction(1.0, 0.9))
    assert [(kind, event.rule) for kind, event in changes] == [("start", "b"), ("start", "c")]
    ((_, event),) = (c for c in book.add(make_prediction(2.0, 0.0)) if c[1].rule == "a")
    assert event.id == started["a"]


def test_probabilities_are_smoothed():
    values = [0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    moving = make_rule(smooth_seconds=0.5, smoothing="moving", threshold=0.9)
    assert shorten(play(moving, values)) == [(4, "start", None)]
    # After three time constants, here 4 steps or more, an average has moved 95 % of the way.
    exponential = make_rule(smooth_seconds=PERIOD, threshold=0.9)
    assert shorten(play(exponential, values)) == [(5, "start", None)]


@pytest.mark.parametrize(
    ("span", "hours", "zone"),
    [
        (Span(22 * 60, 6 * 60), (22, 23, *range(6)), "UTC"),
        (Span(8 * 60, 10 * 60), (8, 9), "UTC"),
        (Span(0, 24 * 60), range(24), "UTC"),
        (Span(8 * 60, 10 * 60), (7, 8), "Europe/Berlin"),  # an hour ahead in November
    ],
)
def test_schedules_use_local_time(span, hours, zone):
    schedule, midnight = Schedule((span,), zone), NOON - 12 * 3600
    held = [hour for hour in range(24) if schedule.holds(midnight + 3600 * hour)]
    assert held == sorted(hours)


def test_a_span_over_midnight_belongs_to_the_day_on_which_it_begins():
    schedule = Schedule((Span(22 * 60, 6 * 60, ("wed",)),), "UTC")
    hours = [hour for hour in range(-48, 48) if schedule.holds(NOON + 3600 * hour)]
    assert hours == list(range(10, 18))  # from ten in the evening of that Wednesday


def test_daylight_saving_time_keeps_a_schedule():
    schedule = Schedule((Span(2 * 60, 3 * 60),), "Europe/Berlin")
    sunday = 1_711_839_600.0  # 31 March 2024, midnight in Berlin: no hour from two to three
    assert not any(schedule.holds(sunday + 60 * minute) for minute in range(24 * 60))
    assert schedule.holds(sunday - 24 * 3600 + 2.5 * 3600)


def test_a_schedule_ends_an_event_and_begins_none(clock):
    rule = make_rule(schedule=Schedule((Span(12 * 60, 12 * 60 + 1),), "UTC"))
    book = RuleBook([rule], LABELS, clock=clock)
    ((kind, _),) = book.add(make_prediction(0.0, 0.9, received_seconds=NOON))
    assert kind == "start"
    ((kind, event),) = book.add(make_prediction(60.0, 0.9, received_seconds=NOON + 60))
    assert (kind, event.cause, event.end_unix_seconds) == ("end", "schedule", NOON)
    assert book.add(make_prediction(61.0, 0.9, received_seconds=NOON + 61)) == []
    clock.seconds = NOON + 30  # which counts for files
    assert [kind for kind, _ in book.add(make_prediction(62.0, 0.9))] == ["start"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"labels": ()}, "no labels"),
        ({"labels": ("falling", "falling")}, "each name once"),
        ({"groups": {"moving": ()}}, "a group without labels"),
        ({"threshold": 0.0}, "above 0"),
        ({"end_threshold": 0.7}, "0 to `threshold`, which is 0.6"),
        ({"min_seconds": -1.0}, "min_seconds=-1, expected 0 or more"),
        ({"hold_seconds": float("nan")}, "hold_seconds"),
        ({"update_seconds": 0.0}, "above 0"),
    ],
)
def test_invalid_rules_are_refused(settings, said):
    with pytest.raises(OptionError, match=f"cannot use the rule falls: .*{said}"):
        make_rule(**settings)


def test_unknown_labels_are_refused():
    with pytest.raises(OptionError, match="no label 'faling': did you mean falling"):
        RuleBook([make_rule(labels=("faling",))], LABELS)
    with pytest.raises(OptionError, match="two rules named falls"):
        RuleBook([make_rule(), make_rule()], LABELS)
    for mistake in (
        lambda: Schedule(()),
        lambda: Schedule((Span(0, 1),), "Mars/Olympus"),
        lambda: Span(0, 1441),
        lambda: Span(0, 1, ("monday",)),
    ):
        with pytest.raises(OptionError, match="expected"):
            mistake()


STEPS = st.one_of(
    st.floats(0, 1),
    st.none(),
    st.tuples(st.one_of(st.floats(0, 1), st.none()), st.sampled_from([0.5, 1.5, 4.0])),
)


@settings(max_examples=150, deadline=None)
@given(
    values=st.lists(STEPS, max_size=60),
    min_seconds=st.sampled_from([0.0, 0.5, 1.25]),
    cooldown_seconds=st.sampled_from([0.0, 0.75]),
    hold_seconds=st.sampled_from([0.0, 1.0]),
    smooth_seconds=st.sampled_from([0.0, 0.5]),
    smoothing=st.sampled_from(["moving", "exponential"]),
)
def test_events_of_a_label_keep_the_cooldown(
    values, min_seconds, cooldown_seconds, hold_seconds, smooth_seconds, smoothing
):
    rule = make_rule(
        min_seconds=min_seconds,
        cooldown_seconds=cooldown_seconds,
        hold_seconds=hold_seconds,
        smooth_seconds=smooth_seconds,
        smoothing=smoothing,
        update_seconds=0.5,
    )
    book = RuleBook([rule], LABELS)
    changes = [(kind, event) for _, kind, event in play(rule, values, book=book)]
    changes += book.end_all("stopped")
    going, last_end, ids = None, -1e9, []
    for kind, event in changes:
        if kind == "start":
            assert going is None, "two events at once"
            assert event.start_pts_seconds >= last_end + cooldown_seconds
            assert event.id not in ids
            ids.append(event.id)
        else:
            assert going is not None
            assert event.id == going.id
            assert event.start_pts_seconds == going.start_pts_seconds
            assert event.latest_pts_seconds >= going.latest_pts_seconds
            assert event.peak >= going.peak
        assert event.latest_pts_seconds - event.start_pts_seconds >= min_seconds
        assert 0 <= event.mean <= event.peak + 1e-9
        going = None if kind == "end" else event
        if kind == "end":
            assert not event.is_open
            last_end = event.end_pts_seconds
    assert going is None
