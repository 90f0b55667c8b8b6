"""Folds keep people apart, follow the published lists, and know what compares with what."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfau import protocols
from tfau.core.action_units import AUSet
from tfau.protocols import folds, published

DATA = json.loads(Path(protocols.__file__).with_name("protocols.json").read_text())
LISTS = DATA["lists"]
DISFA_12 = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
DISFA_8 = (1, 2, 4, 6, 9, 12, 25, 26)


@dataclasses.dataclass
class Table:
    """Stands in for the table of labels."""

    dataset: np.ndarray
    subject: np.ndarray
    split: np.ndarray


def table(people, dataset="disfa/intensity/1.0.0", split="all", frames=3) -> Table:
    """Some frames of each person, in one part of one set."""
    subject = np.repeat(np.array(list(people), np.str_), frames)
    return Table(np.full(len(subject), dataset), subject, np.full(len(subject), split))


def together(*tables: Table) -> Table:
    fields = zip(*(dataclasses.astuple(one) for one in tables), strict=True)
    return Table(*(np.concatenate(columns) for columns in fields))


def everybody(name: str) -> list[str]:
    return [person for part in LISTS[name]["test"] for person in part]


def who(labels: Table, rows: np.ndarray) -> set[str]:
    return {
        f"{dataset.partition('/')[0]} {subject.casefold()}"
        for dataset, subject in zip(labels.dataset[rows], labels.subject[rows], strict=True)
    }


def check_folds(labels: Table, made: list[protocols.Fold]) -> None:
    """Every row is in one part, nobody in two, and everybody who is tested is tested once."""
    for fold in made:
        parts = [fold.train, fold.validation, fold.test]
        assert (np.sum(parts, axis=0) == 1).all()
        assert fold.train.any()
        assert fold.test.any()
        people = [who(labels, part) for part in parts]
        assert sum(map(len, people)) == len(set.union(*people))
    tested = [person for fold in made for person in who(labels, fold.test)]
    assert len(tested) == len(set(tested))


@pytest.mark.parametrize(
    ("sets", "people"),
    [
        (("disfa/intensity/1.0.0", "disfa_plus/intensity/1.0.0"), 2),
        (("bp4d/intensity/1.0.0", "au_list/bp4d/1.0.0"), 2),
        (("bp4d/intensity/1.0.0", "bp4d_plus/intensity/1.0.0"), 4),
        (("disfa/intensity/1.0.0", "au_list/bp4d/1.0.0"), 4),
    ],
)
def test_sets_that_show_the_same_people_do_not_leak(sets, people):
    labels = together(*(table(["X1", "x2"], dataset=name) for name in sets))
    assert len(np.unique(protocols.persons(labels.dataset, labels.subject))) == people


def test_lists_are_of_all_people_of_the_data_set():
    """BP4D numbers women F001-F023 and men M001-M018, BP4D+ more; DISFA's numbers have gaps."""
    bp4d = [f"F{n:03d}" for n in range(1, 24)] + [f"M{n:03d}" for n in range(1, 19)]
    assert sorted(everybody("bp4d_jaa_3")) == bp4d
    plus = [f"F{n:03d}" for n in range(1, 83)] + [f"M{n:03d}" for n in range(1, 59)]
    assert sorted(everybody("bp4d_plus_fmae_4")) == plus
    numbers = [*range(1, 14), *range(16, 19), 21, *range(23, 33)]
    for name in ("disfa_ntinou_3", "disfa_jaa_3"):
        assert sorted(everybody(name)) == [f"SN{n:03d}" for n in numbers]
        assert [len(part) for part in LISTS[name]["test"]] == [9, 9, 9]
    assert LISTS["disfa_ntinou_3"]["test"] != LISTS["disfa_jaa_3"]["test"]


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_followed_to_the_letter_in_any_case_of_letters(name):
    dataset = LISTS[name]["dataset"]
    labels = table([person.lower() for person in everybody(name)], f"{dataset}/any/1.0.0")
    made = folds(name, labels, validation=0.2, seed=0)
    check_folds(labels, made)
    for fold, part in zip(made, LISTS[name]["test"], strict=True):
        assert who(labels, fold.test) == {f"{dataset} {person.lower()}" for person in part}
        assert not fold.note
    assert [fold.name for fold in made] == [
        f"fold {n + 1} of {len(made)}" for n in range(len(made))
    ]


def test_who_validates_is_listed_or_drawn_or_nobody():
    labels = table(everybody("disfa_ntinou_3"))
    listed = folds("disfa_ntinou_3", labels, validation=0.5, seed=0)
    for fold, part in zip(listed, LISTS["disfa_ntinou_3"]["validation"], strict=True):
        assert who(labels, fold.validation) == {f"disfa {person.lower()}" for person in part}
        assert len(who(labels, fold.train)) == 12
    for fold in folds("disfa_ntinou_3", labels, validation=0, seed=0):
        assert len(who(labels, fold.train)) == 18
    drawn = folds("disfa_jaa_3", labels, validation=0.2, seed=0)
    assert [len(who(labels, fold.validation)) for fold in drawn] == [4, 4, 4]


def test_people_who_are_missing_are_noted_and_people_who_are_unknown_refused():
    people = everybody("disfa_jaa_3")
    made = folds("disfa_jaa_3", table(people[::2]), validation=0, seed=0)
    assert {fold.note for fold in made} == {"partial: 14 of the 27 people of disfa_jaa_3"}
    with pytest.raises(ValueError, match="nobody to test in fold 1, 3"):
        folds("disfa_jaa_3", table(people[9:18]), validation=0, seed=0)
    with pytest.raises(ValueError, match=r"does not know SN014, XY\."):
        folds("disfa_jaa_3", table([*people, "XY", "SN014"]), validation=0, seed=0)
    with pytest.raises(ValueError, match=r"list of disfa\. Received: bp4d"):
        folds("disfa_jaa_3", table(people, "bp4d/intensity/1.0.0"), validation=0, seed=0)


@given(
    st.integers(2, 30), st.integers(2, 12), st.floats(0, 0.9), st.integers(0, 5), st.integers(0, 99)
)
def test_drawn_folds_keep_people_apart_and_are_of_equal_size(people, count, share, seed, shuffle):
    labels = table([f"S{n}" for n in range(people)], frames=2)
    if count > people:
        with pytest.raises(ValueError, match=f"at least {count} people. Received: {people}"):
            folds(f"subjects_{count}", labels, validation=share, seed=seed)
        return
    made = folds(f"subjects_{count}", labels, validation=share, seed=seed)
    check_folds(labels, made)
    sizes = [len(who(labels, fold.test)) for fold in made]
    assert sum(sizes) == people
    assert max(sizes) - min(sizes) <= 1
    for fold in made:
        training = len(who(labels, ~fold.test))
        drawn = len(who(labels, fold.validation))
        assert training - drawn >= min(2, training)
        assert drawn > 0 or not share or training <= 2
        assert abs(drawn - share * training) <= 1 or training - drawn == 2
    order = np.random.default_rng(shuffle).permutation(len(labels.subject))
    turned = Table(labels.dataset[order], labels.subject[order], labels.split[order])
    for one, other in zip(
        made, folds(f"subjects_{count}", turned, validation=share, seed=seed), strict=True
    ):
        np.testing.assert_array_equal(one.test[order], other.test)
        np.testing.assert_array_equal(one.validation[order], other.validation)


def test_the_seed_decides():
    labels = table([f"S{n}" for n in range(30)])
    first, other = (folds("subjects_3", labels, validation=0.2, seed=seed)[0] for seed in (0, 1))
    assert (first.test != other.test).any()
    assert (first.validation != other.validation).any()


def test_the_same_person_in_two_configurations_is_one_person():
    labels = together(
        table(["SN001", "SN002", "SN003"], "disfa/intensity/1.0.0"),
        table(["sn001", "sn002", "sn003"], "disfa/occurrence/1.0.0"),
        table(["SN001"], "bp4d/intensity/1.0.0"),
    )
    made = folds("leave_one_subject_out", labels, validation=0, seed=0)
    check_folds(labels, made)
    assert len(made) == 4
    assert [fold.test.sum() for fold in made] == [3, 6, 6, 6]


def test_leaving_out_a_data_set():
    labels = together(table("abc", "disfa/x/1.0.0"), table("abcd", "bp4d/x/1.0.0"))
    made = folds("leave_one_dataset_out", labels, validation=0.3, seed=0)
    check_folds(labels, made)
    assert [fold.name for fold in made] == ["fold 1 of 2 (bp4d)", "fold 2 of 2 (disfa)"]
    assert [fold.test.sum() for fold in made] == [12, 9]
    with pytest.raises(ValueError, match="nobody to train"):
        folds("leave_one_dataset_out", table("abc"), validation=0, seed=0)


def test_as_prepared_takes_the_parts_of_the_makers():
    labels = together(
        table("abcd", split="train"), table("ef", split="validation"), table("gh", split="test")
    )
    (fold,) = folds("as_prepared", labels, validation=0.1, seed=0)
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(fold, part), labels.split == part)
    with pytest.raises(ValueError, match=r"choose another protocol\. Received: all"):
        folds("as_prepared", table("abc"), validation=0.1, seed=0)
    with pytest.raises(ValueError, match="disfa/a in two parts"):
        folds("as_prepared", together(labels, table("a", split="test")), validation=0.1, seed=0)
    with pytest.raises(ValueError, match="nobody to test"):
        folds("as_prepared", table("abc", split="train"), validation=0.1, seed=0)


@pytest.mark.parametrize("name", ["frames_3", "subjects_K", "subjects_1", "subjects_", ""])
def test_what_is_no_protocol_is_refused(name):
    with pytest.raises(ValueError, match=r"protocol|folds"):
        protocols.check(name)


def test_shares_and_empty_tables_are_refused():
    with pytest.raises(ValueError, match="validation"):
        folds("subjects_2", table("abc"), validation=1, seed=0)
    with pytest.raises(ValueError, match="no labels"):
        folds("subjects_2", table(""), validation=0, seed=0)


def test_published_numbers_agree_with_themselves():
    """Values average to the mean that is printed beside them; that catches slips in copying."""
    for bench in DATA["benchmarks"]:
        AUSet(bench["units"])
        assert bench["kind"] in {"intensity", "occurrence"}
        for row in bench["results"]:
            assert row["mark"] in protocols.MARKS
            assert row.get("list", "disfa_jaa_3") in LISTS
            half = 0.0015 if row["metric"] == "F1" else 0.0075
            if "values" in row:
                assert len(row["values"]) == len(bench["units"])
                assert np.mean(row["values"]) == pytest.approx(row["mean"], abs=half), row


def test_published_rows_stand_beside_the_same_protocol():
    people = everybody("disfa_jaa_3")
    rows, reason = published(
        "disfa/intensity/1.0.0", "intensity", DISFA_12, "disfa_ntinou_3", 3, 3, subjects=people
    )
    assert not reason
    by_name = {(row.method[:3], row.metric): row for row in rows}
    assert by_name["SCC", "ICC"].values[25] == 0.94
    assert by_name["SCC", "ICC"].mark == "M"
    assert "not known" in by_name["SCC", "ICC"].note
    assert by_name["Hea", "ICC"].mean == 0.57
    assert not by_name["Hea", "ICC"].note
    rows, _ = published("disfa", "intensity", DISFA_12, "disfa_jaa_3", 3, 3)
    assert "folds of disfa_ntinou_3" in {row.note for row in rows}


def test_of_other_units_only_single_values_stand():
    rows, reason = published("disfa", "intensity", (12, 25), "subjects_3", 3, 3)
    assert not reason
    assert rows
    assert all(row.mean is None and set(row.values) == {12, 25} for row in rows)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dataset": "synthetic_faces/tiny/1.0.0"}, "synthetic_faces"),
        ({"dataset": "bp4d", "kind": "occurrence", "presence_from": 1}, "coded as such"),
        ({"kind": "valence"}, "disfa valence"),
        ({"protocol": "frames_10"}, "apart"),
        ({"protocol": "trained on bp4d/intensity"}, "apart"),
        ({"protocol": "leave_one_dataset_out"}, "itself"),
        ({"folds_done": 1}, "1 of 3"),
        ({"folds_done": 10, "folds_total": 10}, "3 or 5 folds; here there are 10"),
        ({"subjects": everybody("disfa_jaa_3")[1:]}, "all 27 people"),
        ({"units": (43,)}, "other units"),
        ({"kind": "occurrence", "presence_from": 1}, "of intensity 2 or more"),
        ({"kind": "occurrence"}, "of intensity 2 or more"),
    ],
)
def test_what_does_not_compare_is_not_shown_and_the_reason_is(change, words):
    asked = {
        "dataset": "disfa/x/1.0.0",
        "kind": "intensity",
        "units": DISFA_12,
        "protocol": "disfa_jaa_3",
        "folds_done": 3,
        "folds_total": 3,
    }
    assert published(**asked)[0]
    rows, reason = published(**asked | change)
    assert rows == []
    assert words in reason
    assert reason.endswith(".")


def test_occurrence_of_disfa_is_intensity_of_two_or_more():
    rows, reason = published("disfa", "occurrence", DISFA_8, "disfa_jaa_3", 3, 3, presence_from=2.0)
    assert not reason
    row = next(row for row in rows if row.method == "ME-GraphAU, ResNet-50")
    assert (row.metric, row.mean, row.values[1], row.note) == ("F1", 0.631, 0.546, "")
